/** Calls qv in this process, as the binary would. */
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { runCli } from '@quantumvault/host/cli/run.ts';
import { noteCode } from '../../support/codes-seen.ts';

export interface Called {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function qv(...argv: readonly string[]): Promise<Called> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const exit = await runCli(argv, { stdout, stderr });
  stdout.end();
  stderr.end();
  return { exit, stdout: await text(stdout), stderr: await text(stderr) };
}

export interface JsonAnswer {
  readonly ok: boolean;
  readonly exit: number;
  readonly error?: { readonly code: string; readonly meaning: string; readonly path?: string; readonly value?: string };
  readonly [key: string]: unknown;
}

/** With --json: exactly one object on standard output, and nothing on the other. */
export async function qvJson(...argv: readonly string[]): Promise<JsonAnswer> {
  const { exit, stdout, stderr } = await qv(...argv, '--json');
  if (stderr !== '') throw new Error(`qv --json wrote to standard error: ${stderr}`);
  if (!/^[^\n]+\n$/.test(stdout)) throw new Error(`qv --json wrote something else than one line: ${stdout}`);
  const answer = JSON.parse(stdout) as JsonAnswer;
  if (answer.exit !== exit || answer.ok !== (exit === 0)) throw new Error(`${stdout} but exit ${exit}`);
  if (answer.error !== undefined) noteCode(answer.error.code);
  return answer;
}
