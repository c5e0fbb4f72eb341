/** The options that say which enclaves to believe, the same in every command that verifies. */
import { type PcrSet, pcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import { trustedRoot } from '@quantumvault/shared/attestation/root.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { checkDistinct, parseVerifierKey, type VerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import type { Arguments, OptionSpec } from './command.ts';
import { readPcrSets, readRoot } from './input.ts';

export const PCR_OPTIONS = {
  pcrs: { value: '<file>', help: 'measurements as nitro-cli prints them: one set or an array', multiple: true },
  pcr0: { value: '<hex>', help: 'the PCR0 of an image that is allowed, whatever its other PCRs', multiple: true },
} as const satisfies Record<string, OptionSpec>;

export const UNSAFE_OPTIONS = {
  'unsafe-trusted-root': { value: '<file>', help: 'UNSAFE: believe this root instead of AWS’s; for local stacks' },
  root: { value: '<file>', help: 'UNSAFE: another name of --unsafe-trusted-root' },
  'allow-debug': { help: 'UNSAFE: accept an enclave in debug mode, whose memory can be read' },
} as const satisfies Record<string, OptionSpec>;

export const WITNESS_OPTIONS = {
  witness: { value: '<vkey>', help: 'the verifier key of a witness: name+id+base64', multiple: true },
  'witness-threshold': { value: '<n>', help: 'so many of them have to have cosigned; all of them unless given' },
} as const satisfies Record<string, OptionSpec>;

const wrong = (value: string): QvError => new QvError('usage_invalid', { value });

/** @throws QvError usage_invalid when nothing is expected; what a malformed set or file throws */
export function expectedSets(args: Arguments): readonly PcrSet[] {
  const sets = [
    ...args.list('pcrs').flatMap(readPcrSets),
    ...args.list('pcr0').map((hex) => pcrSet('--pcr0', new Map([[0, fromHex(hex, '--pcr0')]]))),
  ];
  if (sets.length === 0) throw wrong('nothing to compare with: give --pcrs or --pcr0');
  return sets;
}

export interface Unsafe {
  readonly allowDebug: boolean;
  readonly unsafeTrustedRootDer?: Uint8Array;
  /** For people; empty when nothing unsafe was asked for. */
  readonly warnings: readonly string[];
}

/** @throws QvError usage_invalid when the root is there under both names; what an unreadable one throws */
export async function unsafeOptions(args: Arguments): Promise<Unsafe> {
  const [name, other] = (['unsafe-trusted-root', 'root'] as const).filter((spelled) => args.flag(spelled));
  if (other !== undefined) throw wrong('--root is --unsafe-trusted-root: give one of them');
  const unsafeTrustedRootDer = name === undefined ? undefined : readRoot(args.text(name));
  const { isAws } = await trustedRoot(unsafeTrustedRootDer);
  const allowDebug = args.flag('allow-debug');
  const warnings = [
    ...(isAws ? [] : [`UNSAFE: --${name} is not AWS’s root: whoever holds its key can attest anything.`]),
    ...(allowDebug ? ['UNSAFE: --allow-debug accepts enclaves whose memory can be read from outside.'] : []),
  ];
  return { allowDebug, ...(unsafeTrustedRootDer && { unsafeTrustedRootDer }), warnings };
}

export interface Witnesses {
  readonly witnesses: readonly VerifierKey[];
  readonly witnessThreshold: number;
}

/** @throws QvError usage_invalid, log_key_malformed, log_key_repeated */
export function witnessOptions(args: Arguments): Witnesses {
  const witnesses = args.list('witness').map(parseVerifierKey);
  if (witnesses.length > LIMITS.witnesses) throw wrong(`--witness: at most ${LIMITS.witnesses}`);
  const other = witnesses.find(({ type }) => type !== 'cosignature');
  if (other !== undefined) throw wrong(`--witness: ${other.name} is a key for notes, not for cosignatures`);
  checkDistinct(witnesses);
  const text = args.optional('witness-threshold');
  if (text === undefined) return { witnesses, witnessThreshold: witnesses.length };
  const witnessThreshold = /^\d{1,3}$/.test(text) ? Number(text) : Number.NaN;
  if (!(witnessThreshold <= witnesses.length))
    throw wrong(`--witness-threshold is a number up to that of --witness, ${witnesses.length}`);
  return { witnesses, witnessThreshold };
}
