import type { GraphQLFormattedError } from 'graphql';
import { GraphQLError } from 'graphql';
import { Logger } from '@nestjs/common';
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

/** What the engines say when the database is gone, full of connections, or locked by others. */
const UNAVAILABLE =
  /ECONNREFUSED|ECONNRESET|EPIPE|ENOENT.*\.s\.PGSQL|SQLITE_BUSY|SQLITE_CANTOPEN|Connection terminated|connection timeout|the database system is|terminating connection|too many clients/i;

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
  logger.error(messageOf(original), original instanceof Error ? original.stack : undefined);
  return UNAVAILABLE.test(messageOf(original))
    ? withCode(formatted, 'UNAVAILABLE', 'The database does not answer at the moment: try again.')
    : withCode(formatted, 'INTERNAL', 'The server failed; its log says why. Nothing was changed.');
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
