/** What this process asks of the kernel it runs on: a Nitro Enclave's. */
import { chmodSync, readFileSync } from 'node:fs';
import { QvError } from '@quantumvault/shared/errors.ts';

const NSM = '/dev/nsm';
const RNG_CURRENT = '/sys/devices/virtual/misc/hw_random/rng_current';
const NSM_RNG = 'nsm-hwrng';

/**
 * The parent emulates parts of this machine, and could emulate a random number generator. Only the security module's
 * feeds the kernel here (design 4).
 * @throws QvError randomness_untrusted
 */
export function requireNsmRandomness(path = RNG_CURRENT): void {
  let current: string;
  try {
    current = readFileSync(path, 'latin1').trim();
  } catch (error) {
    throw new QvError('randomness_untrusted', { path: 'rng_current', value: 'cannot be read' }, { cause: error });
  }
  if (current !== NSM_RNG) {
    throw new QvError('randomness_untrusted', { path: 'rng_current', value: JSON.stringify(current.slice(0, 64)) });
  }
}

/**
 * The driver makes the module's device open to every user. A kms-agent that could ask it would get documents for a
 * recipient key of its own, and KMS would unwrap every execution key to it.
 */
export function keepNsmToOurselves(): void {
  chmodSync(NSM, 0o600);
}
