/** A seed that is sealed: only the import key opens it, and the process that sealed it has nothing of it any more. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import { blake2b } from '@noble/hashes/blake2.js';
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { concatBytes, fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { outsideKey } from '../../../support/import-kit.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { type Found, Traces } from './traces.ts';

const STATEMENT = 'qv/import-wallet/v1: a statement';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

const keypairOf = ({ seed, address }: ReturnType<typeof outsideKey>): string =>
  JSON.stringify([...seed, ...addressBytes(address)]);

interface Sealed {
  readonly owner: string;
  readonly wallet: string;
  readonly signature: string;
  readonly sealed: string;
}

/** What a child answers, and what its memory still has while it stands there. */
async function seal(
  traces: Traces,
  given: { readonly key: string; readonly ownerKey: string; readonly to: Uint8Array },
) {
  const options = JSON.stringify({ ownerKey: given.ownerKey, statement: STATEMENT, importKey: toHex(given.to) });
  const child = spawn(process.execPath, [join(import.meta.dirname, 'sealer.ts'), options], {
    stdio: ['pipe', 'pipe', 'inherit', 'pipe'],
  });
  const [stdin, stdout, , key] = child.stdio as unknown as [Writable, NodeJS.ReadableStream, null, Writable];
  key.end(given.key);
  for await (const line of createInterface({ input: stdout })) {
    const found: readonly Found[] = await traces.in(child.pid ?? 0);
    stdin.end('.');
    return { ...(JSON.parse(line) as Sealed), found };
  }
  throw new Error('the child said nothing');
}

it('opens with the import key alone, as another implementation reads it, and leaves nothing behind', async () => {
  const [owner, wallet, box] = [outsideKey(), outsideKey(), nacl.box.keyPair()];
  const ownerKey = join(folder.path, 'owner.json');
  writeFileSync(ownerKey, keypairOf(owner), { mode: 0o600 });
  const traces = new Traces().key('seed', wallet.seed).key('owner', owner.seed);
  const answer = await seal(traces, { key: keypairOf(wallet), ownerKey, to: box.publicKey });
  expect(answer).toMatchObject({ owner: owner.address, wallet: wallet.address, found: [] });
  expect(answer.signature).toBe(toHex(owner.sign(utf8(STATEMENT))));

  const sealed = fromHex(answer.sealed);
  expect(sealed).toHaveLength(LIMITS.sealedImportBytes);
  const sender = sealed.subarray(0, 32);
  const nonce = blake2b(concatBytes(sender, box.publicKey), { dkLen: 24 });
  const content = concatBytes(sha256(utf8(STATEMENT)), wallet.seed);
  expect(nacl.box.open(sealed.subarray(32), nonce, sender, box.secretKey)).toEqual(content);
  expect(nacl.box.open(sealed.subarray(32), nonce, sender, nacl.box.keyPair().secretKey)).toBeNull();
});

it('is sealed anew each time', async () => {
  const [owner, wallet, to] = [outsideKey(), outsideKey(randomBytes(32)), nacl.box.keyPair().publicKey];
  const ownerKey = join(folder.path, 'another-owner.json');
  writeFileSync(ownerKey, keypairOf(owner), { mode: 0o600 });
  const given = { key: keypairOf(wallet), ownerKey, to };
  const [one, two] = [await seal(new Traces(), given), await seal(new Traces(), given)];
  expect(one.sealed).not.toBe(two.sealed);
  expect(one.sealed.slice(0, 64)).not.toBe(two.sealed.slice(0, 64));
});
