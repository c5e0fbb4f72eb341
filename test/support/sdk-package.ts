/** The SDK as an application has it: built, packed, and installed from the tarball into an empty folder, offline. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { buildSdk } from '@quantumvault/host/client/package/build.ts';
import { unavailable } from './requires.ts';

const REPOSITORY = join(import.meta.dirname, '..', '..');

export interface Installed {
  /** The application's folder. */
  readonly folder: string;
  /** Where the package is in it. */
  readonly packageFolder: string;
  /** What `npm pack` put into the tarball. */
  readonly packed: readonly string[];
  /** Links a package that the tests have into the application, as if it had been installed there. */
  readonly bring: (name: string) => void;
  readonly remove: () => void;
}

export async function installSdk(): Promise<Installed> {
  const base = mkdtempSync(join(tmpdir(), 'qv-sdk-'));
  const remove = (): void => rmSync(base, { recursive: true, force: true });
  try {
    const [built, folder] = [join(base, 'built'), join(base, 'application')];
    await buildSdk(built);
    const pack = npm(base, built, ['pack', '--json', '--pack-destination', base]);
    const [{ filename, files }] = JSON.parse(pack) as [{ filename: string; files: { path: string }[] }];
    mkdirSync(folder);
    writeFileSync(join(folder, 'package.json'), '{"name":"application","version":"1.0.0","type":"module"}');
    npm(base, folder, ['install', '--offline', '--no-audit', '--no-fund', join(base, filename)]);
    const bring = (name: string): void => {
      const link = join(folder, 'node_modules', name);
      mkdirSync(dirname(link), { recursive: true });
      const sources = [join(REPOSITORY, 'test', 'node_modules', name), join(REPOSITORY, 'node_modules', name)];
      symlinkSync(realpathSync(sources.find(existsSync) ?? name), link);
    };
    const packageFolder = join(folder, 'node_modules', '@quantumvault', 'client');
    return { folder, packageFolder, packed: files.map(({ path }) => path), bring, remove };
  } catch (error) {
    remove();
    throw error;
  }
}

function npm(base: string, cwd: string, args: readonly string[]): string {
  return execFileSync('npm', [...args, '--cache', join(base, 'cache'), '--loglevel', 'error'], {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Node besides the pinned one, by which these tests run: the machine's own, where it has one of 20 or newer. */
export function systemNode(): string | undefined {
  const found = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'node'))
    .find((path) => existsSync(path) && realpathSync(path) !== realpathSync(process.execPath) && versionOf(path) >= 20);
  return found ?? unavailable('node', 'no Node 20 or newer besides the pinned one is installed (nodejs.org)');
}

export function versionOf(node: string): number {
  return Number(/^v(\d+)\./.exec(execFileSync(node, ['--version'], { encoding: 'utf8' }))?.[1] ?? 0);
}

export interface Ended {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function runProgram(program: string, args: readonly string[], cwd: string): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(program, args, { cwd, timeout: 120_000 }, (error, stdout, stderr) =>
      resolve({ exit: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
  });
}
