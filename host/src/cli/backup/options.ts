/** What `qv backup verify` and `qv restore` share: which backup, how it is judged, and how that is told. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { AuditExpectations } from '@quantumvault/shared/evidence/audit/types.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { failureJson, notVerified, stepLines } from '../checklist.ts';
import type { Arguments, OptionSpec } from '../command.ts';
import type { Style } from '../terminal.ts';
import {
  expectedSets,
  PCR_OPTIONS,
  UNSAFE_OPTIONS,
  unsafeOptions,
  WITNESS_OPTIONS,
  witnessOptions,
} from '../trust-options.ts';
import type { VerifiedBackup, VerifyRequest } from './verify.ts';

export const VERIFY_OPTIONS = {
  from: { value: '<folder>', help: 'the folder of backups', required: true },
  number: { value: '<n>', help: 'another one than the newest' },
  wallet: { value: '<address>', help: 'a wallet that has to be in it', multiple: true },
  ...PCR_OPTIONS,
  ...WITNESS_OPTIONS,
  ...UNSAFE_OPTIONS,
} as const satisfies Record<string, OptionSpec>;

export interface Asked {
  readonly request: Omit<VerifyRequest, 'scratch'>;
  readonly warnings: readonly string[];
}

/** @throws QvError usage_invalid, and what the options of trust throw */
export async function verifyOptions(args: Arguments): Promise<Asked> {
  const number = args.optional('number');
  if (number !== undefined && !/^[1-9]\d{0,14}$/.test(number))
    throw new QvError('usage_invalid', { value: '--number is the number of a backup' });
  const wallets: Address[] = args.list('wallet').map((text) => address(text, '--wallet'));
  const { warnings, ...audit } = await auditOptions(args);
  const request = {
    folder: args.text('from'),
    wallets,
    ...(number !== undefined && { number: Number(number) }),
    ...(audit.audit && { audit: audit.audit }),
  };
  return { request, warnings };
}

async function auditOptions(args: Arguments): Promise<{ audit?: AuditExpectations; warnings: readonly string[] }> {
  if (!args.flag('pcrs') && !args.flag('pcr0')) {
    const without = [...Object.keys(WITNESS_OPTIONS), ...Object.keys(UNSAFE_OPTIONS)].find((name) => args.flag(name));
    if (without !== undefined) throw new QvError('usage_invalid', { value: `--${without} needs --pcrs or --pcr0` });
    return { warnings: [] };
  }
  const { warnings, ...unsafe } = await unsafeOptions(args);
  return { audit: { pcrSets: expectedSets(args), ...unsafe, ...witnessOptions(args) }, warnings };
}

/** Keys and meanings are stable. */
export function verifiedJson({ steps, error, manifest }: VerifiedBackup): Readonly<Record<string, unknown>> {
  const failed = steps.find(({ status }) => status === 'fail')?.name ?? '';
  return {
    steps,
    ...(error && { error: failureJson({ code: error.code, facts: error }, failed) }),
    ...(manifest && {
      number: manifest.number,
      deployment: manifest.deployment,
      takenAt: formatTime(manifest.takenAt),
      wallets: manifest.wallets,
      leaves: manifest.leaves,
      logs: manifest.logs.map(({ boot, size }) => ({ boot, size: String(size) })),
    }),
  };
}

export function verifiedLines(
  { steps, error }: VerifiedBackup,
  warnings: readonly string[],
  style: Style,
): readonly string[] {
  return [
    ...warnings.map((warning) => style(['bold', 'red'], `! ${warning}`)),
    ...steps.flatMap((step) => stepLines(step, style)),
    ...(error === undefined ? [] : ['', ...notVerified(error.code, style)]),
  ];
}
