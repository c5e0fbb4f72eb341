/** What the tests of hand-overs between enclaves share. */
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import type { BootId } from '@quantumvault/shared/brands.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { type HeldFreeze, renderResumeStatement } from '@quantumvault/shared/evidence/succession.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { expect } from 'vitest';
import type { Stack } from '../stack/stack.ts';
import type { HttpWallet } from '../support/http-kit.ts';
import type { operatorsOf } from '../support/operators.ts';
import { until } from '../support/temporary.ts';

export type Operators = ReturnType<typeof operatorsOf>;

export const solWindow = (max: string) => (document: Record<string, unknown>) => ({
  ...document,
  sol: { ...(document['sol'] as object), window: { seconds: 3600, max } },
});

/** After a take-over requests have to be younger than all that the predecessor may have seen. */
export const later = (seconds = 3) => ({ timestamp: Math.floor(Date.now() / 1000) + seconds });

export async function newBoot(stack: Stack, operators: Operators, before: string): Promise<string> {
  await until('the next boot', async () => (await operators.bootOf(stack).catch(() => before)) !== before, 15_000);
  // Only with credentials it takes wallets over.
  const phase = async () => (await adminCall(stack.adminSocket, 'status', {})).enclave?.phase;
  await until('it has its credentials', async () => ['serving', 'frozen'].includes((await phase()) ?? ''), 15_000);
  return operators.bootOf(stack);
}

export const versionOf = (stack: Stack, wallet: HttpWallet): number => {
  const database = new DatabaseSync(stack.databaseFile, { timeout: 2_000 });
  try {
    return Number(
      database.prepare('SELECT state_version FROM wallets WHERE wallet = ?').get(wallet.address)?.['state_version'],
    );
  } finally {
    database.close();
  }
};

export async function expectAudited(operators: Operators): Promise<void> {
  expect(await operators.audit()).toMatchObject({ ok: true, findings: [] });
}

/** Connections to enclaves, closed together. */
export class EnclaveClients {
  readonly #open: EnclaveClient[] = [];

  to(address: string): EnclaveClient {
    const made = new EnclaveClient({
      address: parseTransportAddress(address),
      transport: unixTransport,
      log: silentLog,
    });
    made.connect();
    this.#open.push(made);
    return made;
  }

  close(): void {
    for (const made of this.#open.splice(0)) made.close();
  }
}

export const idOf = ({ scope, freezeId }: HeldFreeze): string => `${scope} ${toHex(freezeId)}`;

/** What has to be signed to end it. */
export function resumeStatement({ deployment }: Stack, boot: string, { scope, freezeId }: HeldFreeze): Uint8Array {
  return utf8(renderResumeStatement({ deployment, boot: boot as BootId, scope, freezeId: toHex(freezeId) }));
}
