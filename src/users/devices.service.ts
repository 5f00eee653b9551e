import { Injectable } from '@nestjs/common';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database, Queryable } from '../database/database.js';
import { quoted } from '../database/old-table.js';
import { SegueError } from '../errors/segue-error.js';
import { appendEvents } from '../events/event-log.js';
import { globalId } from '../graphql/global-ids.js';
import { instantToDate } from '../graphql/scalars.js';
import type { Device, DeviceInput } from './device.types.js';

/** The longest text that a client may say of a device: push tokens are the longest. */
const MOST_CHARACTERS = 4_096;

interface Row {
  readonly id: string;
  readonly deviceId: string | null;
  readonly deviceType: string | null;
  readonly lastActive: string | null;
}

/** Devices, in the old table: the old app sends its pushes to them. */
@Injectable()
export class DevicesService {
  private readonly table: string;
  private readonly columns: Record<keyof LegacyMapping['devices']['columns'], string>;

  constructor(
    private readonly database: Database,
    mapping: LegacyMapping,
  ) {
    this.table = database.dialect.name(mapping.devices.table);
    this.columns = quoted(database.dialect, mapping.devices.columns);
  }

  async list(userId: string): Promise<Device[]> {
    const { id, deviceId, deviceType, lastActive } = this.columns;
    const rows = await this.database.reader.all<Row>(
      `SELECT CAST(${id} AS text) AS id, CAST(${deviceId} AS text) AS "deviceId", CAST(${deviceType} AS text) AS "deviceType",
         CAST(${this.database.dialect.instantOf(lastActive)} AS text) AS "lastActive"
       FROM ${this.table} WHERE ${this.columns.userId} = CAST(:userId AS bigint) ORDER BY ${this.table}.${id}`,
      { userId },
    );
    return rows.map((row) => ({
      id: globalId('Device', row.id),
      deviceId: row.deviceId,
      deviceType: row.deviceType,
      lastActiveAt: row.lastActive === null ? null : instantToDate(row.lastActive),
    }));
  }

  /** @throws SegueError BAD_USER_INPUT for what no column can hold. */
  check({ deviceId, deviceType, pushToken }: DeviceInput): void {
    if (deviceId.trim() === '')
      throw new SegueError(
        'BAD_USER_INPUT',
        'device.deviceId is blank: it takes a name that stays the same for the device.',
      );
    for (const [field, value] of Object.entries({ deviceId, deviceType, pushToken }))
      if (value != null && (value.length > MOST_CHARACTERS || value.includes('\0')))
        throw new SegueError(
          'BAD_USER_INPUT',
          `device.${field} has ${value.length} characters: it takes up to ${MOST_CHARACTERS}, and no NUL.`,
        );
  }

  /** The row of a person's device, made when there is none; of several, which nothing forbids, the latest. */
  async getOrCreate(
    transaction: Queryable,
    userId: string,
    { deviceId }: DeviceInput,
  ): Promise<string> {
    return (
      (await this.find(transaction, userId, deviceId)) ??
      (await this.create(transaction, userId, deviceId))
    );
  }

  /** Notes that a device was used, and what its client says of it; what it leaves out stays. */
  async touch(
    transaction: Queryable,
    id: string,
    { deviceType, pushToken }: Partial<DeviceInput> = {},
  ): Promise<void> {
    const { dialect } = this.database;
    const { columns } = this;
    await transaction.run(
      `UPDATE ${this.table} SET ${columns.lastActive} = ${dialect.legacyTime(dialect.now)},
         ${columns.deviceType} = coalesce(CAST(:deviceType AS text), ${columns.deviceType}),
         ${columns.pushToken} = coalesce(CAST(:pushToken AS text), ${columns.pushToken})
       WHERE ${columns.id} = CAST(:id AS bigint)`,
      { id, deviceType: deviceType ?? null, pushToken: pushToken ?? null },
    );
  }

  private async find(
    queryable: Queryable,
    userId: string,
    deviceId: string,
  ): Promise<string | null> {
    const { columns } = this;
    const [row] = await queryable.all<{ id: string | null }>(
      `SELECT CAST(max(${columns.id}) AS text) AS id FROM ${this.table}
       WHERE ${columns.userId} = CAST(:userId AS bigint) AND ${columns.deviceId} = :deviceId`,
      { userId, deviceId },
    );
    return row?.id ?? null;
  }

  private async create(transaction: Queryable, userId: string, deviceId: string): Promise<string> {
    await transaction.run(
      `INSERT INTO ${this.table} (${this.columns.userId}, ${this.columns.deviceId}) VALUES (CAST(:userId AS bigint), :deviceId)`,
      { userId, deviceId },
    );
    const id = await this.find(transaction, userId, deviceId);
    if (id === null) throw new Error('The device just made cannot be read back');
    await appendEvents(transaction, this.database.dialect, [
      { kind: 'DeviceChanged', userId, subjectId: id },
    ]);
    return id;
  }
}
