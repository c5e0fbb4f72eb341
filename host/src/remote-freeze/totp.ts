/**
 * Time-based one-time passwords (RFC 6238) with the defaults of authenticator applications: HMAC-SHA-1, six digits,
 * steps of 30 seconds. otpauth does codes and texts, node:crypto the HMAC: otpauth sees no secret that is in use.
 */
import { createHmac, randomFillSync, timingSafeEqual } from 'node:crypto';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import { HOTP, Secret as OtpSecret, TOTP } from 'otpauth';

const ALGORITHM = 'SHA1';
const DIGITS = LIMITS.totpDigits;
const ISSUER = 'QuantumVault';

export const TOTP_CODE = new RegExp(`^[0-9]{${DIGITS}}$`);

/** RFC 4648 section 6, padded or not. */
const BASE32 = /^[A-Z2-7]+={0,6}$/;

/** In the place of the secret, which only the HMAC needs. */
const NONE = new OtpSecret({ buffer: new ArrayBuffer(LIMITS.totpSecretBytes) });

function codeOf(secret: Secret, counter: number): string {
  const hmac = (_algorithm: string, _key: Uint8Array, message: Uint8Array): Uint8Array =>
    secret.use((key) => createHmac('sha1', key).update(message).digest());
  return HOTP.generate({ secret: NONE, counter, algorithm: ALGORITHM, digits: DIGITS, hmac });
}

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
    const expected = Buffer.from(codeOf(secret, step));
    // The later one, should two steps have one code: that uses up both.
    if (given.length === expected.length && timingSafeEqual(given, expected)) found = step;
  }
  return found;
}

export function drawSecret(): Secret {
  const secret = new Secret(new ArrayBuffer(LIMITS.totpSecretBytes));
  secret.use((bytes) => {
    randomFillSync(bytes);
  });
  return secret;
}

/** Undefined when the text is not base32 of an acceptable length. The caller wipes. */
export function secretOf(base32: string): Secret | undefined {
  if (base32.length > 2 * LIMITS.totpSecretMaxBytes || !BASE32.test(base32)) return undefined;
  const { bytes } = OtpSecret.fromBase32(base32);
  const { length } = bytes;
  if (length >= LIMITS.totpSecretMinBytes && length <= LIMITS.totpSecretMaxBytes) return Secret.take(bytes);
  bytes.fill(0);
  return undefined;
}

/** As the operators file and authenticator applications have it: the one text that is made of a secret. */
export function base32Of(secret: Secret): string {
  return secret.use((bytes) => {
    const copy = new OtpSecret({ buffer: new ArrayBuffer(bytes.length) });
    copy.bytes.set(bytes);
    try {
      // secret-rule: whoever adds a login is shown its secret once, and the operators file keeps it
      return copy.base32;
    } finally {
      copy.bytes.fill(0);
    }
  });
}

/** What an authenticator application scans (Google's Key URI format, which they all read). */
export function otpauthUri(secret: Secret, login: string): string {
  return new TOTP({
    issuer: ISSUER,
    label: login,
    secret: base32Of(secret),
    algorithm: ALGORITHM,
    digits: DIGITS,
    period: LIMITS.totpStepSeconds,
  }).toString();
}
