/** What the report says of the steps in which nothing was wrong. */
import type { BootRun } from './boot-run.ts';
import type { AuditInput } from './input.ts';
import type { StepName } from './report.ts';
import type { AuditExpectations } from './types.ts';

interface Counts {
  readonly listed: number;
  readonly leaves: number;
  readonly kinds: Readonly<Record<string, number>>;
  readonly wallets: number;
  readonly repeats: number;
}

/** Undefined where there was nothing to check. */
export function passedSteps(
  { listed, leaves, kinds, wallets, repeats }: Counts,
  runs: readonly BootRun[],
  expected: AuditExpectations,
  input: AuditInput,
): Readonly<Record<StepName, string | undefined>> {
  const of = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
  const some = (count: number, what: string): string | undefined => (count === 0 ? undefined : of(count, what));
  const kind = (name: string): number => kinds[name] ?? 0;
  const kept = runs.filter(({ seen }) => seen !== undefined).length;
  const followers = runs.filter(({ state }) => state.origin !== undefined).length;
  return {
    boots: of(listed, 'boot'),
    attestation: some(runs.length, 'attestation'),
    checkpoints: some(runs.length, 'checkpoint'),
    witnesses: expected.witnessThreshold === 0 ? undefined : `${expected.witnessThreshold} or more on each`,
    entries: `${leaves === 1 ? '1 leaf' : `${leaves} leaves`} read`,
    roots: some(runs.length, 'root'),
    history: some(input.since.length + kept, 'earlier state'),
    chain: some(followers, 'predecessor'),
    wallets: some(wallets, 'wallet'),
    policies: some(kind('signed') + kind('policy-enabled'), 'decision'),
    windows: some(kind('signed'), 'signature'),
    freezes: `${of(kind('frozen'), 'freeze')}, ${kind('resumed')} resumed`,
    repeats: some(repeats, 'repeat'),
    receipts: some(input.receipts.count, 'receipt'),
    chainSignatures: some(expected.onChain?.length ?? 0, 'signature'),
  };
}
