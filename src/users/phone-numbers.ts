import {
  type CountryCode,
  getCountryCallingCode,
  parsePhoneNumberFromString,
} from 'libphonenumber-js/min';
import { SegueError } from '../errors/segue-error.js';

/** What people write between the digits of a number. */
const SEPARATORS = /[\s().\-/]/g;

/** A phone number that a person typed. */
export interface PhoneNumber {
  readonly typed: string;
  /** E.164 where it can be read so, else the digits as typed: what is stored for a new account, and sent codes. */
  readonly canonical: string;
  /** Each form in which the database may hold it. */
  readonly forms: readonly string[];
}

/**
 * Reads phone numbers. `+234 801 234 5678`, `2348012345678` and `08012345678` are one number where the default country
 * is Nigeria. A national form stands for a number of the default country only: a number of another country with the
 * same national digits belongs to somebody else, and must not open his account.
 */
export class PhoneNumbers {
  private readonly callingCode: string | undefined;

  constructor(private readonly country: CountryCode | undefined) {
    this.callingCode = country === undefined ? undefined : getCountryCallingCode(country);
  }

  /** @throws SegueError BAD_USER_INPUT when the text is no phone number. */
  get(typed: string): PhoneNumber {
    const digits = typed.replace(SEPARATORS, '');
    if (!/^\+?\d{4,15}$/.test(digits))
      throw new SegueError(
        'BAD_USER_INPUT',
        `${JSON.stringify(typed.slice(0, 40))} is no phone number: it takes 4 to 15 digits, best with + and the country in front, as +2348012345678.`,
      );
    return this.read(typed);
  }

  /** As `get` of whatever was typed or stored: what is no phone number has the one form that it is in. */
  read(typed: string): PhoneNumber {
    const digits = typed.replace(SEPARATORS, '');
    const international = this.internationalOf(digits);
    return {
      typed,
      canonical: international[0] ?? digits,
      forms: [...new Set([typed, digits, ...international])],
    };
  }

  /** E.164 first; none for what cannot be read, as a number without a country. */
  private internationalOf(digits: string): string[] {
    if (!/^\+?\d{4,15}$/.test(digits)) return [];
    const number = parsePhoneNumberFromString(
      digits,
      this.country === undefined ? undefined : { defaultCountry: this.country },
    );
    if (number?.isPossible() !== true) return [];
    const e164: string = number.number;
    if (number.countryCallingCode !== this.callingCode) return [e164, e164.slice(1)];
    const national: string = number.nationalNumber;
    return [
      e164,
      e164.slice(1),
      number.formatNational().replace(/\D/g, ''),
      `0${national}`,
      national,
    ];
  }
}
