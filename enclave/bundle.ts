/**
 * Bundles the enclave's two programs, each into one CommonJS file, the same bytes from the same sources wherever the
 * checkout lies. The only other file that runs is sodium-native's prebuilt addon, copied beside them.
 */
import { copyFileSync, mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { build, type Plugin, stop } from 'esbuild';

export interface BundleOptions {
  /** Entry of the process that holds keys. */
  readonly vaultEntry: string;
  readonly agentEntry: string;
  readonly outDir: string;
}

export interface BundleFiles {
  readonly vault: string;
  readonly agent: string;
  readonly addon: string;
  /** Source files inside each bundle, relative to the repository, sorted: for tests and auditors. */
  readonly vaultInputs: readonly string[];
  readonly agentInputs: readonly string[];
}

const here = import.meta.dirname;
const root = dirname(here);

/** sodium-native looks for its addon by a loader with many places to look in; the bundle knows one. */
const oneAddon: Plugin = {
  name: 'one-addon',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^require-addon$/ }, ({ path }) => ({ path, namespace: 'one-addon' }));
    onLoad({ filter: /.*/, namespace: 'one-addon' }, () => ({
      contents: "module.exports = () => require('./sodium-native.node')",
      resolveDir: here,
    }));
    onResolve({ filter: /sodium-native\.node$/ }, () => ({ path: './sodium-native.node', external: true }));
  },
};

async function bundle(entry: string, outFile: string): Promise<string[]> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: outFile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    charset: 'utf8',
    legalComments: 'none',
    // Readable on purpose: auditors read what runs.
    minify: false,
    sourcemap: false,
    metafile: true,
    plugins: [oneAddon],
    logLevel: 'error',
  });
  // Where tsconfig.json is missing, esbuild makes sloppy code of the same sources and says nothing.
  if (!readFileSync(outFile, 'utf8').startsWith('"use strict";')) throw new Error(`${outFile} is not strict code`);
  return Object.keys(metafile.inputs).sort();
}

export async function bundleEnclave({ vaultEntry, agentEntry, outDir }: BundleOptions): Promise<BundleFiles> {
  mkdirSync(outDir, { recursive: true });
  const vault = join(outDir, 'enclave.cjs');
  const agent = join(outDir, 'kms-agent.cjs');
  const addon = join(outDir, 'sodium-native.node');
  const [vaultInputs, agentInputs] = await Promise.all([bundle(vaultEntry, vault), bundle(agentEntry, agent)]);
  // Its service would otherwise stay alive as long as its caller.
  await stop();
  const sodium = dirname(createRequire(join(here, 'src', 'vault.ts')).resolve('sodium-native/package.json'));
  copyFileSync(realpathSync(join(sodium, 'prebuilds', `linux-${process.arch}`, 'sodium-native.node')), addon);
  return { vault, agent, addon, vaultInputs, agentInputs };
}
