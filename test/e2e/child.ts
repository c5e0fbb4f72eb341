/** The demo and `npm start` as children of a test: what they print, how they end, and whether anything stays behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const REPOSITORY = join(import.meta.dirname, '..', '..');
const STACK = join(REPOSITORY, 'test', 'stack');

export interface Child {
  readonly process: ChildProcess;
  /** So far. */
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Exit code or signal. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Where it makes its temporary files: empty when it has cleaned up. */
  readonly folder: string;
  /** Processes of the stack that still run: each has the folder in its arguments. */
  readonly survivors: () => readonly string[];
  readonly remove: () => void;
}

/** `node test/stack/<script>` with a temporary folder of its own, by which its descendants are recognised. */
export function startScript(script: string, args: readonly string[] = [], environment: NodeJS.ProcessEnv = {}): Child {
  const { NODE_COMPILE_CACHE } = process.env;
  return startProgram(process.execPath, [join(STACK, script), ...args], { NODE_COMPILE_CACHE, ...environment });
}

/** `npm run -s <name>`, as somebody types it. */
export function startNpm(name: string): Child {
  // npm's own Node would keep compiled code in the temporary folder.
  return startProgram('npm', ['run', '-s', name], { HOME: process.env['HOME'], NODE_DISABLE_COMPILE_CACHE: '1' });
}

function startProgram(program: string, args: readonly string[], environment: NodeJS.ProcessEnv): Child {
  const folder = mkdtempSync(join(tmpdir(), 'qv-e2e-'));
  const child = spawn(program, args, {
    cwd: REPOSITORY,
    env: { PATH: process.env['PATH'], TMPDIR: folder, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  return {
    process: child,
    stdout: () => stdout,
    stderr: () => stderr,
    // 'close' comes after all output, 'exit' may not.
    ended: new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal ?? 1))),
    folder,
    survivors: () => commandLines().filter((line) => line.includes(folder)),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Of every process that this user may see. */
function commandLines(): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')];
      } catch {
        // It ended while we looked.
        return [];
      }
    });
}
