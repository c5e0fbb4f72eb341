/**
 * Memory that the kernel does not lock: a boot refuses. Without a memlock allowance libsodium locks nothing and says
 * nothing, and so does OpenSSL. As an ordinary user, because root may lock as much as it likes.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BundleFiles, bundleEnclave } from '@quantumvault/enclave/bundle.ts';
import { NODE_FLAGS, SECURE_HEAP_BYTES } from '@quantumvault/enclave/node-flags.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { type Backend, startBackend } from '../stack/stack.ts';
import { requireProgram } from '../support/requires.ts';

const USER = process.getuid?.() === 0 ? { uid: 10_001, gid: 10_001 } : {};
const PAGE_KILOBYTES = 4;
const SECURE_HEAP_KILOBYTES = SECURE_HEAP_BYTES / 1024;
const compiler = requireProgram('cc', 'gcc');

describe('a boot', () => {
  let backend: Backend;
  let bundle: BundleFiles;
  const folder = mkdtempSync(join(tmpdir(), 'qv-locked-'));

  beforeAll(async () => {
    const entry = (name: string): string => join(import.meta.dirname, '..', 'stack', 'enclave', name);
    bundle = await bundleEnclave({ vaultEntry: entry('main.ts'), agentEntry: entry('kms-agent.ts'), outDir: folder });
    chmodSync(folder, 0o755);
    backend = await startBackend({ bundle });
    // The other user comes to the module's socket and to the configuration.
    chmodSync(backend.dir, 0o777);
    for (const name of ['nsm.sock', 'enclave.json']) chmodSync(join(backend.dir, name), 0o666);
  });
  afterAll(async () => {
    await backend?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** What a program says under that limit, until it ends or is ready. */
  async function startUnder(kilobytes: number, args: readonly string[]): Promise<{ ready: boolean; said: string }> {
    const script = `ulimit -l ${kilobytes}; exec "$@"`;
    const child = spawn('/bin/sh', ['-c', script, 'sh', process.execPath, ...NODE_FLAGS, ...args], {
      ...USER,
      env: {},
    });
    let said = '';
    child.stderr.on('data', (chunk) => {
      said += chunk;
    });
    const exit = once(child, 'close');
    const ready = await Promise.race([once(child.stdout, 'data').then(() => true), exit.then(() => false)]);
    child.kill('SIGKILL');
    await exit;
    return { ready, said };
  }

  function bootUnder(kilobytes: number): Promise<{ ready: boolean; said: string }> {
    const at = (name: string): string => `unix:${join(backend.dir, name)}`;
    const listening = ['d', 'c', 't'].map((name) => at(`${name}${kilobytes}`));
    return startUnder(kilobytes, [bundle.vault, join(backend.dir, 'enclave.json'), at('nsm.sock'), ...listening]);
  }

  /** Of the vault's regions and OpenSSL's heap, as the refusal names it. */
  async function needed(): Promise<number> {
    const { said } = await bootUnder(0);
    return Number(/the kernel locked 0 kB of (\d+)/.exec(said)?.[1]);
  }

  it('without an allowance refuses, and says what is missing', async () => {
    const { ready, said } = await bootUnder(0);
    expect(ready).toBe(false);
    expect(said).toMatch(/^enclave: boot failed: the kernel locked 0 kB of \d+: raise the memlock limit$/m);
  });

  it('with a page too little refuses, too', async () => {
    const kilobytes = await needed();
    expect(kilobytes).toBeGreaterThan(0);
    const { ready, said } = await bootUnder(SECURE_HEAP_KILOBYTES + kilobytes - PAGE_KILOBYTES);
    expect(ready).toBe(false);
    expect(said).toMatch(new RegExp(`the kernel locked \\d+ kB of ${kilobytes}: raise the memlock limit$`, 'm'));
  });

  it('with as much as it asks for goes on', async () => {
    const { ready, said } = await bootUnder(SECURE_HEAP_KILOBYTES + (await needed()));
    expect(ready).toBe(true);
    expect(said).not.toContain('the kernel locked');
    expect(said).not.toContain('secure heap');
  });

  it.skipIf(compiler === undefined)('of an image refuses when OpenSSL’s memory is not locked', async () => {
    const production = join(folder, 'production');
    const entries = join(import.meta.dirname, '..', '..', 'enclave', 'src');
    const { vault } = await bundleEnclave({
      vaultEntry: join(entries, 'main.ts'),
      agentEntry: join(entries, 'kms-agent', 'main.ts'),
      outDir: production,
    });
    buildNative({ outFile: join(production, 'qv-native.node') });
    const { ready, said } = await startUnder(SECURE_HEAP_KILOBYTES - PAGE_KILOBYTES, [vault]);
    expect(ready).toBe(false);
    expect(said).toMatch(/^enclave: the secure heap of OpenSSL is not locked$/m);
    const next = await startUnder(SECURE_HEAP_KILOBYTES, [vault]);
    expect(next.said).toBe('enclave: randomness_untrusted (rng_current)\n');
  });
});
