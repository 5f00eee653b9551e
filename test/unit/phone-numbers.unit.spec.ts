import { describe, expect, it } from '@jest/globals';
import { PhoneNumbers } from '../../src/users/phone-numbers.js';

describe('phone numbers', () => {
  const nigerian = new PhoneNumbers('NG');
  const anywhere = new PhoneNumbers(undefined);

  it('are one number in each form that a database may hold', () => {
    for (const typed of ['+2348012345678', '2348012345678', '08012345678', '8012345678']) {
      const { canonical, forms } = nigerian.get(typed);
      expect(canonical).toBe('+2348012345678');
      expect(forms).toEqual(
        expect.arrayContaining(['+2348012345678', '2348012345678', '08012345678', '8012345678']),
      );
      expect(forms[0]).toBe(typed);
    }
  });

  it('have no national form abroad, nor where no country is set', () => {
    expect(nigerian.get('+498012345678').forms).toEqual(['+498012345678', '498012345678']);
    expect(anywhere.get('+2348012345678').forms).toEqual(['+2348012345678', '2348012345678']);
    expect(anywhere.get('08012345678')).toEqual({
      typed: '08012345678',
      canonical: '08012345678',
      forms: ['08012345678'],
    });
  });

  it('keep the zero where the country keeps it, and need none where it has none', () => {
    expect(new PhoneNumbers('IT').get('0612345678').canonical).toBe('+390612345678');
    expect(new PhoneNumbers('US').get('(212) 555-0123').forms).toContain('2125550123');
  });

  it('stay as typed when they are too short for their country', () => {
    expect(nigerian.get('12345').canonical).toBe('12345');
    expect(anywhere.get('+1 555 0100').canonical).toBe('+15550100');
  });

  it('are read from whatever an old row holds', () => {
    for (const stored of ['', 'Eve', '\0', '+', '０８０１２３４５６７８', '1'.repeat(99)])
      expect(nigerian.read(stored).forms).toEqual([stored]);
    expect(nigerian.read('0801-234 5678').forms).toContain('+2348012345678');
  });
});
