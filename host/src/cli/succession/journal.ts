/**
 * One operator's own record of the leases that he signed. Leases need M of N operators with 2M > N, so any two of them
 * share an operator: when no operator signs a wallet of one predecessor to two successors, no two exist. The enclave of
 * a successor cannot know what another one was given; this file is what keeps that rule.
 *
 * A line per lease, on the disk before the signature is made:
 *
 *   {"at": time, "lease": sha256 in hex, "predecessor", "successor", "wallets": […], "terminated": text}
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Lease } from '@quantumvault/shared/evidence/succession.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { OptionSpec } from '../command.ts';
import { LineFile, readLines } from './line-file.ts';

export const JOURNAL: OptionSpec = {
  value: '<file>',
  help: 'this operator’s own journal of leases, made if absent; keep it with the key, and only one',
};

export interface Entry {
  readonly lease: Lease;
  readonly bytes: Uint8Array;
  /** What the operator says of the predecessor's instance. */
  readonly terminated: string;
}

interface Line {
  readonly predecessor: string;
  readonly successor: string;
  readonly wallets: readonly string[];
}

const LINE_BYTES = 64 * 1024;

/**
 * Records leases that are about to be signed.
 * @throws QvError lease_conflict and nothing is recorded; journal_malformed, input_unreadable, output_unwritable
 */
export async function recordLeases(path: string, entries: readonly Entry[]): Promise<void> {
  await requireNoConflict(path, entries);
  const file = await LineFile.open(path);
  try {
    for (const { lease, bytes, terminated } of entries) {
      const { predecessor, successor } = lease;
      file.append({
        at: new Date().toISOString(),
        lease: createHash('sha256').update(bytes).digest('hex'),
        predecessor,
        successor,
        wallets: lease.wallets.map(({ wallet }) => wallet),
        terminated,
      });
    }
  } finally {
    file.close();
  }
  // Once more: another call that ran at the same time has its lines in there by now, or will find ours.
  await requireNoConflict(path, entries);
}

/** @throws QvError lease_conflict, journal_malformed, input_unreadable */
export async function requireNoConflict(path: string, entries: readonly Pick<Entry, 'lease'>[]): Promise<void> {
  if (!existsSync(path)) return;
  const wanted = new Map(
    entries.flatMap(({ lease }) => lease.wallets.map(({ wallet }) => [wallet as string, lease] as const)),
  );
  let number = 0;
  let read = 0;
  for await (const bytes of readLines(path, LINE_BYTES)) {
    number++;
    read += bytes.length;
    if (read > LIMITS.cliJournalBytes) throw new QvError('body_too_large', { path });
    const { predecessor, successor, wallets } = parseLine(bytes, number);
    for (const wallet of wallets) {
      const lease = wanted.get(wallet);
      if (lease?.predecessor === predecessor && lease.successor !== successor)
        throw new QvError('lease_conflict', { path: wallet, value: successor });
    }
  }
}

function parseLine(bytes: Uint8Array, number: number): Line {
  try {
    const fields = new JsonFields(parseStrictJson(bytes));
    const [predecessor = '', successor = ''] = ['predecessor', 'successor'].map((key) => fields.text(key));
    for (const key of ['at', 'lease', 'terminated']) fields.text(key);
    const wallets = fields.list('wallets').map((wallet) => {
      if (typeof wallet !== 'string') throw fields.fault('wallets', 'not a list of strings');
      return wallet;
    });
    fields.end();
    return { predecessor, successor, wallets };
  } catch (cause) {
    throw new QvError('journal_malformed', { path: `line ${number}` }, { cause });
  }
}
