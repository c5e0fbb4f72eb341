/** qv as operators call it: a process of its own, its answer in JSON. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';

const QV = join(import.meta.dirname, '..', '..', '..', 'host', 'src', 'cli', 'qv.ts');
const MAX_BYTES = 16 * 1024 * 1024;

export interface QvAnswer {
  readonly ok: boolean;
  readonly exit: number;
  readonly error?: { readonly code: string; readonly path?: string; readonly value?: string };
  readonly [key: string]: unknown;
}

/** @throws Error when qv prints anything else than one JSON object */
export function runQv(argv: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<QvAnswer> {
  const { PATH, HOME, TMPDIR, NODE_COMPILE_CACHE } = process.env;
  const env = { PATH, HOME, TMPDIR, NODE_COMPILE_CACHE, NODE_NO_WARNINGS: '1', ...environment };
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [QV, ...argv, '--json'],
      { env, maxBuffer: MAX_BYTES, encoding: 'utf8' },
      (_, stdout, stderr) => {
        try {
          resolve(JSON.parse(stdout) as QvAnswer);
        } catch (cause) {
          reject(new Error(`qv ${argv.slice(0, 2).join(' ')}: ${stdout}${stderr}`, { cause }));
        }
      },
    );
  });
}

/** @throws Error when qv did not exit with 0 */
export async function requireQv(argv: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<QvAnswer> {
  const answer = await runQv(argv, environment);
  if (!answer.ok) throw new Error(`qv ${argv.slice(0, 2).join(' ')} failed: ${JSON.stringify(answer)}`);
  return answer;
}
