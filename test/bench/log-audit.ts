/**
 * One step of the audit's benchmark: `node log-audit.ts <folder> write|hash|full|incremental <leaves>`. The log lies in
 * files, as a mirror would hold it, so that what a step needs of memory is its own.
 */
import { hash as digest } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { hash, timeMs } from '@quantumvault/shared/brands.ts';
import { fromHex, toHex } from '@quantumvault/shared/bytes.ts';
import { auditLog } from '@quantumvault/shared/evidence/audit/audit.ts';
import { LeafReader } from '@quantumvault/shared/evidence/audit/decode.ts';
import { LogTree } from '@quantumvault/shared/evidence/audit/tree.ts';
import type { AuditExpectations, LogSource } from '@quantumvault/shared/evidence/audit/types.ts';
import { encodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { encodeEntries } from '@quantumvault/shared/tlog/tile-data.ts';
import { testPcr } from '../stack/support.ts';
import { Deployment, LOG_ORIGIN, verifyEd25519 } from '../support/log-builder.ts';
import type { AuditRun } from './log.ts';

const [folder = '', what = '', leavesText = ''] = process.argv.slice(2);
const LEAVES = Number(leavesText);
const MORE = 1_000;
const WALLETS = 100;
/** A million of them in 23 days: within the windows' 31 days, so that every spend has to be kept. */
const LEAF_MS = 2_000;

const sha256 = (bytes: Uint8Array) => hash(digest('sha256', bytes, 'buffer'));
const file = (name: string): string => join(folder, name);

interface Facts {
  readonly boot: string;
  readonly root: string;
  readonly policies: readonly (readonly [string, string])[];
}

async function write(): Promise<void> {
  const deployment = new Deployment();
  const log = await deployment.start();
  const window = (max: string) => ({ seconds: 86_400, max });
  const wallets = Array.from({ length: WALLETS }, () =>
    log.wallet({
      fees: { maxLamports: '100000', window: window('100000000000') },
      sol: { maxPerTransaction: '1000000', window: window('100000000000'), destinations: [] },
      rate: { perMinute: 60, perDay: 50_000 },
    }),
  );
  const reader = new LeafReader(sha256);
  const tree = new LogTree(sha256);
  const entries = openSync(file('entries'), 'w');
  const offsets = new BigUint64Array(LEAVES + MORE + 1);
  let previous = hash(new Uint8Array(32));
  let batch: Uint8Array[] = [];
  let end = 0n;
  for (let sequence = 0; sequence < LEAVES + MORE; sequence++) {
    const wallet = wallets[sequence % WALLETS] as (typeof wallets)[0];
    let entry = log.entries[sequence];
    if (entry === undefined) {
      wallet.version++;
      const about = new Uint8Array(8);
      new DataView(about.buffer).setUint32(0, sequence);
      entry = encodeLeaf({
        boot: log.boot,
        sequence: BigInt(sequence),
        previous,
        time: timeMs(deployment.now + sequence * LEAF_MS),
        kind: 'signed',
        wallet: wallet.address,
        actor: wallet.requester,
        requestId: `request-${sequence}`,
        messageHash: sha256(about),
        signatureHash: sha256(about.subarray(0, 4)),
        amounts: { lamportsOut: 1_000n, feeLamports: 5_000n },
        stateVersion: wallet.version,
        ...(wallet.policyHash && { policyHash: wallet.policyHash }),
      });
    }
    previous = reader.hash(entry);
    tree.append(previous);
    end += 2n + BigInt(entry.length);
    offsets[sequence + 1] = end;
    batch.push(entry);
    if (batch.length === 4096 || sequence + 1 === LEAVES + MORE) {
      writeSync(entries, encodeEntries(batch));
      batch = [];
    }
    const size = sequence + 1;
    if (size === LEAVES || size === LEAVES + MORE)
      writeFileSync(
        file(`note-${size}`),
        log.checkpoint({ entries: [], root: tree.root(), claimedSize: BigInt(size) }),
      );
  }
  closeSync(entries);
  writeFileSync(file('offsets'), new Uint8Array(offsets.buffer));
  const policies = [...deployment.policies].map(([key, bytes]) => [key, toHex(bytes)] as const);
  const facts: Facts = { boot: log.boot, root: toHex(deployment.root.certificateDer), policies };
  writeFileSync(file('facts'), JSON.stringify(facts));
}

function reading(size: number): { source: LogSource; expected: AuditExpectations } {
  const facts = JSON.parse(readFileSync(file('facts'), 'utf8')) as Facts;
  const offsets = new BigUint64Array(Uint8Array.from(readFileSync(file('offsets'))).buffer);
  const entries = openSync(file('entries'), 'r');
  const policies = new Map(facts.policies);
  const source: LogSource = {
    boots: async () => [facts.boot as never],
    checkpoint: async () => readFileSync(file(`note-${size}`)),
    async entries(_, index, width) {
      const start = Number(index) * 256;
      const [from, to] = [offsets[start] ?? 0n, offsets[start + width] ?? 0n];
      const bytes = new Uint8Array(Number(to - from));
      readSync(entries, bytes, 0, bytes.length, Number(from));
      return bytes;
    },
    async policy(found) {
      const hex = policies.get(toHex(found));
      return hex === undefined ? undefined : fromHex(hex);
    },
  };
  const expected: AuditExpectations = {
    pcrSets: [{ name: 'image', pcrs: new Map([[0, testPcr(0xa0)]]) }],
    logOrigin: LOG_ORIGIN,
    unsafeTrustedRootDer: fromHex(facts.root),
    witnesses: [],
    witnessThreshold: 0,
  };
  return { source, expected };
}

/** The floor: the same bytes read and hashed as leaves, and nothing else. */
async function hashAll(): Promise<void> {
  const { source } = reading(LEAVES);
  const reader = new LeafReader(sha256);
  const [boot] = await source.boots();
  for (let start = 0; start < LEAVES; start += 256) {
    const bundle = await source.entries(boot as never, BigInt(start / 256), Math.min(256, LEAVES - start));
    for (let at = 0; at < bundle.length; ) {
      const next = at + 2 + (bundle[at] ?? 0) * 256 + (bundle[at + 1] ?? 0);
      reader.hash(bundle.subarray(at + 2, next));
      at = next;
    }
  }
}

async function audit(size: number, seen?: Uint8Array): Promise<void> {
  const { source, expected } = reading(size);
  const report = await auditLog(source, { ...expected, ...(seen && { seen }) }, { verifyEd25519, sha256 });
  if (!report.ok || report.seen === undefined) throw new Error(JSON.stringify(report.findings.slice(0, 3), String));
  if (seen === undefined) writeFileSync(file('seen'), report.seen);
}

async function measured(name: string, leaves: number, work: () => Promise<void>): Promise<void> {
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1000;
  const megabytes = (bytes: number): number => Math.round(bytes / 2 ** 20);
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  const result: AuditRun = {
    what: name,
    leaves,
    seconds,
    leavesPerSecond: leaves / seconds,
    peakMegabytes: megabytes(process.resourceUsage().maxRSS * 1024),
    heapMegabytes: megabytes(heapUsed),
    bufferMegabytes: megabytes(arrayBuffers),
  };
  console.log(JSON.stringify(result));
}

if (what === 'write') await write();
else if (what === 'hash') await measured('plain hashing', LEAVES, hashAll);
else if (what === 'full') await measured('full audit', LEAVES, () => audit(LEAVES));
else await measured('incremental audit', MORE, () => audit(LEAVES + MORE, Uint8Array.from(readFileSync(file('seen')))));
