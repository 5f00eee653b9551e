import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Attendance, GRACE_MS, SAID_MS } from '../../src/presence/attendance.js';
import { PresenceStatus } from '../../src/presence/presence.types.js';

const { ONLINE, BUSY, OFFLINE } = PresenceStatus;

describe('who is there', () => {
  let told: [string, PresenceStatus][];
  let attendance: Attendance;

  beforeEach(() => {
    jest.useFakeTimers();
    told = [];
    attendance = new Attendance(({ userId, status }) => {
      told.push([userId, status]);
    });
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  it('is whoever has a connection, on any of his devices', () => {
    const leaves = [attendance.arrive('7'), attendance.arrive('7')];
    expect(told).toEqual([['7', ONLINE]]);
    leaves[0]?.();
    // Twice the same end is one.
    leaves[0]?.();
    jest.advanceTimersByTime(GRACE_MS);
    expect(attendance.statusOf('7')).toBe(ONLINE);
    leaves[1]?.();
    jest.advanceTimersByTime(GRACE_MS);
    expect(attendance.statusOf('7')).toBe(OFFLINE);
    expect(told).toEqual([
      ['7', ONLINE],
      ['7', OFFLINE],
    ]);
    expect(attendance.size).toBe(0);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('is not told of a connection that is cut and comes back at once', () => {
    attendance.arrive('7')();
    jest.advanceTimersByTime(GRACE_MS - 1);
    const leave = attendance.arrive('7');
    jest.advanceTimersByTime(GRACE_MS);
    expect(told).toEqual([['7', ONLINE]]);
    leave();
  });

  it('is whoever said so, for a minute, where he has no connection', () => {
    attendance.say('7', BUSY);
    jest.advanceTimersByTime(SAID_MS - 1);
    attendance.say('7', BUSY);
    jest.advanceTimersByTime(SAID_MS - 1);
    expect(told).toEqual([['7', BUSY]]);
    jest.advanceTimersByTime(1);
    expect(told).toEqual([
      ['7', BUSY],
      ['7', OFFLINE],
    ]);
  });

  it('stays what he said for as long as he is there, and begins anew when he comes back', () => {
    const leave = attendance.arrive('7');
    attendance.say('7', BUSY);
    jest.advanceTimersByTime(SAID_MS * 2);
    expect(attendance.statusOf('7')).toBe(BUSY);
    leave();
    jest.advanceTimersByTime(GRACE_MS);
    attendance.arrive('7');
    expect(told.map(([, status]) => status)).toEqual([ONLINE, BUSY, OFFLINE, ONLINE]);
  });

  it('is nobody to others who wants to be shown as offline, and is not told again when he goes', () => {
    const leave = attendance.arrive('7');
    attendance.say('7', OFFLINE);
    leave();
    jest.advanceTimersByTime(GRACE_MS);
    expect(told.map(([, status]) => status)).toEqual([ONLINE, OFFLINE]);
  });

  it('is nobody when the server ends', () => {
    attendance.arrive('7');
    attendance.say('8', BUSY);
    attendance.leaveAll();
    expect(told.slice(2)).toEqual([
      ['7', OFFLINE],
      ['8', OFFLINE],
    ]);
    expect(jest.getTimerCount()).toBe(0);
  });
});
