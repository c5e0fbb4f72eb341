/**
 * Lays out everything that is in the enclave image, as a file tree: Node, the libraries that it and the addons load,
 * the two bundles, the addons, the measured configuration. enclave.Dockerfile runs it inside its build stage.
 *
 *   node enclave/build.ts --out DIR [--config FILE]
 *
 * The same sources, base and configuration give the same tree, to the last mode and time.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { QvError } from '@quantumvault/shared/errors.ts';
import { buildNative } from '../shared/native/build.ts';
import { bundleEnclave } from './bundle.ts';
import { parseEnclaveConfig } from './src/config.ts';

export interface ImageTree {
  /** Made here; must not exist, or be empty. */
  readonly outDir: string;
  /** The measured configuration; without it the tree has none, and only what brings its own can boot it. */
  readonly configFile?: string | undefined;
}

/** Mount points and places that the image's init, or nothing, fills. */
const EMPTY_FOLDERS = ['dev', 'proc', 'run', 'sys', 'tmp', 'var'];
const FOLDER_MODE = 0o755;
const FILE_MODE = 0o644;
const PROGRAM_MODE = 0o755;
/** Seconds of Unix time of everything in the tree. */
const MODIFIED = 0;

/** @throws QvError config_invalid; Error when the folder is taken, or a step fails */
export async function buildImageTree({ outDir, configFile }: ImageTree): Promise<void> {
  if (existsSync(outDir) && readdirSync(outDir).length > 0) throw new Error(`${outDir} is not empty`);
  // Refused here rather than by an enclave that does not boot.
  if (configFile !== undefined) parseEnclaveConfig(readFileSync(configFile));
  const enclave = join(outDir, 'enclave');
  mkdirSync(enclave, { recursive: true });
  await bundleEnclave({
    vaultEntry: join(import.meta.dirname, 'src', 'main.ts'),
    agentEntry: join(import.meta.dirname, 'src', 'kms-agent', 'main.ts'),
    outDir: enclave,
  });
  buildNative({ outFile: join(enclave, 'qv-native.node') });
  copyFileSync(process.execPath, join(enclave, 'node'));
  if (configFile !== undefined) copyFileSync(configFile, join(enclave, 'config.json'));
  const binaries = ['node', 'sodium-native.node', 'qv-native.node'].map((name) => join(enclave, name));
  for (const library of librariesOf(binaries)) copyTo(outDir, library);
  for (const folder of EMPTY_FOLDERS) mkdirSync(join(outDir, folder));
  normalise(outDir);
}

/** Paths of all shared libraries and of the loader, as the loader finds them. */
function librariesOf(binaries: readonly string[]): string[] {
  const found = new Set<string>();
  for (const binary of binaries) {
    // Nothing of this environment may say where libraries are.
    const done = spawnSync('ldd', [binary], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' },
    });
    if (done.error !== undefined) throw new Error(`ldd cannot be run: ${done.error.message}`);
    if (done.status !== 0) throw new Error(`ldd ${binary} failed: ${done.stdout}${done.stderr}`);
    for (const line of done.stdout.trim().split('\n')) {
      const path = libraryOf(line.trim(), binary);
      if (path !== undefined) found.add(path);
    }
  }
  return [...found].sort();
}

/** `libc.so.6 => /lib/…/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)` or the kernel's own `linux-vdso.so.1`. */
function libraryOf(line: string, binary: string): string | undefined {
  if (/^linux-vdso\.so\.\d+ \(0x[0-9a-f]+\)$/.test(line)) return undefined;
  const path = /^(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/.exec(line)?.[1];
  if (path === undefined) throw new Error(`${binary}: ldd says "${line}"`);
  return path;
}

/** The file itself where a link leads to one, at the path where the loader looks. */
function copyTo(outDir: string, path: string): void {
  const target = join(outDir, path);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(path, target);
}

/** Modes and times that do not depend on who builds, or when; folders after what is in them. */
function normalise(path: string): void {
  const status = lstatSync(path);
  if (status.isDirectory()) {
    for (const name of readdirSync(path)) normalise(join(path, name));
    chmodSync(path, FOLDER_MODE);
  } else if (status.isFile()) {
    chmodSync(path, isProgram(path) ? PROGRAM_MODE : FILE_MODE);
  } else throw new Error(`${path} is neither a file nor a folder`);
  lutimesSync(path, MODIFIED, MODIFIED);
}

/** What the kernel starts: Node, and the loader it names. */
function isProgram(path: string): boolean {
  return /\/enclave\/node$|\/ld-linux[^/]*$/.test(path);
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { out: { type: 'string' }, config: { type: 'string' } } });
  if (values.out === undefined) {
    process.stderr.write('usage: build.ts --out DIR [--config FILE]\n');
    process.exit(2);
  }
  try {
    await buildImageTree({ outDir: resolve(values.out), configFile: values.config });
  } catch (error) {
    const where = error instanceof QvError ? ` (${error.code}: ${JSON.stringify(error.facts)})` : '';
    process.stderr.write(`build: ${error instanceof Error ? error.message : 'failed'}${where}\n`);
    process.exit(1);
  }
}
