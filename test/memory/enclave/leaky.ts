/**
 * An enclave that leaks on purpose: the local stack's vault process, around whose recipient keys somebody wrapped code
 * that does with each execution key what naive code does. Each key is leaked in one way; which key got which is on
 * standard error, by its SHA-256. So the search shows that it would find such a leak. Nothing of this is in the product.
 */
import { createHash, createSecretKey } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { runVault } from '@quantumvault/enclave/run.ts';
import type { RecipientKeys } from '@quantumvault/enclave/vault.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { nodeLegacyCiphers } from '../../stack/enclave/node-ciphers.ts';
import { nodeRecipientKeys } from '../../stack/enclave/node-recipient.ts';
import { socketNsm } from '../../stack/nsm/client.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as (how?: { type: 'minor' }) => void;

/** What stays alive. */
const kept: unknown[] = [];
/** Many, because what comes later is written over some of the copies. */
const SMALL_ARRAYS = 5_000;

const LEAKS: Readonly<Record<string, (key: Buffer) => unknown>> = {
  nothing: () => undefined,
  'a hex string': (key) => key.toString('hex'),
  'an upper-case hex string': (key) => key.toString('hex').toUpperCase(),
  'a base64 string': (key) => key.toString('base64'),
  'a base64url string of more': (key) => Buffer.concat([Buffer.from('k='), key]).toString('base64url'),
  'a base58 string': (key) => toBase58(key),
  'a two-byte string': (key) => Buffer.from(`\u{1f511}${key.toString('hex')}`).toString(),
  'a string of bytes': (key) => key.toString('latin1'),
  'a JSON array': (key) => JSON.stringify([...key]),
  'a printed buffer': (key) => inspect(key),
  'a big number': (key) => BigInt(`0x${Buffer.from(key).toString('hex')}`),
  'a buffer that nobody wiped': (key) => Buffer.from(key),
  'half of it': (key) => Buffer.from(key.subarray(16)),
  'a key object': (key) => createSecretKey(key),
  'small arrays that were wiped after a collection': (key) => {
    const arrays = Array.from({ length: SMALL_ARRAYS }, () => new Uint8Array(key));
    // The first collection copies them within the young generation, the second one out of it.
    collectGarbage({ type: 'minor' });
    collectGarbage({ type: 'minor' });
    for (const array of arrays) array.fill(0);
    return undefined;
  },
  'a buffer that was freed': (key) => {
    // Larger than what is left of it: an allocator writes its own numbers into the beginning.
    for (let index = 0; index < 20; index++) Buffer.allocUnsafeSlow(64).set(key, 32);
    collectGarbage();
    return undefined;
  },
};
const names = Object.keys(LEAKS);
const leaked = new Set<string>();

function leak(key: Buffer): void {
  const hash = createHash('sha256').update(key).digest('hex');
  if (leaked.has(hash)) return;
  const name = names[leaked.size % names.length] ?? '';
  leaked.add(hash);
  kept.push(LEAKS[name]?.(key));
  process.stderr.write(`leak ${hash} ${name}\n`);
}

const leaky: RecipientKeys = {
  async generate() {
    const honest = await nodeRecipientKeys.generate();
    return {
      spki: honest.spki,
      open: (envelope, work) => {
        const isOpen = honest.open(envelope, work);
        if (isOpen) leak(work.subarray(0, 32));
        return isOpen;
      },
      drop: () => honest.drop(),
    };
  },
};

const [configPath = '', nsm = '', data = '', control = '', tunnel = ''] = process.argv.slice(2);

// The stack's end of this pipe closes when the stack ends, however it ends.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

runVault({
  configBytes: readFileSync(configPath),
  configPath,
  nsm: socketNsm(nsm),
  mixRandomness: (bytes) => writeFileSync('/dev/urandom', bytes),
  recipientKeys: leaky,
  legacyCiphers: nodeLegacyCiphers,
  wipeTraces: () => undefined,
  transport: unixTransport,
  data: parseTransportAddress(data),
  control: parseTransportAddress(control),
  agent: { file: join(__dirname, 'kms-agent.cjs'), tunnel: parseTransportAddress(tunnel) },
}).then(() => process.stdout.write(`${JSON.stringify({ ready: true })}\n`));
