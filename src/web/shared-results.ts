import {
  createSourceEventStream,
  type DocumentNode,
  execute,
  type ExecutionArgs,
  type ExecutionResult,
  getNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
  isAbstractType,
  isObjectType,
} from 'graphql';
import type { GraphQLContext } from '../auth/viewer.js';
import { mapped } from '../graphql/mapped.js';
import { isViewerIndependent, rootOf, type SelectedRoot } from '../graphql/viewer-independence.js';

/** How one document is executed: what all subscriptions with the same variables share. */
interface Plan {
  readonly root: SelectedRoot;
  /** By the type of what is told. */
  readonly isIndependent: Map<string, boolean>;
  /** By the values of the variables, each a key of results. */
  readonly keys: Map<string, object>;
}

/** A result for all, a promise of it until it was made, or null: each needs his own. */
type Shared = Promise<ExecutionResult | null> | ExecutionResult | null;

/** Documents have few sets of variables that their results depend on; a client that makes them up gets none shared. */
const MOST_KEYS = 100;
const LONGEST_KEY = 1_000;

/**
 * Executes a subscription's document once for all to whom the same object is told, where all that it selects of that is
 * the same for everybody: one execution for a thousand receivers. Who may be told is decided before, for each by himself.
 *
 * A shared execution has no viewer. Where a field asks for one, although it is declared not to depend on him, the result is
 * thrown away, and each viewer gets his own: a wrong declaration costs time and tells nobody what is somebody else's.
 */
export class SharedResults {
  /** Executions so far: of the shared ones one for all. */
  executed = 0;
  private readonly plans = new WeakMap<DocumentNode, Map<string, Plan | null>>();
  private readonly results = new WeakMap<object, Map<object, Shared>>();

  constructor(private readonly schema: GraphQLSchema) {}

  /** As `subscribe` of graphql-js, for documents that are valid. */
  async subscribe(
    args: ExecutionArgs,
  ): Promise<AsyncIterableIterator<ExecutionResult> | ExecutionResult> {
    const source = await createSourceEventStream(args);
    if (!(Symbol.asyncIterator in source)) return source;
    const plan = this.planOf(args.document, args.operationName);
    const key = plan === null ? null : keyOf(plan, args.variableValues);
    return mapped(source as AsyncIterableIterator<Readonly<Record<string, unknown>>>, (payload) => {
      const told = plan === null ? undefined : payload[plan.root.name];
      return plan !== null && key !== null && isObject(told) && this.isShared(plan, told)
        ? this.share(args, payload, told, key)
        : this.execute(args, payload, args.contextValue);
    });
  }

  private share(
    args: ExecutionArgs,
    payload: unknown,
    told: object,
    key: object,
  ): Promise<ExecutionResult> | ExecutionResult {
    const results = this.results.get(told) ?? new Map<object, Shared>();
    this.results.set(told, results);
    let result = results.get(key);
    if (result === undefined) {
      result = this.executeForAll(args, payload).then((made) => {
        results.set(key, made);
        return made;
      });
      results.set(key, result);
    }
    if (result instanceof Promise)
      return result.then((made) => made ?? this.execute(args, payload, args.contextValue));
    return result ?? this.execute(args, payload, args.contextValue);
  }

  /** Null where the result depends on the viewer after all. */
  private async executeForAll(
    args: ExecutionArgs,
    payload: unknown,
  ): Promise<ExecutionResult | null> {
    const { loaders } = args.contextValue as GraphQLContext;
    const asked = { viewer: false };
    const context: GraphQLContext = {
      headers: {},
      authorization: undefined,
      reply: undefined,
      client: () => '',
      deprecated: new Set(),
      loaders,
      get viewer(): never {
        asked.viewer = true;
        throw new Error('A field that is declared the same for everybody asked who the viewer is');
      },
    };
    const result = await this.execute(args, payload, context);
    return asked.viewer ? null : result;
  }

  private async execute(
    { schema, document, operationName, variableValues }: ExecutionArgs,
    rootValue: unknown,
    contextValue: unknown,
  ): Promise<ExecutionResult> {
    this.executed += 1;
    return execute({ schema, document, operationName, variableValues, rootValue, contextValue });
  }

  private planOf(document: DocumentNode, operationName: string | null | undefined): Plan | null {
    const plans = this.plans.get(document) ?? new Map<string, Plan | null>();
    this.plans.set(document, plans);
    const name = operationName ?? '';
    let plan = plans.get(name);
    if (plan === undefined) {
      const root = rootOf(document, operationName);
      plan = root === null ? null : { root, isIndependent: new Map(), keys: new Map() };
      plans.set(name, plan);
    }
    return plan;
  }

  private isShared({ root, isIndependent }: Plan, told: object): boolean {
    const type = this.typeOf(root, told);
    if (type === null || root.selections === undefined) return false;
    let known = isIndependent.get(type.name);
    if (known === undefined) {
      known = isViewerIndependent(this.schema, root.fragments, root.selections, type);
      isIndependent.set(type.name, known);
    }
    return known;
  }

  /** Objects of an interface are instances of a class with the name of their type. */
  private typeOf({ name }: SelectedRoot, told: object): GraphQLObjectType | null {
    const declared = this.schema.getSubscriptionType()?.getFields()[name]?.type;
    if (declared === undefined) return null;
    const named = getNamedType(declared);
    const type = isAbstractType(named) ? this.schema.getType(told.constructor.name) : named;
    return isObjectType(type) ? type : null;
  }
}

/**
 * The same object for the same values of the variables that results depend on; null where there are too many of them, or
 * they are too long to be kept. What is left out has its default, which null has not.
 */
function keyOf(
  { root, keys }: Plan,
  values: Readonly<Record<string, unknown>> | null | undefined,
): object | null {
  const text = JSON.stringify(
    root.variables.map((name) => (values?.[name] === undefined ? [] : [values[name]])),
  );
  const known = keys.get(text);
  if (known !== undefined) return known;
  if (keys.size === MOST_KEYS || text.length > LONGEST_KEY) return null;
  const key = {};
  keys.set(text, key);
  return key;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
