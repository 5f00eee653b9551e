import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { GqlExecutionContext } from '@nestjs/graphql';
import { type GraphQLContext, SignedInGuard } from '../auth/viewer.js';
import { SegueError } from '../errors/segue-error.js';
import { Operators } from './operators.js';

/** Lets a field be asked only by a signed-in operator. */
@Injectable()
export class OperatorGuard implements CanActivate {
  constructor(
    private readonly signedIn: SignedInGuard,
    private readonly operators: Operators,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const viewer = await this.signedIn.viewerOf(
      GqlExecutionContext.create(context).getContext<GraphQLContext>(),
    );
    await checkOperator(this.operators, viewer.id);
    return true;
  }
}

/** @throws SegueError FORBIDDEN. */
export async function checkOperator(operators: Operators, id: string): Promise<void> {
  if (!(await operators.has({ id })))
    throw new SegueError(
      'FORBIDDEN',
      `usr_${id} is no operator: 'segue operator grant ${id}' makes one, once the database is expanded.`,
    );
}
