/** One process of the local stack: started, waited for, stopped, and never left behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { imageEnvironment } from '../support/image-command.ts';

/** Longer than a host may take to drain its requests and then its backlog. */
const STOP_MS = 25_000;

export interface StackProcess {
  readonly name: string;
  readonly pid: number;
  /** What it said of itself in its first line. */
  readonly ready: Readonly<Record<string, unknown>>;
  /** Resolves with exit code or signal. */
  readonly exited: Promise<number | NodeJS.Signals>;
  stop(): Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

/** Starts `node <args>` with logs to a file, and resolves when it printed its ready line. */
export async function startProcess(name: string, args: readonly string[], logFile: string): Promise<StackProcess> {
  const log = openSync(logFile, 'a');
  // A pipe as standard input: its end tells the child that the parent is gone, however the parent ended.
  const child: ChildProcess = spawn(process.execPath, [...args], {
    stdio: ['pipe', 'pipe', log],
    env: childEnvironment(name),
  });
  closeSync(log);
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 1));
  });
  const { stdout, pid } = child;
  if (stdout === null || pid === undefined) throw new Error(`${name} did not start`);
  const lines = createInterface({ input: stdout });
  const ready = await Promise.race([
    new Promise<Record<string, unknown>>((resolve, reject) => {
      lines.once('line', (line) => {
        try {
          resolve(JSON.parse(line) as Record<string, unknown>);
        } catch {
          reject(new Error(`${name} said something else than its ready line; see ${logFile}`));
        }
      });
    }),
    exited.then((how) => {
      throw new Error(`${name} ended at its start (${how}):\n${readFileSync(logFile, 'utf8').slice(-2000)}`);
    }),
  ]);
  return {
    name,
    pid,
    ready,
    exited,
    kill: (signal) => void child.kill(signal),
    stop: async () => {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await exited;
      clearTimeout(timer);
    },
  };
}

/** What children need of the environment: no key is ever in it. */
function childEnvironment(name: string): NodeJS.ProcessEnv {
  const { PATH, TMPDIR, HOME, NODE_COMPILE_CACHE } = process.env;
  return {
    ...(PATH && { PATH }),
    ...(TMPDIR && { TMPDIR }),
    ...(HOME && { HOME }),
    // Enclaves start as their image does.
    ...(name.startsWith('enclave') ? imageEnvironment() : NODE_COMPILE_CACHE && { NODE_COMPILE_CACHE }),
    NODE_NO_WARNINGS: '1',
  };
}
