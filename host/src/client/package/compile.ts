/**
 * TypeScript to .js and .d.ts, file by file.
 *
 * The core is checked without Node's types and with nothing younger than Node 20 and the browsers of its time have: a
 * `node:` import or a newer function in it fails the build.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { ENTRIES, type Sources } from './sources.ts';

const REPOSITORY = resolve(import.meta.dirname, '..', '..', '..', '..');
const TSC = join(REPOSITORY, 'node_modules', 'typescript', 'bin', 'tsc');

const ERROR_CHARACTERS = 4_000;

const OPTIONS = {
  target: 'es2022',
  // Of ES2024, String.prototype.isWellFormed is in Node 20 already.
  lib: ['es2023', 'es2024.string', 'dom', 'dom.iterable'],
  types: [] as readonly string[],
  typeRoots: [join(REPOSITORY, 'node_modules', '@types')],
  rewriteRelativeImportExtensions: true,
  newLine: 'lf',
  rootDir: 'src',
} as const;

/**
 * @returns text by path below `dist/`, in order
 * @throws Error with the compiler's words
 */
export function compile({ files }: Sources): ReadonlyMap<string, string> {
  const stage = mkdtempSync(join(tmpdir(), 'qv-sdk-'));
  try {
    for (const [place, text] of files) {
      const path = join(stage, 'src', place);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
    writeFileSync(join(stage, 'package.json'), '{"type":"module"}');
    // Packages, where each workspace member has its own.
    symlinkSync(join(REPOSITORY, 'host', 'node_modules'), join(stage, 'src', 'node_modules'));
    symlinkSync(join(REPOSITORY, 'shared', 'node_modules'), join(stage, 'src', 'shared', 'node_modules'));
    run(stage, [ENTRIES['.']], { ...OPTIONS, noEmit: true });
    const emit = { ...OPTIONS, types: ['node'], noEmit: false, declaration: true, outDir: 'out' };
    run(stage, [...files.keys()], emit);
    return emitted(join(stage, 'out'));
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

function run(stage: string, places: readonly string[], compilerOptions: object): void {
  const config = {
    extends: join(REPOSITORY, 'tsconfig.base.json'),
    compilerOptions,
    files: places.map((place) => join('src', place)),
  };
  writeFileSync(join(stage, 'tsconfig.json'), JSON.stringify(config));
  const { status, stdout, stderr } = spawnSync(process.execPath, [TSC, '-p', stage], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the SDK does not compile:\n${`${stdout}${stderr}`.slice(0, ERROR_CHARACTERS)}`);
}

function emitted(folder: string): ReadonlyMap<string, string> {
  const places = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((place) =>
    /\.(?:js|d\.ts)$/.test(place),
  );
  return new Map(places.sort().map((place) => [place, withJsImports(readFileSync(join(folder, place), 'utf8'))]));
}

/** The compiler rewrites imports in .js, and leaves those of .d.ts as they were written. */
const withJsImports = (text: string): string =>
  text.replaceAll(/((?:\bfrom\s*|\bimport\s*\(?\s*)['"]\.[^'"\s]+)\.ts(['"])/g, '$1.js$2');
