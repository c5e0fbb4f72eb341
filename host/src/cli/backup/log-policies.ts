/** Policies out of a copy of the log, for a database that is older: leaves name them, and auditors judge by them. */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { policyFromBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { silentLog } from '../../log.ts';
import { openSqliteStore } from '../../store/sqlite-store.ts';
import { logFiles } from '../log-files.ts';

const NAME = /^[0-9a-f]{64}$/;

/**
 * All of the copy, by their hashes; none of them is enabled by that.
 * @param folder as `qv log fetch` made it
 * @throws QvError input_unreadable, log_policy_mismatch of what is no policy of its name
 */
export async function readLogPolicies(folder: string): Promise<readonly Uint8Array[]> {
  const files = await logFiles(folder);
  const policies: Uint8Array[] = [];
  for (const name of (await files.list('policies')) ?? []) {
    if (!NAME.test(name)) continue;
    const path = `policies/${name}`;
    const bytes = await files.read(path, LIMITS.policyBytes);
    if (bytes === undefined || !isPolicy(bytes) || toHex(policyHash(bytes)) !== name)
      throw new QvError('log_policy_mismatch', { path });
    policies.push(bytes);
  }
  return policies;
}

/** How many were not there. The database is one that nobody else has open. @throws QvError store_unavailable */
export async function addPolicies(database: string, policies: readonly Uint8Array[]): Promise<number> {
  if (policies.length === 0) return 0;
  const store = await openSqliteStore({ path: database, log: silentLog });
  let added = 0;
  try {
    for (const policy of policies) {
      if ((await store.getPolicy(policyHash(policy))) !== undefined) continue;
      await store.putPolicy(policy);
      added++;
    }
  } finally {
    await store.close();
  }
  return added;
}

function isPolicy(bytes: Uint8Array): boolean {
  try {
    policyFromBytes(bytes);
    return true;
  } catch {
    return false;
  }
}
