import { Extensions } from '@nestjs/graphql';
import {
  type DocumentNode,
  type FragmentDefinitionNode,
  getNamedType,
  getOperationAST,
  type GraphQLObjectType,
  type GraphQLSchema,
  isAbstractType,
  isLeafType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  visit,
} from 'graphql';

const EXTENSION = 'isViewerIndependent';

/**
 * Declares a field of the API to be the same for everybody who may see what it is a field of. A field without it counts
 * as one that depends on who asks.
 *
 * What is declared so may ask for the viewer all the same, where it has to: it is then found out when it is resolved, and
 * each viewer gets an answer of his own (`web/shared-results.ts`).
 */
export const ViewerIndependent = (): PropertyDecorator & MethodDecorator =>
  Extensions({ [EXTENSION]: true });

/** Whether all that an operation selects of an object of a type is the same for everybody. */
export function isViewerIndependent(
  schema: GraphQLSchema,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  selections: SelectionSetNode,
  type: GraphQLObjectType,
): boolean {
  const concerns = (condition: string | undefined): boolean => {
    const named = condition === undefined ? type : schema.getType(condition);
    return named === type || (isAbstractType(named) && schema.isSubType(named, type));
  };
  return selections.selections.every((selection) => {
    switch (selection.kind) {
      case Kind.FIELD: {
        if (selection.name.value === '__typename') return true;
        const field = type.getFields()[selection.name.value];
        if (field?.extensions[EXTENSION] !== true) return false;
        const result = getNamedType(field.type);
        if (isLeafType(result) || selection.selectionSet === undefined) return true;
        const types = isAbstractType(result) ? schema.getPossibleTypes(result) : [result];
        return types.every(
          (possible) =>
            isObjectType(possible) &&
            selection.selectionSet !== undefined &&
            isViewerIndependent(schema, fragments, selection.selectionSet, possible),
        );
      }
      case Kind.INLINE_FRAGMENT:
        return (
          !concerns(selection.typeCondition?.name.value) ||
          isViewerIndependent(schema, fragments, selection.selectionSet, type)
        );
      case Kind.FRAGMENT_SPREAD: {
        const fragment = fragments.get(selection.name.value);
        if (fragment === undefined) return false;
        return (
          !concerns(fragment.typeCondition.name.value) ||
          isViewerIndependent(schema, fragments, fragment.selectionSet, type)
        );
      }
    }
  });
}

/** The one field of a subscription, what is selected of it, and the variables that its result depends on. */
export interface SelectedRoot {
  /** As it is called in the payload. */
  readonly name: string;
  readonly selections: SelectionSetNode | undefined;
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  readonly variables: readonly string[];
}

/** @returns null for what is no subscription of one plain field. */
export function rootOf(
  document: DocumentNode,
  operationName: string | null | undefined,
): SelectedRoot | null {
  const operation = getOperationAST(document, operationName);
  const [root, ...others] = operation?.selectionSet.selections ?? [];
  if (operation == null || root?.kind !== Kind.FIELD || others.length > 0) return null;
  const fragments = new Map(
    document.definitions.flatMap((definition) =>
      definition.kind === Kind.FRAGMENT_DEFINITION ? [[definition.name.value, definition]] : [],
    ),
  );
  return {
    name: root.name.value,
    selections: root.selectionSet,
    fragments,
    variables: variablesOf(document, operation),
  };
}

/** All but those of the root's arguments: they say what is subscribed to, and not what is told of it. */
function variablesOf(document: DocumentNode, operation: OperationDefinitionNode): string[] {
  const names = new Set<string>();
  const [root] = operation.selectionSet.selections;
  visit(document, {
    VariableDefinition: () => false,
    Field: (field) => (field === root ? { ...field, arguments: [] } : undefined),
    Variable: ({ name }) => {
      names.add(name.value);
    },
  });
  return [...names].sort();
}
