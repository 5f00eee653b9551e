import {
  type CanActivate,
  createParamDecorator,
  type ExecutionContext,
  Injectable,
} from '@nestjs/common';
import { GqlExecutionContext } from '@nestjs/graphql';
import type { FastifyRequest } from 'fastify';
import { SegueError } from '../errors/segue-error.js';
import type { Account } from '../users/users.service.js';
import { TokensService } from './tokens.service.js';

/** What a GraphQL operation is executed with. One check of the token serves all fields of an operation. */
export interface GraphQLContext {
  readonly req: FastifyRequest;
  viewer?: Promise<Account>;
}

/** Lets a field be asked only by a signed-in person. */
@Injectable()
export class SignedInGuard implements CanActivate {
  constructor(private readonly tokens: TokensService) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const graphql = graphqlContext(context);
    graphql.viewer ??= this.tokens.check(bearerOf(graphql.req.headers.authorization));
    await graphql.viewer;
    return true;
  }
}

/** The signed-in person, behind `SignedInGuard`. */
export const Viewer = createParamDecorator(
  (_: unknown, context: ExecutionContext): Promise<Account> | undefined =>
    graphqlContext(context).viewer,
);

function graphqlContext(context: ExecutionContext): GraphQLContext {
  return GqlExecutionContext.create(context).getContext<GraphQLContext>();
}

function bearerOf(header: string | undefined): string {
  const token = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
  if (token === undefined)
    throw new SegueError(
      'UNAUTHENTICATED',
      `Send the header "authorization: Bearer TOKEN"; 'segue token WHO' prints a token.`,
    );
  return token;
}
