/** `qv import` as its owner runs it: a process, the keys in files that he alone may read, one of them by a descriptor. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Address } from '@quantumvault/shared/brands.ts';
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { measurements } from '../stack/scenario.ts';
import type { Stack } from '../stack/stack.ts';
import { noteCode } from './codes-seen.ts';
import type { OutsideKey } from './import-kit.ts';

const QV = join(import.meta.dirname, '..', '..', 'host', 'src', 'cli', 'qv.ts');

export interface QvImport {
  readonly key: OutsideKey;
  readonly owner: OutsideKey;
  readonly requester: Address;
  /** Which images are believed, in place of the stack's. */
  readonly images?: readonly string[];
  /** Further arguments. */
  readonly more?: readonly string[];
  /** What the key's descriptor yields; default a keypair file of the Solana CLI. */
  readonly written?: string;
  /** Handed the statement; what it returns goes to standard input. Then the owner is named by address alone. */
  readonly signElsewhere?: (statement: string) => string;
}

export interface QvAnswer {
  readonly ok: boolean;
  readonly exit: number;
  readonly error?: { readonly code: string; readonly path?: string; readonly value?: string };
  readonly [member: string]: unknown;
}

/** As `solana-keygen` writes it. */
function keypairFile(
  stack: Stack,
  { seed, address }: OutsideKey,
  text = JSON.stringify([...seed, ...addressBytes(address)]),
): string {
  const path = join(stack.dir, `${address}.json`);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

export async function qvImport(stack: Stack, wanted: QvImport): Promise<QvAnswer> {
  const { key, owner, requester, images, more = [], written, signElsewhere } = wanted;
  const pcrs = join(stack.dir, 'import-pcrs.json');
  const root = join(stack.dir, 'import-root.pem');
  writeFileSync(pcrs, JSON.stringify(measurements(stack.pcrs)));
  writeFileSync(root, stack.nsmRootPem);
  const file = openSync(keypairFile(stack, key, written), 'r');
  const whose = signElsewhere === undefined ? ['--owner-key', keypairFile(stack, owner)] : ['--owner', owner.address];
  const child = spawn(
    process.execPath,
    [
      ...[QV, 'import', '--json', '--url', stack.url, '--deployment', stack.deployment, ...whose],
      ...['--wallet', key.address, '--requester', requester, '--key-fd', '3'],
      ...[...(images ?? ['--pcrs', pcrs]), '--unsafe-trusted-root', root, ...more],
    ],
    { stdio: ['pipe', 'pipe', 'pipe', file], env: { PATH: process.env['PATH'], NODE_NO_WARNINGS: '1' } },
  );
  closeSync(file);
  const { stdin, stdout, stderr } = child;
  if (stdin === null || stdout === null || stderr === null) throw new Error('qv did not start');
  let said = '';
  stderr.on('data', (chunk: Buffer) => {
    said += chunk;
    const statement = /\n\n(qv\/import-wallet.*)\n\nSignature/s.exec(said)?.[1];
    if (statement !== undefined && signElsewhere !== undefined) stdin.end(`${signElsewhere(statement)}\n`);
  });
  const ended = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? -1)));
  const out = await text(stdout);
  const exit = await ended;
  if (signElsewhere === undefined && said !== '') throw new Error(`qv wrote to standard error: ${said}`);
  const answer = JSON.parse(out) as QvAnswer;
  if (answer.exit !== exit) throw new Error(`exit ${exit}, but ${out}`);
  if (answer.error !== undefined) noteCode(answer.error.code);
  return answer;
}
