import type { GraphQLFormattedError } from 'graphql';
import { GraphQLError } from 'graphql';
import { Logger } from '@nestjs/common';
import { explainDatabaseError } from '../database/database-errors.js';
import { type ErrorCode, messageOf, SegueError } from '../errors/segue-error.js';

const logger = new Logger('GraphQL');

/** Apollo's own codes for a document or variables that are wrong: their messages name the place. */
const CALLER_CODES = new Set([
  'GRAPHQL_PARSE_FAILED',
  'GRAPHQL_VALIDATION_FAILED',
  'BAD_USER_INPUT',
  'BAD_REQUEST',
  'OPERATION_RESOLUTION_FAILURE',
  'PERSISTED_QUERY_NOT_FOUND',
  'PERSISTED_QUERY_NOT_SUPPORTED',
]);

/** Every error that leaves by GraphQL: a code of the closed list and a sentence, never SQL or a stack. */
export function formatError(
  formatted: GraphQLFormattedError,
  error: unknown,
): GraphQLFormattedError {
  const original = originalOf(error);
  if (original instanceof SegueError) return withCode(formatted, original.code, original.message);
  if (CALLER_CODES.has(String(formatted.extensions?.code))) {
    const { message, locations, path } = formatted;
    return {
      message,
      ...(locations === undefined ? {} : { locations }),
      ...(path === undefined ? {} : { path }),
      extensions: { code: formatted.extensions?.code },
    };
  }
  // graphql-js says so of an operation that the schema has no type for, without a code of its own.
  if (/^Schema is not configured to execute \w+ operation/.test(formatted.message))
    return withCode(
      formatted,
      'BAD_USER_INPUT',
      `${formatted.message.replace(/\.$/, '')}: this server has queries and mutations only so far.`,
    );
  logger.error(messageOf(original), original instanceof Error ? original.stack : undefined);
  const explained = explainDatabaseError(original);
  return explained === null
    ? withCode(formatted, 'INTERNAL', 'The server failed; its log says why. Nothing was changed.')
    : withCode(formatted, explained.code, explained.message);
}

function withCode(
  { locations, path }: GraphQLFormattedError,
  code: ErrorCode,
  message: string,
): GraphQLFormattedError {
  return {
    message,
    ...(locations === undefined ? {} : { locations }),
    ...(path === undefined ? {} : { path }),
    extensions: { code },
  };
}

function originalOf(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError ? error.originalError : error;
}
