import { type ArgumentsHost, Catch, type ExceptionFilter, Logger } from '@nestjs/common';
import type { GqlContextType } from '@nestjs/graphql';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, messageOf } from '../errors/segue-error.js';

/**
 * Gives what fails before or beside GraphQL (a body that is no JSON, an unknown path) the same form as a GraphQL
 * error: a code and a sentence. What fails inside GraphQL is left to `formatError`.
 */
@Catch()
export class HttpErrorsFilter implements ExceptionFilter {
  private readonly logger = new Logger('HTTP');

  catch(exception: unknown, host: ArgumentsHost): unknown {
    if (host.getType<GqlContextType>() === 'graphql') return exception;
    const status = statusOf(exception);
    if (status >= 500) this.logger.error(messageOf(exception));
    return host
      .switchToHttp()
      .getResponse<FastifyReply>()
      .status(status)
      .send(bodyOf(status, exception));
  }
}

/** The same for what Fastify refuses before any route is found, as a path that cannot be decoded. */
export function answerFrameworkError(
  error: Error,
  _request: FastifyRequest,
  reply: FastifyReply,
): void {
  const status = statusOf(error);
  void reply.status(status).send(bodyOf(status, error));
}

function bodyOf(status: number, exception: unknown): object {
  const message = status === 500 ? 'The server failed; its log says why.' : messageOf(exception);
  return { errors: [{ message, extensions: { code: codeOf(status) } }] };
}

/** Nest's exceptions have `getStatus`, Fastify's `statusCode`; anything else is a fault of ours. */
function statusOf(exception: unknown): number {
  if (typeof exception !== 'object' || exception === null) return 500;
  const { getStatus, statusCode } = exception as { getStatus?: unknown; statusCode?: unknown };
  const status: unknown = typeof getStatus === 'function' ? getStatus.call(exception) : statusCode;
  return typeof status === 'number' && status >= 400 && status < 600 ? status : 500;
}

function codeOf(status: number): ErrorCode {
  if (status === 401) return 'UNAUTHENTICATED';
  if (status === 403) return 'FORBIDDEN';
  if (status === 404) return 'NOT_FOUND';
  if (status === 503) return 'UNAVAILABLE';
  return status >= 500 ? 'INTERNAL' : 'BAD_USER_INPUT';
}
