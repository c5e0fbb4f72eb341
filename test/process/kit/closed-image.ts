/** The enclave's processes of test/process/entry as files: bundles, addons, a configuration, readable for everybody. */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BundleFiles, bundleEnclave } from '@quantumvault/enclave/bundle.ts';
import { buildNative } from '../../../shared/native/build.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const ENTRY = join(import.meta.dirname, '..', 'entry');
const HEADERS = join(ROOT, '.toolchain', 'node_modules', `node-linux-${process.arch}`, 'include', 'node');

export interface ClosedImage {
  readonly folder: string;
  readonly bundle: BundleFiles;
  /** `plain.ts`, bundled: the attempts in an ordinary process. */
  readonly plain: string;
  /** `launch.ts`, bundled. */
  readonly launch: string;
  readonly config: string;
  remove(): void;
}

/** Needs a C compiler. */
export async function closedImage(): Promise<ClosedImage> {
  const folder = mkdtempSync(join(tmpdir(), 'qv-closed-'));
  chmodSync(folder, 0o755);
  const entry = (name: string): string => join(ENTRY, `${name}.ts`);
  const other = join(folder, 'other');
  const others = await bundleEnclave({ vaultEntry: entry('plain'), agentEntry: entry('launch'), outDir: other });
  const bundle = await bundleEnclave({ vaultEntry: entry('vault'), agentEntry: entry('kms-agent'), outDir: folder });
  buildNative({ outFile: join(folder, 'qv-native.node') });
  copyFileSync(join(folder, 'qv-native.node'), join(other, 'qv-native.node'));
  const calls = join(import.meta.dirname, 'system-calls.c');
  const addon = join(folder, 'system-calls.node');
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-DNAPI_VERSION=9', '-I', HEADERS, '-o', addon, calls]);
  for (const place of [folder, other]) writeFileSync(join(place, 'more.cjs'), 'module.exports = 1;\n');
  const config = join(folder, 'config.json');
  copyFileSync(join(ROOT, 'enclave', 'config', 'example.json'), config);
  for (const file of [config, bundle.vault, bundle.agent, addon]) chmodSync(file, 0o644);
  return {
    folder,
    bundle,
    plain: others.vault,
    launch: others.agent,
    config,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
