import { describe, expect, it } from '@jest/globals';
import { Audience } from '../../src/events/audience.js';

const listener = (viewerId: string, device = ''): { viewerId: string; device: string } => ({
  viewerId,
  device,
});

describe('an audience', () => {
  it('finds all devices of those who are named, and of nobody else', () => {
    const audience = new Audience<{ viewerId: string; device: string }>();
    const [phone, tablet, other] = [listener('1', 'phone'), listener('1', 'tablet'), listener('2')];
    for (const each of [phone, tablet, other]) audience.add(each);
    expect([...audience.of(['1', '3'])]).toEqual([phone, tablet]);
    expect([...audience]).toEqual([phone, tablet, other]);
    expect(audience.viewerIds).toEqual(['1', '2']);
  });

  it('keeps nobody who has left', () => {
    const audience = new Audience<{ viewerId: string; device: string }>();
    const [phone, tablet] = [listener('1', 'phone'), listener('1', 'tablet')];
    audience.add(phone);
    audience.add(tablet);
    audience.delete(phone);
    expect([...audience.of(['1'])]).toEqual([tablet]);
    audience.delete(tablet);
    audience.delete(tablet);
    expect([...audience]).toEqual([]);
    expect(audience.viewerIds).toEqual([]);
  });

  it('says who came since it was asked, also who went in between, and not of further devices', () => {
    const audience = new Audience<{ viewerId: string; device: string }>();
    const [there, new_] = [listener('1'), listener('2')];
    audience.add(there);
    expect([...audience.takeArrived()]).toEqual(['1']);
    audience.add(listener('1', 'tablet'));
    audience.add(new_);
    expect([...audience.takeArrived()]).toEqual(['2']);
    expect([...audience.takeArrived()]).toEqual([]);
    audience.delete(new_);
    audience.add(new_);
    expect([...audience.takeArrived()]).toEqual(['2']);
  });
});
