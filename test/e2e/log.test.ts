/** The log over HTTP: what the enclave signs as its tree is what the host has written down. */

import { DatabaseSync } from 'node:sqlite';
import { verifyEd25519 } from '@quantumvault/host/client/keys.ts';
import { addressBytes, type BootId } from '@quantumvault/shared/brands.ts';
import { bootLogOrigin, leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { openCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { append, EMPTY_FRONTIER, frontierRoot } from '@quantumvault/shared/tlog/tree.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import { type HttpKit, httpKit } from '../support/http-kit.ts';

let stack: Stack;
let kit: HttpKit;
let database: DatabaseSync;

beforeAll(async () => {
  stack = await startStack();
  kit = httpKit(stack);
  database = new DatabaseSync(stack.databaseFile, { readOnly: true });
});
afterAll(async () => {
  database?.close();
  await stack?.stop();
});

describe('the checkpoint', () => {
  it('is signed by the boot key, and its root is that of the leaves in the database', async () => {
    const wallet = await kit.openWallet();
    for (let index = 0; index < 7; index++) await kit.sign(wallet);
    await kit.sign(wallet, { lamports: 1_000_001n });
    const response = await fetch(`${stack.url}/v1/log/checkpoint`);
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    const note = new Uint8Array(await response.arrayBuffer());
    const rows = database.prepare('SELECT boot, leaf FROM leaves ORDER BY sequence').all();
    const boot = rows[0]?.['boot'] as BootId;
    const origin = bootLogOrigin('local-stack.example/qv', boot);
    const known = { origin, key: verifierKey(origin, 'ed25519', addressBytes(boot)), witnesses: [] };
    const { checkpoint } = openCheckpoint(note, known, verifyEd25519);
    // Boot, wallet, policy, seven signatures, one denial.
    expect(checkpoint.size).toBe(11n);
    expect(rows).toHaveLength(11);
    const tree = rows.reduce((frontier, row) => append(frontier, leafHash(row['leaf'] as Uint8Array)), EMPTY_FRONTIER);
    expect(checkpoint.root).toEqual(frontierRoot(tree));
  });

  it('stays what it was while the enclave is gone', async () => {
    const before = await (await fetch(`${stack.url}/v1/log/checkpoint`)).text();
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect(await (await fetch(`${stack.url}/v1/log/checkpoint`)).text()).toBe(before);
  });
});
