/** The v2 secret on an operator's machine: what is sealed, what is refused, and that nothing of it stays in the process. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { blake2b } from '@noble/hashes/blake2.js';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary.ts';
import { Traces } from '../import/traces.ts';

const SEALER = join(import.meta.dirname, 'sealer.ts');
const box = nacl.box.keyPair();
const statementHash = sha256(randomBytes(8));

/** As an enclave would. */
function opened(sealed: Uint8Array): Buffer {
  const ephemeral = sealed.subarray(0, 32);
  const nonce = blake2b(Buffer.concat([ephemeral, box.publicKey]), { dkLen: 24 });
  const plaintext = nacl.box.open(sealed.subarray(32), nonce, ephemeral, box.secretKey);
  if (plaintext === null) throw new Error('it does not open');
  return Buffer.from(plaintext);
}

interface Answer {
  readonly sealed?: string;
  readonly code?: string;
  readonly value?: string;
}

/** What the sealer answers, and what of these is in its memory while it stands still afterwards. */
async function seal(written: string | Uint8Array, encoding: string, traces = new Traces(), plant?: string) {
  const options = {
    encoding,
    statementHash: Buffer.from(statementHash).toString('hex'),
    importKey: Buffer.from(box.publicKey).toString('hex'),
    ...(plant !== undefined && { plant }),
  };
  const child = spawn(process.execPath, [SEALER, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit', 'pipe'],
  });
  const [answers, output, , pipe] = child.stdio as unknown as [Writable, Readable, null, Writable];
  pipe.on('error', () => undefined).end(written);
  for await (const line of createInterface({ input: output })) {
    const found = await traces.in(child.pid ?? 0);
    answers.end('.');
    return { answer: JSON.parse(line) as Answer, found };
  }
  throw new Error('no answer');
}

describe('a v2 secret', () => {
  const secret = randomBytes(32);
  const longest = randomBytes(256);
  // Random: words stand in a program by themselves.
  const passphrase = randomBytes(30).toString('base64url');

  it.each<[string, string, Uint8Array]>([
    ['hex', `${secret.toString('hex')}\n`, secret],
    ['hex', secret.toString('hex').toUpperCase(), secret],
    ['base64', `${secret.toString('base64')}\r\n`, secret],
    ['text', passphrase, Buffer.from(passphrase)],
    ['hex', longest.toString('hex'), longest],
  ])('of %s is sealed with the hash of the statement, and nothing of it stays', async (encoding, written, bytes) => {
    const traces = new Traces().bytes('secret', bytes);
    const { answer, found } = await seal(written, encoding, traces);
    const content = opened(Buffer.from(answer.sealed ?? '', 'hex'));
    expect(content.subarray(0, 32)).toEqual(Buffer.from(statementHash));
    expect(content.subarray(32)).toEqual(Buffer.from(bytes));
    expect(found).toEqual([]);
  });

  it.each<[string, string, string, string]>([
    ['of 15 bytes', 'hex', 'ab'.repeat(15), 'key_malformed'],
    ['of half a byte', 'hex', `${secret.toString('hex')}a`, 'key_malformed'],
    ['that is no hex', 'hex', `${secret.toString('hex').slice(2)}zz`, 'key_malformed'],
    ['that is no base64', 'base64', `${secret.toString('base64')}=`, 'key_malformed'],
    ['of nothing', 'text', '', 'key_malformed'],
    ['of 257 bytes', 'hex', 'ab'.repeat(257), 'key_malformed'],
    ['that goes on', 'text', 'a'.repeat(2000), 'body_too_large'],
  ])('%s is refused, without a byte of it', async (_, encoding, written, code) => {
    const traces = new Traces().bytes('secret', secret);
    const { answer, found } = await seal(written, encoding, traces);
    expect(answer.code).toBe(code);
    expect(JSON.stringify(answer)).not.toContain(written.slice(0, 20) || 'sealed');
    expect(found).toEqual([]);
  });

  it('would be found, were it left', async () => {
    const folder = await temporaryFolder();
    const plant = join(folder.path, 'plant');
    writeFileSync(plant, secret.toString('hex'));
    const traces = new Traces().bytes('secret', secret);
    const { found } = await seal(secret.toString('hex'), 'hex', traces, plant).finally(folder.remove);
    expect(found.length).toBeGreaterThan(0);
  });
});
