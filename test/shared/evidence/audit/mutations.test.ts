/** Any one change of what an honest host serves is found. */
import { encodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Deployment, type Served, type ServedLog } from '../../../support/log-builder.ts';
import { auditOf } from './audits.ts';

const numRuns = Number(process.env['PROPERTY_RUNS'] ?? 12);

const deployment = new Deployment({ witnesses: 1 });
const first = await deployment.start();
const wallet = first.wallet();
const leaf = wallet.sign();
wallet.repeat(leaf);
first.resume(first.freeze());
const second = await deployment.start({ follows: first.predecessor() });
wallet.moveTo(second);
wallet.sign();
wallet.deny();
const other = second.wallet();
for (let index = 0; index < 5; index++) other.sign();
const since = [first.checkpoint(), second.checkpoint()];

type Mutation = (served: Served, log: ServedLog, a: number, b: number) => void;

const changedByte = (bytes: Uint8Array, at: number, by: number): Uint8Array => {
  const changed = Uint8Array.from(bytes);
  const index = at % changed.length;
  changed[index] = (changed[index] ?? 0) ^ (1 + (by % 255));
  return changed;
};

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'a byte of an entry': ({ logs: _ }, log, a, b) => {
    const at = b % log.entries.length;
    log.entries[at] = changedByte(log.entries[at] as Uint8Array, a, b);
  },
  'a byte of the note': (_, log, a, b) => {
    log.note = changedByte(log.note, a, b);
  },
  'an entry cut': (_, log, a, b) => {
    const at = b % log.entries.length;
    const entry = log.entries[at] as Uint8Array;
    log.entries[at] = entry.subarray(0, a % entry.length);
  },
  'an entry dropped': (_, log, a) => void log.entries.splice(a % log.entries.length, 1),
  'an entry twice': (_, log, a, b) => {
    log.entries.splice(b % log.entries.length, 0, log.entries[a % log.entries.length] as Uint8Array);
  },
  'an entry moved': (_, log, a, b) => {
    const from = a % log.entries.length;
    const [moved] = log.entries.splice(from, 1) as [Uint8Array];
    const to = b % log.entries.length;
    log.entries.splice(to === from ? (to + 1) % (log.entries.length + 1) : to, 0, moved);
  },
  'entries of the other log': ({ logs }, log, a) => {
    const [one, two] = [...logs.values()] as [ServedLog, ServedLog];
    const stranger = log === one ? two : one;
    const at = a % Math.min(one.entries.length, two.entries.length);
    log.entries[at] = stranger.entries[at] as Uint8Array;
  },
  'the other log’s note': ({ logs }, log) => {
    const [one, two] = [...logs.values()] as [ServedLog, ServedLog];
    log.note = log === one ? two.note : one.note;
  },
  'an older note': ({ logs }, log, a) => {
    const built = log === [...logs.values()][0] ? first : second;
    log.note = built.checkpoint({ size: a % built.size });
  },
  'a log': ({ logs }, log) => {
    for (const [boot, found] of logs) if (found === log) logs.delete(boot);
  },
  'a policy': ({ policies }, _, a, b) => {
    const key = [...policies.keys()][a % policies.size] as string;
    const bytes = policies.get(key) as Uint8Array;
    if (b % 2 === 0) policies.delete(key);
    else policies.set(key, changedByte(bytes, a, b));
  },
  'a leaf written anew': (_, log, a) => {
    const built = log.entries.length === first.size ? first : second;
    const at = a % built.size;
    const was = built.leaves[at] as (typeof built.leaves)[0];
    log.entries[at] = encodeLeaf({ ...was, time: (was.time + 1) as typeof was.time });
  },
};

test('the log that is changed below is honest', async () => {
  expect((await auditOf(deployment, { since })).findings).toEqual([]);
});

test.each(Object.keys(MUTATIONS))('changed: %s', async (name) => {
  const mutate = MUTATIONS[name] as Mutation;
  await fc.assert(
    fc.asyncProperty(fc.nat(1), fc.nat(100_000), fc.nat(100_000), async (which, a, b) => {
      const served = deployment.serve();
      const log = [...served.logs.values()][which] as ServedLog;
      const { length } = log.entries;
      // What stands behind the checkpoint's size nobody asks for.
      const shown = (): string => JSON.stringify([log.entries.slice(0, length).map(String), String(log.note)]);
      const before = shown();
      mutate(served, log, a, b);
      fc.pre(shown() !== before || served.logs.size < 2 || name === 'a policy');
      const report = await auditOf(deployment, { since }, served);
      expect(report.ok).toBe(false);
      expect(report.findingCount).toBeGreaterThan(0);
    }),
    { numRuns },
  );
});
