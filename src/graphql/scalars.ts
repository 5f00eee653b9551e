import { GraphQLError, GraphQLScalarType, Kind } from 'graphql';

const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

/** An instant of the database (microseconds since 1970, as a number or as text) as a `DateTime` of the API. */
export function instantToDate(instant: number | string): Date {
  return new Date(Math.floor(Number(instant) / 1_000));
}

function readDate(value: unknown): Date {
  const date = typeof value === 'string' && RFC_3339.test(value) ? new Date(value) : null;
  if (date === null || Number.isNaN(date.getTime()))
    throw new GraphQLError(
      `${JSON.stringify(value)} is no DateTime: it takes RFC 3339 with a zone, as 2026-01-02T03:04:05.678Z`,
      { extensions: { code: 'BAD_USER_INPUT' } },
    );
  return date;
}

function checkSafeInt(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value))
    throw new GraphQLError(
      `${String(value)} is no SafeInt: it takes whole numbers up to 2^53 - 1`,
      {
        extensions: { code: 'BAD_USER_INPUT' },
      },
    );
  return value;
}

export const SafeInt = new GraphQLScalarType<number, number>({
  name: 'SafeInt',
  description: 'A whole number that a JavaScript number holds exactly: up to 2^53 - 1.',
  serialize: checkSafeInt,
  parseValue: checkSafeInt,
  parseLiteral: (node) => checkSafeInt(node.kind === Kind.INT ? Number(node.value) : null),
});

export const DateTime = new GraphQLScalarType<Date, string>({
  name: 'DateTime',
  description: 'RFC 3339, UTC, millisecond precision, e.g. 2026-01-02T03:04:05.678Z',
  serialize: (value) => {
    if (!(value instanceof Date)) throw new TypeError('A DateTime is served from a Date');
    return value.toISOString();
  },
  parseValue: readDate,
  parseLiteral: (node) => readDate(node.kind === Kind.STRING ? node.value : null),
});
