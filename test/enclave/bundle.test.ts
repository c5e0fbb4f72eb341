/** What the enclave's two programs contain, against what DEPENDENCIES.md says of it. */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BundleFiles, bundleEnclave } from '@quantumvault/enclave/bundle.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/temporary.ts';

const root = join(import.meta.dirname, '..', '..');
const dependencies = readFileSync(join(root, 'enclave', 'DEPENDENCIES.md'), 'utf8');
const folders = [0, 1, 2].map(() => mkdtempSync(join(tmpdir(), 'qv-bundle-')));
const bundled = (folder: number, entries: string, vault = 'main.ts', agent = 'kms-agent.ts') =>
  bundleEnclave({
    vaultEntry: join(root, entries, vault),
    agentEntry: join(root, entries, agent),
    outDir: folders[folder] ?? '',
  });
/** Production's, twice. */
let first: BundleFiles;
let second: BundleFiles;
let stack: BundleFiles;

beforeAll(async () => {
  first = await bundled(0, 'enclave/src', 'main.ts', 'kms-agent/main.ts');
  second = await bundled(1, 'enclave/src', 'main.ts', 'kms-agent/main.ts');
  stack = await bundled(2, 'test/stack/enclave');
});
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** `name version` of each package a bundle has code of, from the paths that the bundler leaves as comments. */
function packagesIn(file: string): string[] {
  const paths = readFileSync(file, 'utf8').matchAll(/^\/\/ node_modules\/\.pnpm\/(@?[^@\n]+)@([^_/\n]+)[^/\n]*\//gm);
  return [...new Set([...paths].map((match) => `${(match[1] ?? '').replace('+', '/')} ${match[2]}`))].sort();
}

/** The same of the tables in one section of DEPENDENCIES.md. */
function packagesNamed(section: string): string[] {
  const text = dependencies.split(/^## /m).find((part) => part.startsWith(section)) ?? '';
  return [...text.matchAll(/^\| (@?[a-z0-9/-]+) +\| (\d[\w.-]*) +\|/gm)]
    .map((match) => `${match[1]} ${match[2]}`)
    .sort();
}

const digest = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

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

  it('holds the packages that DEPENDENCIES.md names, and no others', () => {
    expect(packagesIn(first.vault)).toEqual(packagesNamed('The vault process'));
    expect(packagesIn(first.agent)).toEqual(packagesNamed('The kms-agent'));
  });

  it('is the same from two builds', () => {
    expect([first.vault, first.agent, first.addon].map(digest)).toEqual(
      [second.vault, second.agent, second.addon].map(digest),
    );
  });

  it('has the addon that DEPENDENCIES.md states', () => {
    const stated = new RegExp(`linux-${process.arch}/sodium-native\\.node +\\| \`([0-9a-f]{64})\``).exec(
      dependencies,
    )?.[1];
    expect(stated).toBe(digest(first.addon));
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

  it('differs from the local stack by the entries, their socket to the module, and Unix sockets', () => {
    const more = stack.vaultInputs.filter((file) => !first.vaultInputs.includes(file));
    expect(more).toEqual([
      'shared/src/unix-transport.ts',
      'test/stack/enclave/main.ts',
      'test/stack/enclave/node-recipient.ts',
      'test/stack/nsm/client.ts',
    ]);
    const less = first.vaultInputs.filter((file) => !stack.vaultInputs.includes(file));
    expect(less).toEqual(['enclave/src/main.ts', 'enclave/src/platform.ts', 'shared/src/ports.ts']);
  });

  const required = (file: string): string[] => {
    const found = readFileSync(file, 'utf8').matchAll(/\brequire\(["']([^"']+)["']\)/g);
    return [...new Set([...found].map((match) => match[1] ?? ''))].sort();
  };

  it('generates no code from strings, and loads nothing but these modules', () => {
    const text = readFileSync(first.vault, 'utf8');
    expect(text).not.toMatch(/\bnew Function\s*\(|[^.\w]eval\s*\(/);
    expect(text).not.toMatch(/[^.\w]import\s*\(/);
    // No network among them; node:child_process starts the kms-agent. The addon is opened by its path.
    expect(required(first.vault)).toEqual([
      './sodium-native.node',
      'assert',
      'node:child_process',
      'node:fs',
      'node:module',
      'node:path',
      'node:stream',
      'node:util',
    ]);
    expect([...text.matchAll(/process\.dlopen\(/g)]).toHaveLength(1);
  });

  it('reads nothing from the environment of the vault process', () => {
    const text = readFileSync(first.vault, 'utf8');
    expect([...text.matchAll(/process\.(env|argv|stdin)\b.*/g)].map(([found]) => found)).toEqual([]);
  });
});
