/** Which request is legal in which phase. A request that is not listed is refused before its body is read. */
import type { MessageName, Phase } from '@quantumvault/shared/protocol/messages.ts';

/** Evidence, what is left to spend, and the stop button: they need an attested boot and nothing else. */
const ALWAYS = [
  'status',
  'attest',
  'bootRecord',
  'leavesGet',
  'checkpoint',
  'cosign',
  'follow',
  'freeze',
  'freezesGet',
  'resume',
  'leaseShow',
  'budgets',
  'migrationEnd',
] as const satisfies readonly MessageName[];

/** Whatever unwraps keys or changes what is held, but signs nothing. */
const WITH_KMS = [
  'rowKeyUnwrap',
  'walletCreate',
  'walletImport',
  'policyEnable',
  'walletRewrap',
  'walletRetire',
  'successorName',
  'takeoverClaim',
  'takeoverCancel',
  'takeoverComplete',
  'stateGet',
  'release',
  'take',
] as const satisfies readonly MessageName[];

/** While nothing is frozen: a migration that an operator stops is one that somebody wants stopped. */
const MIGRATION = ['migrationBegin', 'walletMigrate'] as const satisfies readonly MessageName[];

/**
 * booting -> ready (attested) -> serving (has credentials); either of the last two -> frozen. A boot that fails ends the
 * process; while it lasts even a freeze has to wait, because leaf 0 is the attestation. A freeze stops signing and nothing else: owners may tighten a policy while it holds.
 */
export const LEGAL: Readonly<Record<Phase, readonly MessageName[]>> = {
  booting: ['status'],
  ready: [...ALWAYS, 'credentials'],
  serving: [...ALWAYS, 'credentials', ...WITH_KMS, 'rowKeyCreate', 'sign', 'signBatch', ...MIGRATION],
  frozen: [...ALWAYS, 'credentials', ...WITH_KMS],
};

/** What the control connection serves: the stop button and nothing that could queue before it (design 9). */
export const CONTROL: readonly MessageName[] = ['status', 'freeze'];
