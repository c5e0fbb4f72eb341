/** Which request is legal in which phase. A request that is not listed is refused before its body is read. */
import type { MessageName, Phase } from '@quantumvault/shared/protocol/messages.ts';

/**
 * booting -> ready (attested) -> serving (has credentials); either of the last two -> frozen. A boot that fails ends the
 * process; while it lasts even a freeze has to wait, because leaf 0 is the attestation. A freeze stops signing and nothing else: owners may tighten a policy while it holds.
 */
export const LEGAL: Readonly<Record<Phase, readonly MessageName[]>> = {
  booting: ['status'],
  ready: ['status', 'attest', 'bootRecord', 'leavesGet', 'checkpoint', 'cosign', 'follow', 'credentials', 'freeze'],
  serving: [
    'status',
    'attest',
    'bootRecord',
    'leavesGet',
    'checkpoint',
    'cosign',
    'follow',
    'credentials',
    'freeze',
    'rowKeyCreate',
    'rowKeyUnwrap',
    'walletCreate',
    'policyEnable',
    'sign',
    'stateGet',
  ],
  frozen: [
    'status',
    'attest',
    'bootRecord',
    'leavesGet',
    'checkpoint',
    'cosign',
    'follow',
    'credentials',
    'freeze',
    'rowKeyUnwrap',
    'walletCreate',
    'policyEnable',
    'stateGet',
  ],
};

/** What the control connection serves: the stop button and nothing that could queue before it (design 9). */
export const CONTROL: readonly MessageName[] = ['status', 'freeze'];
