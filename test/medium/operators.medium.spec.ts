import { beforeEach, describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { readState } from '../../src/changeover/stage.js';
import { verify } from '../../src/changeover/verify.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { Operators } from '../../src/operators/operators.js';
import { type App, appOn } from '../helpers/app.js';
import { ENGINES } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

const [ADA, BOB] = ['1', '2'] as const;

const STATE = 'stage paused cutoverPercent mismatches verifiedAt';

describe.each(ENGINES)('operators, on %s', (engine) => {
  let database: Database;
  let app: App;
  let operators: Operators;

  const write = (...statements: string[]): Promise<void> =>
    database.transaction(async (transaction) => {
      for (const statement of statements) await transaction.run(statement);
    });
  const phoneOf = async (id: string): Promise<string> => {
    const [person] = await database.reader.all<{ phone: string }>(
      'SELECT phone FROM users WHERE id = CAST(:id AS bigint)',
      { id },
    );
    return person?.phone ?? '';
  };
  const grant = async (id: string): Promise<void> =>
    operators.grant({ id, phone: await phoneOf(id) }, 'a test');
  const log = async (): Promise<string[]> =>
    (
      await database.reader.all<{ who: string; did: string }>(
        'SELECT who, did FROM changeover_log ORDER BY id',
      )
    ).map(({ who, did }) => `${who}: ${did}`);

  beforeEach(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 200 }));
    operators = new Operators(database, DEFAULT_MAPPING);
    app = await appOn(database);
  });

  it('are there from expand on, until they are revoked, and are nobody else with their id', async () => {
    await expect(grant(ADA)).rejects.toMatchObject({ code: 'WRONG_STAGE' });
    expect(await app.ask(ADA, '{ changeover { stage } }')).toMatchObject({ code: 'FORBIDDEN' });
    await migrate(database);
    await grant(ADA);
    expect(await app.ask(BOB, '{ changeover { stage } }')).toMatchObject({ code: 'FORBIDDEN' });
    expect(await app.get(ADA, `{ changeover { ${STATE} legacyMessages } }`)).toEqual({
      changeover: {
        stage: 'VERIFIED',
        paused: false,
        cutoverPercent: 0,
        mismatches: 0,
        verifiedAt: expect.stringMatching(/^20.*Z$/),
        legacyMessages: 200,
      },
    });
    // The old app has given her id to somebody else.
    const phone = await phoneOf(ADA);
    await write(`UPDATE users SET phone = '0900' WHERE id = ${ADA}`);
    expect(await operators.has({ id: ADA })).toBe(false);
    await write(`UPDATE users SET phone = '${phone}' WHERE id = ${ADA}`);
    expect(await operators.has({ id: ADA })).toBe(true);
    expect(await operators.revoke({ id: ADA }, 'a test')).toBe(true);
    expect(await operators.revoke({ id: ADA }, 'a test')).toBe(false);
    expect(await app.ask(ADA, '{ changeover { stage } }')).toMatchObject({ code: 'FORBIDDEN' });
    expect(await log()).toEqual([
      `a test: operator: user ${ADA}`,
      `a test: operator: user ${ADA} no more`,
    ]);
  });

  it('have the copy rest and hurry, and people moved over and back, each of which is written down', async () => {
    await expand(contextOf(database), EXPAND);
    await grant(ADA);
    const lead = async (mutation: string): Promise<unknown> =>
      Object.values(await app.get(ADA, `mutation { ${mutation} }`))[0];
    const refusal = async (mutation: string): Promise<string | null> =>
      (await app.ask(ADA, `mutation { ${mutation} }`)).code;
    expect(await lead('pauseChangeover { paused }')).toEqual({ paused: true });
    expect(await lead('resumeChangeover { paused }')).toEqual({ paused: false });
    expect(await lead('setBackfillRate(maxRowsPerSecond: 500) { stage }')).toEqual({
      stage: 'EXPANDED',
    });
    expect((await readState(database)).rateLimit).toBe(500);
    for (const rate of ['0', '-1', '1000000001'])
      expect(await refusal(`setBackfillRate(maxRowsPerSecond: ${rate}) { stage }`)).toBe(
        'BAD_USER_INPUT',
      );
    expect((await readState(database)).rateLimit).toBe(500);
    await lead('setBackfillRate { stage }');
    expect((await readState(database)).rateLimit).toBeNull();
    expect(await refusal('setCutover(percent: 5) { stage }')).toBe('WRONG_STAGE');
    await backfill(contextOf(database));
    expect(await refusal('pauseChangeover { stage }')).toBe('WRONG_STAGE');
    expect(await refusal('setCutover(percent: 5) { stage }')).toBe('NOT_VERIFIED');
    await verify(contextOf(database));
    expect(await refusal('setCutover(percent: 101) { stage }')).toBe('BAD_USER_INPUT');
    expect(await lead('setCutover(percent: 5) { stage cutoverPercent }')).toEqual({
      stage: 'CUTTING_OVER',
      cutoverPercent: 5,
    });
    expect(await refusal('rollbackChangeover(to: LEGACY, confirm: "legacy") { stage }')).toBe(
      'BAD_USER_INPUT',
    );
    expect(
      await refusal('rollbackChangeover(to: CONTRACTED, confirm: "CONTRACTED") { stage }'),
    ).toBe('BAD_USER_INPUT');
    expect(
      await lead(
        'rollbackChangeover(to: BACKFILLED, confirm: "BACKFILLED") { stage cutoverPercent }',
      ),
    ).toEqual({ stage: 'BACKFILLED', cutoverPercent: 0 });
    expect(await lead('rollbackChangeover(to: LEGACY, confirm: "LEGACY") { stage }')).toEqual({
      stage: 'LEGACY',
    });
    expect(await log()).toEqual([
      `a test: operator: user ${ADA}`,
      ...[
        'pause',
        'resume',
        'rate: 500',
        'rate: off',
        'cutover: 0 to 5 percent',
        'rollback: CUTTING_OVER to BACKFILLED',
        'rollback: BACKFILLED to LEGACY',
      ].map((did) => `usr_${ADA}: ${did}`),
    ]);
    // She is one for the next try, too.
    expect(await app.get(ADA, '{ changeover { stage } }')).toEqual({
      changeover: { stage: 'LEGACY' },
    });
  });

  it('look through the quarantine page by page', async () => {
    await write(
      ...Array.from(
        { length: 5 },
        (_, n) => `INSERT INTO messages (sender_id, content) VALUES (1, 'to nobody ${n}')`,
      ),
    );
    await migrate(database);
    await grant(ADA);
    interface Page {
      edges: { cursor: string; node: { legacyId: string; reason: string; detail: string } }[];
      pageInfo: { hasNextPage: boolean; endCursor: string | null };
    }
    const page = async (args: string): Promise<Page> =>
      (
        await app.get<{ changeover: { quarantine: Page } }>(
          ADA,
          `{ changeover { quarantine(${args}) { edges { cursor node { legacyId reason detail } } pageInfo { hasNextPage endCursor } } } }`,
        )
      ).changeover.quarantine;
    const found: string[] = [];
    for (let after = ''; ;) {
      const { edges, pageInfo } = await page(`first: 2${after}`);
      found.push(...edges.map(({ node }) => node.legacyId));
      for (const { node } of edges) expect(node).toMatchObject({ reason: 'no-thread' });
      if (!pageInfo.hasNextPage) break;
      after = `, after: "${pageInfo.endCursor ?? ''}"`;
    }
    expect(found).toEqual(['201', '202', '203', '204', '205']);
    expect((await page('first: 9, reason: "no-thread"')).edges).toHaveLength(5);
    expect((await page('first: 9, reason: "nothing of the kind"')).edges).toEqual([]);
    const wrong = '{ changeover { quarantine(after: "x") { edges { cursor } } } }';
    expect(await app.ask(ADA, wrong)).toMatchObject({ code: 'BAD_USER_INPUT' });
  });

  it('are told how far it has come, until they are operators no more', async () => {
    await migrate(database);
    await grant(ADA);
    const stream = await app.subscribe(
      ADA,
      'subscription { changeoverProgress { stage cutoverPercent } }',
    );
    if (!(Symbol.asyncIterator in stream)) throw new Error(`${stream.code}`);
    expect((await stream.next()).value).toMatchObject({
      data: { changeoverProgress: { stage: 'VERIFIED', cutoverPercent: 0 } },
    });
    const next = stream.next();
    await app.get(ADA, 'mutation { setCutover(percent: 50) { stage } }');
    expect((await next).value).toMatchObject({
      data: { changeoverProgress: { stage: 'CUTTING_OVER', cutoverPercent: 50 } },
    });
    const last = stream.next();
    await operators.revoke({ id: ADA }, 'a test');
    await expect(last).rejects.toMatchObject({ code: 'FORBIDDEN' });
    // Who hangs up while nothing changes is not waited for.
    await grant(ADA);
    const other = await app.subscribe(ADA, 'subscription { changeoverProgress { stage } }');
    if (!(Symbol.asyncIterator in other)) throw new Error(`${other.code}`);
    await other.next();
    const silence = other.next();
    await other.return(undefined);
    expect(await silence).toEqual({ done: true, value: undefined });
  });
});
