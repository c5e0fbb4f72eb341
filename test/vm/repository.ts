/**
 * This repository as files of a guest: its sources as they lie here, and of node_modules what they need, with pnpm's
 * links kept, so that the guest's Node runs them unbuilt.
 */
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type CpioEntry, fileEntry } from './cpio.ts';

const ROOT = realpathSync(join(import.meta.dirname, '..', '..'));
/** Where the repository is in the guest. */
export const GUEST_REPOSITORY = '/repo';

const SOURCES = ['shared', 'host', 'enclave', 'test'];
/** Big, and of no use where nothing is built: compilers, and addons that the bundle brings itself. */
const LEFT_OUT = ['typescript', 'vitest', 'fast-check', '@solana/kit', 'sodium-native', 'bufferutil', 'utf-8-validate'];
const NOT_RUN = /\.(map|md|d\.[cm]?ts)$/;
const PNPM_PACKAGE = /^(.*\/node_modules\/\.pnpm\/[^/]+)\/node_modules\//;

/** Everything below GUEST_REPOSITORY. @param instead files that take the place of this machine's */
export function repositoryEntries(instead: readonly CpioEntry[] = []): CpioEntry[] {
  const collected = new Collected();
  collected.add(join(ROOT, 'package.json'));
  // Names Node's flags, with which the stack starts its enclave.
  collected.add(join(ROOT, 'enclave.Dockerfile'));
  for (const folder of SOURCES) {
    collected.add(join(ROOT, folder, 'package.json'));
    for (const name of readdirSync(join(ROOT, folder))) {
      if (name !== 'node_modules' && name !== 'vectors') collected.addTree(join(ROOT, folder, name));
    }
    const modules = join(ROOT, folder, 'node_modules');
    // What is optional is not there on every machine.
    const there = dependenciesOf(join(ROOT, folder)).filter((name) => isThere(join(modules, name)));
    collected.addDependencies(modules, there);
  }
  const replaced = new Set(instead.map(({ path }) => path));
  return [...collected.entries().filter(({ path }) => !replaced.has(path)), ...instead];
}

class Collected {
  readonly #entries = new Map<string, CpioEntry>();

  entries(): CpioEntry[] {
    return [...this.#entries.values()];
  }

  add(source: string): void {
    const path = guestPath(source);
    if (this.#entries.has(path)) return;
    const status = lstatSync(source);
    if (status.isSymbolicLink()) this.#entries.set(path, { kind: 'symlink', path, target: readlinkSync(source) });
    else if (status.isFile()) this.#entries.set(path, fileEntry(path, source, status.mode & 0o7777));
  }

  addTree(source: string): void {
    const status = lstatSync(source);
    if (!status.isDirectory()) {
      if (!NOT_RUN.test(source)) this.add(source);
      return;
    }
    if (source.endsWith('/prebuilds')) return;
    for (const name of readdirSync(source)) if (name !== 'node_modules') this.addTree(join(source, name));
  }

  /** The links of one node_modules folder and, through them, whole packages with their own dependencies. */
  addDependencies(folder: string, names: readonly string[]): void {
    for (const name of names) {
      if (LEFT_OUT.includes(name) || /^@(types|esbuild)\//.test(name)) continue;
      const link = join(folder, name);
      this.add(link);
      const target = realpathSync(link);
      const store = PNPM_PACKAGE.exec(target)?.[1];
      // A package of this workspace: its sources are there already.
      if (store === undefined || this.#entries.has(guestPath(join(target, 'package.json')))) continue;
      this.addTree(target);
      this.add(join(target, 'package.json'));
      const siblings = join(store, 'node_modules');
      this.addDependencies(
        siblings,
        dependenciesOf(target).filter((dependency) => isThere(join(siblings, dependency))),
      );
    }
  }
}

function guestPath(source: string): string {
  return `${GUEST_REPOSITORY.slice(1)}/${relative(ROOT, source)}`;
}

/** Optional and peer dependencies too: pnpm links those that were installed. */
function dependenciesOf(folder: string): string[] {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, object | undefined>;
  const fields = ['dependencies', 'optionalDependencies', 'peerDependencies'];
  return [...new Set(fields.flatMap((field) => Object.keys(manifest[field] ?? {})))];
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
