/** The log over HTTP: what the enclave signs as its tree is what the host serves, in C2SP tlog-tiles. */

import { createHash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { verifyEd25519 } from '@quantumvault/host/client/keys.ts';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { addressBytes, type BootId, type Hash } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { bootLogOrigin, decodeLeaf, type Leaf, leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { parseReceiptFile } from '@quantumvault/shared/evidence/receipt-file.ts';
import { policyFromBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { type Checkpoint, openCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { proveConsistency, verifyConsistency, verifyInclusion } from '@quantumvault/shared/tlog/proof.ts';
import { decodeEntries, decodeTile, tileHashReader } from '@quantumvault/shared/tlog/tile-data.ts';
import { type Tile, tilePath, tileWidth } from '@quantumvault/shared/tlog/tiles.ts';
import { append, EMPTY_FRONTIER, frontierRoot } from '@quantumvault/shared/tlog/tree.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { party } from '../support/wallet-kit.ts';

let stack: Stack;
let kit: HttpKit;
let database: DatabaseSync;
let wallet: HttpWallet;

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none' });
  kit = httpKit(stack);
  database = new DatabaseSync(stack.databaseFile, { timeout: 2_000 });
  wallet = await kit.openWallet();
});
afterAll(async () => {
  database?.close();
  await stack?.stop();
});

interface Served {
  readonly boot: BootId;
  readonly checkpoint: Checkpoint;
  readonly leaves: readonly Uint8Array[];
}

const get = (path: string): Promise<Response> => fetch(`${stack.url}/v1/log/${path}`);
const bytesOf = async (response: Response): Promise<Uint8Array> => {
  expect(response.status).toBe(200);
  return new Uint8Array(await response.arrayBuffer());
};

async function boots(): Promise<readonly { boot: BootId; size: string }[]> {
  return ((await (await get('boots')).json()) as { boots: { boot: BootId; size: string }[] }).boots;
}

function opened(note: Uint8Array, boot: BootId): Checkpoint {
  const origin = bootLogOrigin('local-stack.example/qv', boot);
  const known = { origin, key: verifierKey(origin, 'ed25519', addressBytes(boot)), witnesses: [] };
  return openCheckpoint(note, known, verifyEd25519).checkpoint;
}

/** The published log of a boot, with its root recomputed from the entries. */
async function served(boot: BootId): Promise<Served> {
  const checkpoint = opened(await bytesOf(await get(`${boot}/checkpoint`)), boot);
  const leaves: Uint8Array[] = [];
  for (let index = 0n; index * 256n < checkpoint.size; index++) {
    const width = tileWidth('entries', index, checkpoint.size);
    const path = tilePath({ level: 'entries', index, width });
    leaves.push(...decodeEntries(await bytesOf(await get(`${boot}/${path}`)), width));
  }
  const tree = leaves.reduce((frontier, leaf) => append(frontier, leafHash(leaf)), EMPTY_FRONTIER);
  expect(frontierRoot(tree)).toEqual(checkpoint.root);
  return { boot, checkpoint, leaves };
}

const newest = async (): Promise<Served> => served((await boots()).at(-1)?.boot as BootId);
const kinds = ({ leaves }: Served): readonly string[] => leaves.map((leaf) => decodeLeaf(leaf).kind);

describe('the published log', () => {
  it('holds every decision, under a checkpoint of the boot key', async () => {
    for (let index = 0; index < 7; index++) expect((await kit.sign(wallet)).status).toBe(200);
    expect((await kit.sign(wallet, { lamports: 1_000_001n })).status).toBe(403);
    const log = await newest();
    expect(kinds(log)).toEqual(['boot', 'wallet-created', 'policy-enabled', ...Array(7).fill('signed'), 'denied']);
    const response = await get('checkpoint');
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(opened(await bytesOf(response), log.boot)).toEqual(log.checkpoint);
  });

  it('is served in tiles that may be kept for ever, and only as far as it is published', async () => {
    const { boot, checkpoint } = await newest();
    const width = Number(checkpoint.size);
    const tile: Tile = { level: 0, index: 0n, width };
    const response = await get(`${boot}/${tilePath(tile)}`);
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    const hashes = decodeTile(await bytesOf(response), width);
    expect(decodeTile(await bytesOf(await get(`${boot}/tile/0/000.p/3`)), 3)).toEqual(hashes.slice(0, 3));
    // Without the boot's name it is the newest boot's, and that changes.
    const unnamed = await get(tilePath(tile));
    expect(unnamed.headers.get('cache-control')).toBe('no-store');
    expect(decodeTile(await bytesOf(unnamed), width)).toEqual(hashes);
    for (const path of [
      `tile/0/000`,
      `tile/0/000.p/${width + 1}`,
      `tile/0/001`,
      `tile/1/000.p/1`,
      `tile/entries/000.p/${width + 1}`,
      `tile/63/000`,
    ]) {
      await expectProblem(await get(`${boot}/${path}`), 'log_unknown');
    }
    for (const path of ['tile/0/0', 'tile/0/000.p/256', 'tile/64/000', 'tile/x/000', 'tile/0/']) {
      const problem = (await (await get(`${boot}/${path}`)).json()) as { code: string };
      expect(problem.code).toMatch(/^(?:log_tile_path_malformed|route_unknown)$/);
    }
    await expectProblem(await get(`${party().address}/checkpoint`), 'log_unknown');
    await expectProblem(await get('nobody/checkpoint'), 'base58_malformed');
  });

  it('grows consistently', async () => {
    const before = await newest();
    for (let index = 0; index < 5; index++) await kit.sign(wallet);
    await expect.poll(async () => (await newest()).checkpoint.size).toBe(before.checkpoint.size + 5n);
    const after = await newest();
    const reader = tileHashReader(after.checkpoint.size, async (tile) =>
      bytesOf(await get(`${after.boot}/${tilePath(tile)}`)),
    );
    verifyConsistency({
      oldSize: before.checkpoint.size,
      newSize: after.checkpoint.size,
      oldRoot: before.checkpoint.root,
      newRoot: after.checkpoint.root,
      proof: await proveConsistency(before.checkpoint.size, after.checkpoint.size, reader),
    });
  });

  it('says which policies counted, to those who know their hash', async () => {
    const log = await newest();
    const enabled = log.leaves.map(decodeLeaf).find(({ kind }) => kind === 'policy-enabled');
    const hash = enabled?.policyHash as Hash;
    const policy = await bytesOf(await get(`policies/${toHex(hash)}`));
    expect(policyHash(policy)).toEqual(hash);
    expect(policyFromBytes(policy).wallet).toBe(wallet.address);
    await expectProblem(await get(`policies/${'0'.repeat(64)}`), 'log_unknown');
    await expectProblem(await get('policies/xyz'), 'hex_malformed');
  });

  it('names a signature by its hash alone', async () => {
    const first = await kit.sign(wallet, { id: 'again', lamports: 10n });
    const body = (await first.json()) as { signature: string; receipt: { leaf: string } };
    const leaf = decodeLeaf(Buffer.from(body.receipt.leaf, 'base64'));
    const raw = fromBase58(body.signature, 64);
    expect(toHex(leaf.signatureHash as Hash)).toBe(createHash('sha256').update(raw).digest('hex'));
    expect(leaf.repeats).toBeUndefined();
  });
});

describe('a receipt', () => {
  const receipt = (path: string): Promise<Response> => fetch(`${stack.url}/v1/receipts/${path}`);

  it('proves a signature, and a denial, from leaf to checkpoint', async () => {
    await kit.sign(wallet, { id: 'receipt-1' });
    await kit.sign(wallet, { id: 'receipt-2', lamports: 1_000_001n });
    for (const [id, kind] of [
      ['receipt-1', 'signed'],
      ['receipt-2', 'denied'],
    ] as const) {
      const response = await receipt(id);
      expect(response.headers.get('cache-control')).toBe('no-store');
      const file = parseReceiptFile(await bytesOf(response));
      const leaf: Leaf = decodeLeaf(file.receipt.leaf);
      expect([leaf.kind, leaf.requestId, leaf.sequence]).toEqual([kind, id, file.index]);
      const { size, root } = opened(file.checkpoint, leaf.boot);
      const proven = { size, root };
      verifyInclusion({ ...proven, index: file.index, leafHash: leafHash(file.receipt.leaf), proof: file.proof });
      const record = file.bootRecord;
      expect(decodeLeaf(record.receipt.leaf)).toMatchObject({ kind: 'boot', boot: leaf.boot });
      verifyInclusion({ ...proven, index: 0n, leafHash: leafHash(record.receipt.leaf), proof: record.proof });
      for (const { leaf: bytes, signature } of [file.receipt, record.receipt])
        expect(verifyEd25519(signature, bytes, addressBytes(leaf.boot))).toBe(true);
    }
  });

  it('is of the one signature, whatever else was asked under its id', async () => {
    // Denied first: the id is free again, and signs.
    await kit.sign(wallet, { id: 'receipt-3', lamports: 1_000_001n });
    const stored = await receipt('receipt-3');
    expect(decodeLeaf(parseReceiptFile(await bytesOf(stored)).receipt.leaf).kind).toBe('denied');
    const other = await kit.openWallet();
    expect((await kit.sign(other, { id: 'receipt-3' })).status).toBe(200);
    await expectProblem(await receipt('receipt-3'), 'receipt_ambiguous');
    const named = await receipt(`receipt-3?wallet=${other.address}&requester=${other.requester.address}`);
    expect(decodeLeaf(parseReceiptFile(await bytesOf(named)).receipt.leaf)).toMatchObject({
      kind: 'signed',
      wallet: other.address,
    });
    await expectProblem(await receipt(`receipt-3?wallet=${party().address}`), 'receipt_unknown');
    await expectProblem(await receipt('receipt-3?walet=1'), 'field_malformed');
  });

  it('of nothing is none', async () => {
    await expectProblem(await receipt('never-asked'), 'receipt_unknown');
    await expectProblem(await receipt('not%20an%20id'), 'request_id_malformed');
  });
});

describe('across faults', () => {
  it('what a killed host had not written is published by the next one', async () => {
    const before = await newest();
    database.exec('BEGIN IMMEDIATE');
    // Decided by the enclave, and nowhere written.
    const lost = kit.sign(wallet, { id: 'lost' }).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    stack.host.kill('SIGKILL');
    await stack.host.exited;
    await lost;
    database.exec('ROLLBACK');
    await stack.restartHost();
    await kit.ready();
    await expect
      .poll(async () => (await newest()).leaves.some((leaf) => decodeLeaf(leaf).requestId === 'lost'), {
        timeout: 10_000,
      })
      .toBe(true);
    expect((await newest()).leaves.slice(0, before.leaves.length)).toEqual(before.leaves);
  });

  it('a restarted enclave names the log that its own continues', async () => {
    const before = await newest();
    await stack.restartEnclave();
    await kit.ready();
    await expect.poll(async () => (await boots()).length, { timeout: 10_000 }).toBe(2);
    const after = await newest();
    expect(after.boot).not.toBe(before.boot);
    const follows = after.leaves.map(decodeLeaf).filter(({ kind }) => kind === 'follows');
    expect(follows).toHaveLength(1);
    const { boot, checkpoint } = follows[0]?.predecessor ?? {};
    expect(boot).toBe(before.boot);
    expect(opened(checkpoint as Uint8Array, before.boot).size).toBeGreaterThanOrEqual(before.checkpoint.size);
    // Said once; a host that starts anew does not say it again.
    await stack.restartHost();
    await kit.ready();
    expect(kinds(await newest()).filter((kind) => kind === 'follows')).toHaveLength(1);
  });

  it('stays what it was while the enclave is gone', async () => {
    const before = await (await get('checkpoint')).text();
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect(await (await get('checkpoint')).text()).toBe(before);
    expect((await newest()).leaves.length).toBeGreaterThan(0);
    await stack.restartHost();
    expect(await (await get('checkpoint')).text()).toBe(before);
    expect(await boots()).toHaveLength(2);
  });

  it('leaves that were edited in the database are not published as the enclave’s', async () => {
    await stack.restartEnclave();
    await kit.ready();
    const open = await kit.openWallet();
    await expect.poll(async () => (await boots()).length, { timeout: 10_000 }).toBe(3);
    // Edited before the tiles have it: the loop is a second behind at most.
    await stack.host.stop();
    const boot = newestBoot();
    const edited = Buffer.from(
      database.prepare('SELECT leaf FROM leaves WHERE boot = ? AND sequence = 0').get(boot)?.['leaf'] as Uint8Array,
    );
    edited[edited.length - 1] = (edited[edited.length - 1] ?? 0) ^ 1;
    database.prepare('DELETE FROM logs WHERE boot = ?').run(boot);
    database.prepare('UPDATE leaves SET leaf = ? WHERE boot = ? AND sequence = 0').run(edited, boot);
    await stack.restartHost();
    await kit.ready();
    expect((await kit.sign(open)).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect((await boots()).map((log) => log.boot)).not.toContain(boot);
  });
});

const newestBoot = (): string =>
  String(database.prepare('SELECT boot FROM logs ORDER BY number DESC LIMIT 1').get()?.['boot']);
