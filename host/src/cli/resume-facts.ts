/** What a resume is about, from the running host's status: which freeze, of which boot and deployment. */
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { renderResumeStatement } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { AdminStatus } from '../admin-protocol.ts';
import { adminCall } from './admin-client.ts';

export interface ResumeFacts {
  readonly deployment: string;
  readonly boot: string;
  readonly scope: string;
  /** 32 lower-case hex digits. */
  readonly freezeId: string;
  /** Other ids under which the enclave holds the same scope: each has to be resumed by itself. */
  readonly others: readonly string[];
}

/** @throws QvError hex_malformed, usage_invalid */
export function requireFreezeId(text: string): string {
  if (fromHex(text, '--freeze').length !== 16)
    throw new QvError('usage_invalid', { value: '--freeze has not 32 digits' });
  return text;
}

/**
 * @param freezeId which of several; the enclave's last one unless given
 * @throws QvError host_unavailable, enclave_unavailable, freeze_unknown, response_malformed
 */
export async function resumeFacts(socket: string, scope: string, freezeId: string | undefined): Promise<ResumeFacts> {
  const { deployment, enclave, freezes } = await adminCall(socket, 'status', { scope });
  if (enclave === null || enclave.boot === null) throw new QvError('enclave_unavailable');
  const { boot } = enclave;
  const ids = idsOf(enclave, freezes);
  const chosen = freezeId ?? ids[0];
  if (chosen === undefined || !ids.includes(chosen)) throw new QvError('freeze_unknown', { path: scope });
  return { deployment, boot, scope, freezeId: chosen, others: ids.filter((id) => id !== chosen) };
}

/** The enclave's word; where it gave none, or its list is cut off, also what it acknowledged to the host. */
function idsOf(enclave: NonNullable<AdminStatus['enclave']>, freezes: AdminStatus['freezes']): readonly string[] {
  const said = enclave.freezes?.held.map(({ freezeId }) => freezeId) ?? [];
  if (enclave.freezes !== null && enclave.freezes.count <= LIMITS.carriedFreezes) return said;
  const acknowledged = freezes.flatMap(({ boot, freezeId }) =>
    freezeId !== null && boot === enclave.boot ? [freezeId] : [],
  );
  return [...new Set([...said, ...acknowledged])];
}

/** The exact text: the host names the boot, and a signature over another one ends nothing. */
export function statementOf({ deployment, boot, scope, freezeId }: ResumeFacts): string {
  return renderResumeStatement({
    deployment,
    boot: boot as Parameters<typeof renderResumeStatement>[0]['boot'],
    scope,
    freezeId,
  });
}
