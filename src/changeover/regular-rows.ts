import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import { oldRows } from '../legacy/old-rows.js';

/** A rule that a row must keep to be copied, and the words for a row that does not. */
interface Rule {
  readonly holds: string;
  readonly otherwise: string;
}

/** Which old rows can be copied, as SQL over `from`. */
export interface RegularRows {
  /** `messages m` with the accounts of sender and recipient beside it. */
  readonly from: string;
  /** True for a row that can be copied; `:now` is an instant: what lies after it is in the future. */
  readonly predicate: string;
  /** For a row that cannot: the first rule that it breaks, in words. */
  readonly complaint: string;
}

const KINDS = ['text', 'image', 'audio', 'video', 'file'];
const STATUSES = ['sent', 'delivered', 'read'];

/**
 * What a row must be like to be copied: written by an account, to an account or a group, with values of the old
 * app's own types. Every other row goes to quarantine with the rule that it broke, and old clients are still
 * answered with it.
 */
export function regularRows(dialect: Dialect, mapping: LegacyMapping): RegularRows {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const users = dialect.name(mapping.users.table);
  const userId = dialect.name(mapping.users.columns.id);
  const among = (expression: string, values: readonly string[]): string =>
    `${dialect.isText(expression)} AND ${dialect.textOf(expression)} IN (${values.map((value) => `'${value}'`).join(', ')})`;
  const toOne = `${m.groupId} IS NULL AND ${dialect.isInteger(m.recipientId)}`;
  const toGroup = `${m.recipientId} IS NULL AND ${dialect.isInteger(m.groupId)} AND ${m.groupId} <> 0`;

  const rules: Rule[] = [
    {
      holds: `(${dialect.isInteger(m.senderId)} AND s.id IS NOT NULL)`,
      otherwise: 'the sender has no account',
    },
    {
      holds: `((${toOne}) OR (${toGroup}))`,
      otherwise: 'not exactly one of recipient and group is set',
    },
    {
      holds: `(${m.recipientId} IS NULL OR r.id IS NOT NULL)`,
      otherwise: 'the recipient has no account',
    },
    {
      holds: `(${m.content} IS NULL OR ${dialect.isText(m.content)})`,
      otherwise: 'the content is not text',
    },
    { holds: `(${among(m.type, KINDS)})`, otherwise: 'the type is unknown' },
    { holds: `(${among(m.status, STATUSES)})`, otherwise: 'the status is unknown' },
    {
      holds: dialect.isCanonicalTime(m.createdAt),
      otherwise: 'the time is not in the form YYYY-MM-DD HH:MM:SS',
    },
    {
      holds: `${dialect.instantOf(m.createdAt)} <= :now`,
      otherwise: 'the time is in the future',
    },
  ];
  return {
    // Aliased to `id` in a subquery, so that the mapping's name for it stays in one place.
    from: `${rows.table} m
      LEFT JOIN (SELECT ${userId} AS id FROM ${users}) s ON s.id = ${m.senderId}
      LEFT JOIN (SELECT ${userId} AS id FROM ${users}) r ON r.id = ${m.recipientId}`,
    predicate: rules.map(({ holds }) => holds).join(' AND '),
    complaint: `CASE ${rules
      .map(({ holds, otherwise }) => `WHEN (${holds}) IS NOT TRUE THEN '${otherwise}'`)
      .join(' ')} END`,
  };
}
