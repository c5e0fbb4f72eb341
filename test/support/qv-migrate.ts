/** A migration of a whole stack by the commands of qv, as operators run them. */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Address } from '@quantumvault/shared/brands.ts';
import { type JsonAnswer, qvJson } from '../host/cli/call.ts';
import type { Stack } from '../stack/stack.ts';
import { operatorsOf } from './operators.ts';
import type { V2, V2Row } from './v2.ts';

export interface Exported {
  readonly row: V2Row;
  readonly owner: Address;
  readonly change?: Readonly<Record<string, unknown>>;
}

export function exportedLine({ row, owner, change }: Exported): string {
  const { id, userId, key, userColumn, botColumn } = row;
  return JSON.stringify({ id, userId, wallet: key.address, owner, userKey: userColumn, botKey: botColumn, ...change });
}

let count = 0;

/** Files of one migration, and its commands. */
export function migrationOf(stack: Stack, v2: V2, rows: readonly Exported[], requester: Address) {
  const operators = operatorsOf(stack);
  const name = `migration-${++count}`;
  const path = (suffix: string): string => join(stack.dir, `${name}-${suffix}`);
  const [list, parameters, file, report] = [
    path('rows.jsonl'),
    path('v2.json'),
    path('file.json'),
    path('report.json'),
  ];
  writeFileSync(list, rows.map((row) => `${exportedLine(row)}\n`).join(''));
  writeFileSync(parameters, JSON.stringify(v2.parameters()));
  const inputs = ['--rows', list, '--parameters', parameters, '--requester', requester];
  /** A host that is started again has another address. */
  const enclave = (): readonly string[] => ['--url', stack.url, ...operators.deployment, ...operators.images];

  const plan = (...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson('migrate', 'plan', ...inputs, '--out', file, ...enclave(), ...more);
  const sign = (operator: number, ...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson('migrate', 'sign', file, ...inputs, '--operator-key', operators.key(operator), ...enclave(), ...more);

  async function seal(
    secret: Buffer | string = v2.secret.toString('hex'),
    ...more: readonly string[]
  ): Promise<JsonAnswer> {
    const secretFile = path('secret');
    writeFileSync(secretFile, secret, { mode: 0o600 });
    const opened = openSync(secretFile, 'r');
    try {
      const descriptor = ['--secret-fd', String(opened)];
      return await qvJson('migrate', 'seal', file, '--parameters', parameters, ...descriptor, ...enclave(), ...more);
    } finally {
      closeSync(opened);
    }
  }

  const run = (...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson(
      ...['migrate', 'run', file, ...inputs, '--admin', stack.adminSocket, '--per-second', '1000', '--report', report],
      ...more,
    );
  const verify = (...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson(
      ...['migrate', 'verify', ...inputs, '--database', stack.databaseFile, '--scratch', stack.dir],
      ...[...operators.deployment, ...operators.images, ...more],
    );

  /** Everything up to the run, by two operators. */
  async function prepare(): Promise<void> {
    for (const step of [() => plan(), () => sign(1), () => sign(2), () => seal()]) {
      const answer = await step();
      if (!answer.ok) throw new Error(JSON.stringify(answer));
    }
  }

  return { list, parameters, file, report, inputs, enclave, plan, sign, seal, run, verify, prepare, operators };
}
