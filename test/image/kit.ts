/** A checkout to build from, the stand-ins for docker and nitro-cli, and runs of nitro-build.sh between them. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type Behaviour, type Call, STATE_VARIABLE } from './doubles/state.ts';

export const ROOT = join(import.meta.dirname, '..', '..');
export const CONFIG = join(ROOT, 'enclave', 'config', 'example.json');

/** What nitro-build.sh may need of a machine besides docker, nitro-cli and, for --verify, nothing more. */
const PROGRAMS = ['bash', 'git', 'jq', 'tar', 'awk', 'cat', 'cp', 'cut', 'dirname', 'mkdir', 'mktemp', 'mv'].concat(
  ...['realpath', 'rm', 'sha256sum', 'sh', 'sort', 'uname', 'wc'],
);

export interface Measurements {
  readonly Measurements: Readonly<Record<string, string>>;
  readonly Build: {
    readonly format: number;
    readonly commit: string;
    readonly base: string;
    readonly configSha256: string;
    readonly machine: string;
    readonly treeSha256: string;
    readonly tree: readonly string[];
    readonly blobs: Readonly<Record<string, string>>;
    readonly versions: Readonly<Record<string, string>>;
  };
}

export interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

export function git(folder: string, ...args: readonly string[]): string {
  const who = ['-c', 'user.name=test', '-c', 'user.email=test@localhost', '-c', 'commit.gpgsign=false'];
  const done = spawnSync('git', ['-C', folder, ...who, ...args], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`git ${args.join(' ')}: ${done.stderr}`);
  return done.stdout.trim();
}

/** A repository of one commit: this one's files as they lie here, so that what is edited is what is tested. */
export function makeCheckout(folder: string): void {
  const listed = git(ROOT, 'ls-files', '--cached', '--others', '--exclude-standard');
  for (const file of listed.split('\n').filter((name) => existsSync(join(ROOT, name)))) {
    if (!/^(test|host)\/./.test(file)) cpSync(join(ROOT, file), join(folder, file));
  }
  // What a build must not see, in a tracked file and in one that is not.
  mkdirSync(join(folder, 'host'));
  writeFileSync(join(folder, 'host', 'secret.ts'), 'export {};\n');
  git(folder, 'init', '--quiet');
  git(folder, 'add', '--all');
  git(folder, 'commit', '--quiet', '--message', 'sources');
  writeFileSync(join(folder, 'enclave', 'src', 'untracked.ts'), 'export {};\n');
}

/** Puts programs of this machine into a folder that then is the whole PATH. */
function linkPrograms(folder: string, names: readonly string[]): void {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  for (const name of names) {
    const found = folders.map((each) => join(each, name)).find((path) => existsSync(path));
    if (found !== undefined) symlinkSync(found, join(folder, name));
  }
}

/** One machine with docker and nitro-cli, as far as nitro-build.sh can tell. */
export class BuildMachine {
  readonly folder = mkdtempSync(join(tmpdir(), 'qv-image-'));
  readonly checkout = join(this.folder, 'checkout');
  readonly blobs = join(this.folder, 'blobs');
  readonly bin = join(this.folder, 'bin');
  readonly #state = join(this.folder, 'state');

  /** @param more programs besides what every build needs */
  constructor(more: readonly string[] = []) {
    for (const path of [this.checkout, this.blobs, this.bin, this.#state]) mkdirSync(path);
    makeCheckout(this.checkout);
    for (const name of ['bzImage', 'cmdline', 'init', 'linuxkit', 'nsm.ko']) this.writeBlob(name, `${name} of 1.5.0\n`);
    linkPrograms(this.bin, [...PROGRAMS, ...more]);
    for (const name of ['docker', 'nitro-cli']) this.#addDouble(name);
  }

  path(...parts: readonly string[]): string {
    return join(this.folder, ...parts);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  writeBlob(name: string, content: string): void {
    writeFileSync(join(this.blobs, name), content);
  }

  /** @returns what puts it back */
  uninstall(program: string): () => void {
    const aside = this.path(program);
    renameSync(join(this.bin, program), aside);
    return () => renameSync(aside, join(this.bin, program));
  }

  #addDouble(name: string): void {
    const script = join(import.meta.dirname, 'doubles', `${name}.ts`);
    writeFileSync(join(this.bin, name), `#!/bin/sh\nexec '${process.execPath}' '${script}' "$@"\n`, { mode: 0o755 });
  }

  behave(behaviour: Behaviour): void {
    writeFileSync(join(this.#state, 'behaviour.json'), JSON.stringify(behaviour));
  }

  /** Archives of the images that docker has. */
  images(): string[] {
    const folder = join(this.#state, 'images');
    return readdirSync(folder).map((name) => join(folder, name));
  }

  /** What was asked of the stand-ins since the last time. */
  takeCalls(): Call[] {
    const file = join(this.#state, 'calls');
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    rmSync(file);
    return lines.map((line) => JSON.parse(line) as Call);
  }

  async build(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    checkout = this.checkout,
  ): Promise<Run> {
    const child = spawn(join(this.bin, 'bash'), [join(checkout, 'nitro-build.sh'), ...args], {
      cwd: this.folder,
      env: { PATH: this.bin, HOME: this.folder, NITRO_CLI_BLOBS: this.blobs, [STATE_VARIABLE]: this.#state, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const status = new Promise<number | null>((resolve) => child.once('close', resolve));
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return { status: await status, stdout, stderr };
  }
}

export function readMeasurements(folder: string): Measurements {
  return JSON.parse(readFileSync(join(folder, 'measurements.json'), 'utf8')) as Measurements;
}
