import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { GqlExecutionContext } from '@nestjs/graphql';
import type { GraphQLResolveInfo } from 'graphql';
import type { GraphQLContext } from '../auth/viewer.js';
import { DeprecatedCalls } from './deprecated-calls.js';

/**
 * Lets everybody pass, and notes that a field of the old API was called, and by which client: a guard, since those alone are
 * run for subscriptions too, before anything is done.
 */
@Injectable()
export class DeprecatedCallGuard implements CanActivate {
  constructor(private readonly calls: DeprecatedCalls) {}

  canActivate(execution: ExecutionContext): boolean {
    const call = GqlExecutionContext.create(execution);
    const { fieldName } = call.getInfo<GraphQLResolveInfo>();
    const context = call.getContext<GraphQLContext>();
    context.deprecated.add(fieldName);
    this.calls.note(fieldName, context.client());
    return true;
  }
}
