/** What the enclave's two programs contain of ours. Packages, reach and reproducibility: test/supply. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BundleFiles, bundleEnclave } from '@quantumvault/enclave/bundle.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/temporary.ts';

const root = join(import.meta.dirname, '..', '..');
const folders = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'qv-bundle-')));
const bundled = (folder: number, entries: string, vault = 'main.ts', agent = 'kms-agent.ts') =>
  bundleEnclave({
    vaultEntry: join(root, entries, vault),
    agentEntry: join(root, entries, agent),
    outDir: folders[folder] ?? '',
  });
/** Production's. */
let first: BundleFiles;
let stack: BundleFiles;

beforeAll(async () => {
  first = await bundled(0, 'enclave/src', 'main.ts', 'kms-agent/main.ts');
  stack = await bundled(1, 'test/stack/enclave');
});
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Command lines of the processes that this one started. */
function children(): string[] {
  return readdirSync('/proc/self/task')
    .flatMap((task) => readFileSync(`/proc/self/task/${task}/children`, 'utf8').trim().split(' '))
    .filter((pid) => pid !== '' && existsSync(`/proc/${pid}/cmdline`))
    .map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
}

describe('the enclave bundle', () => {
  it('leaves no bundler running', async () => {
    await until('it has ended', () => !children().some((line) => line.includes('esbuild')));
  });

  it('has nothing in it but the product: nothing simulated, nothing of the host', () => {
    for (const inputs of [first.vaultInputs, first.agentInputs]) {
      const ours = inputs.filter((file) => !file.startsWith('node_modules/') && !file.startsWith('one-addon'));
      expect(ours.filter((file) => !/^(enclave|shared)\/src\//.test(file))).toEqual([]);
      expect(ours.length).toBeGreaterThan(10);
      // Every way to the outside but the addon's.
      expect(ours).not.toContain('shared/src/unix-transport.ts');
    }
    for (const file of [first.vault, first.agent]) {
      expect(readFileSync(file, 'utf8')).not.toMatch(/simulated|test\/stack/i);
    }
  });

  it('differs from the local stack by the entries, what the addon does, the socket to the module, and Unix sockets', () => {
    const more = stack.vaultInputs.filter((file) => !first.vaultInputs.includes(file));
    expect(more).toEqual([
      'shared/src/unix-transport.ts',
      'test/stack/enclave/main.ts',
      'test/stack/enclave/node-ciphers.ts',
      'test/stack/enclave/node-recipient.ts',
      'test/stack/nsm/client.ts',
    ]);
    const less = first.vaultInputs.filter((file) => !stack.vaultInputs.includes(file));
    expect(less).toEqual([
      'enclave/src/confinement.ts',
      'enclave/src/main.ts',
      'enclave/src/platform.ts',
      'shared/src/ports.ts',
    ]);
  });
});
