/** The boot that is to take over: nobody signs for it before it has proved itself, live and over a nonce of ours. */
import type { BootId } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type AttestedBoot, attest, type Trust } from '../../client/attestation.ts';
import { verifyEd25519 } from '../../client/keys.ts';
import type { Arguments, OptionSpec } from '../command.ts';
import { hostConnection } from '../host-connection.ts';
import { expectedSets, PCR_OPTIONS, UNSAFE_OPTIONS, unsafeOptions } from '../trust-options.ts';

const { 'unsafe-trusted-root': unsafeRoot, root } = UNSAFE_OPTIONS;

/** Without --allow-debug: nobody hands wallets to an enclave whose memory can be read. */
export const SUCCESSOR_OPTIONS = {
  url: { value: '<url>', help: 'the successor’s host, for its live attestation' },
  ...PCR_OPTIONS,
  'unsafe-trusted-root': unsafeRoot,
  root,
} as const satisfies Record<string, OptionSpec>;

export interface Successor {
  readonly attested: AttestedBoot;
  readonly warnings: readonly string[];
  /** For whatever else is verified in the same call. */
  readonly unsafe: Pick<Trust, 'unsafeTrustedRootDer'> | undefined;
}

/**
 * @param expected which boot it has to be, where that is known
 * @throws QvError usage_invalid, attestation_*, evidence_*, host_unreachable
 */
export async function attestedSuccessor(args: Arguments, expected?: BootId): Promise<Successor> {
  const url = args.text('url');
  if (!URL.canParse(url)) throw new QvError('usage_invalid', { value: '--url is no URL' });
  const { warnings, unsafeTrustedRootDer } = await unsafeOptions(args);
  const unsafe = unsafeTrustedRootDer && { unsafeTrustedRootDer };
  const trust = { pcrSets: expectedSets(args), ...unsafe };
  const attested = await attest({ connection: hostConnection(url), trust, nowMs: Date.now, verifyEd25519 });
  if (expected !== undefined && attested.boot !== expected)
    throw new QvError('succession_mismatch', { path: 'successor', value: attested.boot });
  return { attested, warnings, unsafe };
}
