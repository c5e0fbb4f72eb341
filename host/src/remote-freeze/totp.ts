/**
 * Time-based one-time passwords (RFC 6238) with the defaults of authenticator applications: HMAC-SHA-1, six digits,
 * steps of 30 seconds. otpauth does the codes, node:crypto the HMAC, so that no further copy of a secret is made.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { HOTP, Secret, TOTP } from 'otpauth';

export type { Secret } from 'otpauth';

const ALGORITHM = 'SHA1';
const DIGITS = LIMITS.totpDigits;
const ISSUER = 'QuantumVault';

export const TOTP_CODE = new RegExp(`^[0-9]{${DIGITS}}$`);

/** RFC 4648 section 6, padded or not. */
const BASE32 = /^[A-Z2-7]+={0,6}$/;

const hmac = (_: string, key: Uint8Array, message: Uint8Array): Uint8Array =>
  createHmac('sha1', key).update(message).digest();

/**
 * The time step whose code this is, among those that count at `at`. All of them are computed and compared whatever
 * the code is.
 */
export function matchingStep(secret: Secret, code: string, at: TimeMs): number | undefined {
  const given = Buffer.from(code);
  const current = Math.floor(at / 1000 / LIMITS.totpStepSeconds);
  let found: number | undefined;
  for (let step = current - LIMITS.totpWindowSteps; step <= current + LIMITS.totpWindowSteps; step++) {
    if (step < 0) continue;
    const expected = Buffer.from(HOTP.generate({ secret, counter: step, algorithm: ALGORITHM, digits: DIGITS, hmac }));
    // The later one, should two steps have one code: that uses up both.
    if (given.length === expected.length && timingSafeEqual(given, expected)) found = step;
  }
  return found;
}

export const drawSecret = (): Secret => new Secret({ size: LIMITS.totpSecretBytes });

/** Undefined when the text is not base32 of an acceptable length. The caller wipes. */
export function secretOf(base32: string): Secret | undefined {
  if (base32.length > 2 * LIMITS.totpSecretMaxBytes || !BASE32.test(base32)) return undefined;
  const secret = Secret.fromBase32(base32);
  const { length } = secret.bytes;
  if (length >= LIMITS.totpSecretMinBytes && length <= LIMITS.totpSecretMaxBytes) return secret;
  wipe(secret);
  return undefined;
}

export function wipe(secret: Secret): void {
  secret.bytes.fill(0);
}

/** What an authenticator application scans (Google's Key URI format, which they all read). */
export function otpauthUri(secret: Secret, login: string): string {
  return new TOTP({
    issuer: ISSUER,
    label: login,
    secret,
    algorithm: ALGORITHM,
    digits: DIGITS,
    period: LIMITS.totpStepSeconds,
  }).toString();
}
