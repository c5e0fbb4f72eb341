/**
 * Compiles the addon with one call of the C compiler, against the headers of the pinned Node.
 *
 *   node shared/native/build.ts [file]      default: qv-native.node beside this file
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

const here = import.meta.dirname;
const root = dirname(dirname(here));
/** Part of the npm package that the running Node comes from, so of exactly its version and under the lockfile's hash. */
const HEADERS = join(root, '.toolchain', 'node_modules', `node-linux-${process.arch}`, 'include', 'node');

const SOURCES = ['qv_native.c', 'qv_recipient.c', 'qv_legacy.c', 'qv_process.c'];

export interface NativeBuild {
  readonly outFile: string;
  /** For tests: sanitizers. */
  readonly flags?: readonly string[];
  /** Default `cc`. */
  readonly compiler?: string;
}

/** @throws Error with the compiler's words */
export function buildNative({ outFile, flags = [], compiler = 'cc' }: NativeBuild): void {
  if (!existsSync(join(HEADERS, 'node_api.h'))) throw new Error(`no headers of Node in ${HEADERS}`);
  const args = [
    ...['-std=c11', '-O2', '-g0', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared', '-fvisibility=hidden'],
    ...[
      '-fstack-protector-strong',
      '-U_FORTIFY_SOURCE',
      '-D_FORTIFY_SOURCE=2',
      '-Wl,-z,relro,-z,now,-z,noexecstack',
      '-Wl,--build-id=none',
    ],
    // The same bytes wherever the checkout lies.
    `-ffile-prefix-map=${root}=.`,
    '-DNAPI_VERSION=9',
    ...['-I', HEADERS, ...flags, '-o', outFile, ...SOURCES.map((name) => join(here, name))],
  ];
  const done = spawnSync(compiler, args, { encoding: 'utf8' });
  if (done.error !== undefined) throw new Error(`${compiler} (a C compiler) is needed: ${done.error.message}`);
  if (done.status !== 0) throw new Error(`${compiler} failed\n${done.stderr}`);
}

if (import.meta.main) {
  const outFile = process.argv[2] ?? join(here, 'qv-native.node');
  buildNative({ outFile });
  process.stdout.write(`${outFile}\n`);
}
