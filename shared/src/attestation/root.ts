/**
 * The trust anchor: the AWS Nitro Enclaves root certificate G1 of the commercial partition, pinned by the SHA-256 of
 * its DER (https://docs.aws.amazon.com/enclaves/latest/user/verify-root.html). A document carries the certificate
 * itself as cabundle[0]; it counts only when it hashes to the pin.
 */

import { toHex } from '../bytes.ts';
import { sha256 } from './es384.ts';

export const AWS_NITRO_ROOT_G1_SHA256 = '641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b';

export interface TrustedRoot {
  readonly fingerprint: string;
  readonly isAws: boolean;
}

/** @param unsafeTrustedRootDer trusts another root instead: whoever holds its key can attest anything */
export async function trustedRoot(unsafeTrustedRootDer?: Uint8Array): Promise<TrustedRoot> {
  if (unsafeTrustedRootDer === undefined) return { fingerprint: AWS_NITRO_ROOT_G1_SHA256, isAws: true };
  const fingerprint = await fingerprintOf(unsafeTrustedRootDer);
  return { fingerprint, isAws: fingerprint === AWS_NITRO_ROOT_G1_SHA256 };
}

/** Lower-case hex of SHA-256. */
export async function fingerprintOf(der: Uint8Array): Promise<string> {
  return toHex(await sha256(der));
}
