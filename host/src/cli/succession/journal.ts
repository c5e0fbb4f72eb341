/**
 * One operator's own record of the leases that he signed. Leases need M of N operators with 2M > N, so any two of them
 * share an operator: when no operator signs a wallet of one predecessor to two successors, no two exist. The enclave of
 * a successor cannot know what another one was given; this file is what keeps that rule.
 *
 * A successor that is terminated, too, signs nothing: what it was leased and never took may go to another one, on the
 * operator's word. That word stays: the boot that it names gets no lease any more.
 *
 * A line per lease, on the disk before the signature is made:
 *
 *   {"at": time, "lease": sha256 in hex, "predecessor", "successor", "wallets": […], "terminated": text,
 *    "terminatedSuccessors"?: [{"boot", "note"}, …]}
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

/** A successor of which the operator says that it is gone, too. */
export interface TerminatedSuccessor {
  readonly boot: string;
  /** How he knows. */
  readonly note: string;
}

interface Line {
  readonly predecessor: string;
  readonly successor: string;
  readonly wallets: readonly string[];
  /** Boots. */
  readonly gone: readonly string[];
}

const LINE_BYTES = 64 * 1024;

/**
 * Records leases that are about to be signed.
 * @throws QvError lease_conflict and nothing is recorded; journal_malformed, input_unreadable, output_unwritable
 */
export async function recordLeases(
  path: string,
  entries: readonly Entry[],
  gone: readonly TerminatedSuccessor[] = [],
): Promise<void> {
  await requireNoConflict(path, entries, gone);
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
        ...(gone.length > 0 && { terminatedSuccessors: gone }),
      });
    }
  } finally {
    file.close();
  }
  // Once more: another call that ran at the same time has its lines in there by now, or will find ours.
  await requireNoConflict(path, entries, gone);
}

/** @throws QvError lease_conflict, journal_malformed, input_unreadable */
export async function requireNoConflict(
  path: string,
  entries: readonly Pick<Entry, 'lease'>[],
  gone: readonly TerminatedSuccessor[] = [],
): Promise<void> {
  const terminated = new Set(gone.map(({ boot }) => boot));
  const leasedTo = existsSync(path) ? await readOthers(path, entries, terminated) : new Map<string, string>();
  for (const { lease } of entries)
    if (terminated.has(lease.successor))
      throw new QvError('lease_conflict', { path: 'successor', value: `${lease.successor} is terminated` });
  for (const [successor, wallet] of leasedTo)
    if (!terminated.has(successor)) throw new QvError('lease_conflict', { path: wallet, value: successor });
}

/** Other successors of the same wallets, with one of these each; adds those that the journal says are terminated. */
async function readOthers(
  path: string,
  entries: readonly Pick<Entry, 'lease'>[],
  terminated: Set<string>,
): Promise<ReadonlyMap<string, string>> {
  const leasedTo = new Map<string, string>();
  const wanted = new Map(
    entries.flatMap(({ lease }) => lease.wallets.map(({ wallet }) => [wallet as string, lease] as const)),
  );
  let number = 0;
  let read = 0;
  for await (const bytes of readLines(path, LINE_BYTES)) {
    number++;
    read += bytes.length;
    if (read > LIMITS.cliJournalBytes) throw new QvError('body_too_large', { path });
    const { predecessor, successor, wallets, gone } = parseLine(bytes, number);
    for (const boot of gone) terminated.add(boot);
    for (const wallet of wallets) {
      const lease = wanted.get(wallet);
      if (lease?.predecessor === predecessor && lease.successor !== successor && !leasedTo.has(successor))
        leasedTo.set(successor, wallet);
    }
  }
  return leasedTo;
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
    const gone = fields.optional('terminatedSuccessors') === undefined ? [] : readGone(fields);
    fields.end();
    return { predecessor, successor, wallets, gone };
  } catch (cause) {
    throw new QvError('journal_malformed', { path: `line ${number}` }, { cause });
  }
}

function readGone(fields: JsonFields): readonly string[] {
  return fields.list('terminatedSuccessors').map((value, index) => {
    const inner = new JsonFields(value, `terminatedSuccessors[${index}]`);
    const boot = inner.text('boot');
    inner.text('note');
    inner.end();
    return boot;
  });
}
