import type { ApolloServerPlugin } from '@apollo/server';
import { GraphQLError, OperationTypeNode } from 'graphql';

/** Over HTTP a subscription would be executed like a query, once and for nothing. */
export const noSubscriptions: ApolloServerPlugin = {
  requestDidStart: () =>
    Promise.resolve({
      didResolveOperation: ({ operation }) => {
        if (operation?.operation === OperationTypeNode.SUBSCRIPTION)
          return Promise.reject(
            new GraphQLError(
              'A subscription needs the WebSocket at /graphql (graphql-transport-ws): HTTP gives one answer.',
              { extensions: { code: 'BAD_USER_INPUT', http: { status: 400 } } },
            ),
          );
        return Promise.resolve();
      },
    }),
};
