/** The recipient key's private numbers are in OpenSSL's secure heap, and leave nothing in it. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { NODE_FLAGS, SECURE_HEAP_BYTES } from '@quantumvault/enclave/node-flags.ts';
import { afterAll, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { requireProgram } from '../support/requires.ts';

const run = promisify(execFile);
const compiler = requireProgram('cc', 'gcc');
const folder = mkdtempSync(join(tmpdir(), 'qv-heap-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const addon = join(folder, 'qv-native.node');

/**
 * Bytes used: at first; after 24 keys that came and went, by when each worker thread has OpenSSL's random number
 * generator, which stays; with one key; with eight; with none.
 */
const SCRIPT = `
  const native = { exports: {} };
  process.dlopen(native, ${JSON.stringify(addon)});
  const { recipientKey, recipientDrop } = native.exports;
  const { secureHeapUsed } = require('node:crypto');
  const used = () => secureHeapUsed().used ?? 0;
  const many = (count) => Promise.all(Array.from({ length: count }, () => recipientKey()));
  const steps = [used()];
  (async () => {
    for (let index = 0; index < 24; index++) recipientDrop(await recipientKey());
    steps.push(used());
    const [first] = await many(1);
    steps.push(used());
    const more = await many(7);
    steps.push(used());
    for (const key of [first, ...more]) recipientDrop(key);
    steps.push(used());
    process.stdout.write(JSON.stringify({ total: secureHeapUsed().total ?? 0, steps }));
  })();`;

describe.skipIf(compiler === undefined)('OpenSSL’s secure heap', () => {
  async function measure(flags: readonly string[]): Promise<{ total: number; steps: readonly number[] }> {
    buildNative({ outFile: addon });
    const { stdout } = await run(process.execPath, [...flags, '-e', SCRIPT], { env: {} });
    return JSON.parse(stdout);
  }

  it('holds private keys, several at once, gives their room back, and has enough of it', async () => {
    const { total, steps } = await measure(NODE_FLAGS);
    const [before = 0, generators = 0, one = 0, eight = 0, after = 0] = steps;
    expect([total, before]).toEqual([SECURE_HEAP_BYTES, 0]);
    expect(after).toBe(generators);
    // An RSA-2048 private key: an exponent of 256 bytes, five numbers of 128.
    expect(one - generators).toBeGreaterThanOrEqual(256 + 5 * 128);
    expect(eight - generators).toBe(8 * (one - generators));
    expect(eight).toBeLessThan(SECURE_HEAP_BYTES / 4);
  });

  it('without the flag is not there', async () => {
    expect(await measure([])).toEqual({ total: 0, steps: [0, 0, 0, 0, 0] });
  });
});
