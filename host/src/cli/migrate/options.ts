/** What the commands of a migration share: the rows and parameters that each operator has, and who may be believed. */
import type { Address } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type MigrationStatement, v2Parameters } from '@quantumvault/shared/evidence/migration.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { AttestedBoot } from '../../client/attestation.ts';
import type { Arguments, OptionSpec } from '../command.ts';
import { readInput } from '../input.ts';
import { attestedSuccessor, SUCCESSOR_OPTIONS } from '../succession/successor.ts';
import { DEPLOYMENT, walletOptions } from '../succession/words.ts';
import { printable, type Style } from '../terminal.ts';
import { RowList } from './list.ts';
import { parseV2Parameters, type V2File } from './parameters.ts';
import { type ReadRows, type RowFault, readRows } from './rows.ts';

export const ROWS_OPTIONS = {
  rows: { value: '<file>', help: 'the rows of v2, exported as JSON Lines', required: true },
  parameters: { value: '<file>', help: 'how this v2 encrypted: qv/v2-parameters/v1', required: true },
  requester: {
    value: '<address>',
    help: `who may ask for signatures of rows that name nobody, up to ${LIMITS.requesters}; the policy decides`,
    multiple: true,
  },
} as const satisfies Record<string, OptionSpec>;

export const ENCLAVE_OPTIONS = {
  deployment: DEPLOYMENT,
  ...SUCCESSOR_OPTIONS,
  url: { value: '<url>', help: 'the host’s HTTP address, for the live attestation of its enclave', required: true },
} as const satisfies Record<string, OptionSpec>;

/** On average: a row with sixteen requesters has some 1,300. */
const LINE_BYTES = 2 * 1024;

export interface ReadInputs extends ReadRows {
  readonly v2: V2File;
}

/** @throws QvError input_unreadable, and what a parameter that is wrong throws */
export async function readRowInputs(args: Arguments): Promise<ReadInputs> {
  const v2 = parseV2Parameters(readInput(args.text('parameters')));
  const requesters: readonly Address[] = walletOptions(args, 'requester') ?? [];
  return { v2, ...(await readRows(exportedLines(args.text('rows')), v2, requesters)) };
}

/** Of a file that does not end with a line break the last line counts, too. @throws QvError input_unreadable, body_too_large */
function exportedLines(path: string): Iterable<Uint8Array> {
  const bytes = readInput(path, LIMITS.migrationRows * LINE_BYTES);
  const lines: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; ) {
    const found = bytes.indexOf(10, start);
    const end = found < 0 ? bytes.length : found;
    lines.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return lines;
}

/**
 * The list that the statement is about, made from this operator's own rows.
 * @throws QvError evidence_mismatch, migration_rows_faulty
 */
export function requireList({ rows, faults, v2 }: ReadInputs, statement: MigrationStatement): RowList {
  requireFaultless(faults);
  const list = new RowList(rows.map(({ row }) => row));
  const encoded = (parameters: MigrationStatement['parameters']): Uint8Array => encodeAs(v2Parameters, parameters);
  if (!equalBytes(encoded(statement.parameters), encoded(v2.parameters)))
    throw new QvError('evidence_mismatch', { path: 'parameters', value: 'the statement has others' });
  if (list.rows.length !== statement.rows || !equalBytes(list.root, statement.root))
    throw new QvError('evidence_mismatch', { path: 'rows', value: 'the statement is about another list' });
  return list;
}

/** @throws QvError migration_rows_faulty */
export function requireFaultless(faults: readonly RowFault[]): void {
  const [first] = faults;
  if (first !== undefined)
    throw new QvError('migration_rows_faulty', {
      path: `line ${first.line}`,
      value: `${faults.length} rows; qv migrate plan lists them`,
    });
}

/** The enclave that the statement names, live. @throws QvError succession_mismatch, evidence_mismatch, attestation_*, … */
export async function attestedFor(
  args: Arguments,
  statement: MigrationStatement,
): Promise<{ readonly attested: AttestedBoot; readonly importKey: Uint8Array; readonly warnings: readonly string[] }> {
  const { attested, warnings } = await attestedSuccessor(args, statement.boot);
  const importKey = requireImportKey(attested);
  if (!equalBytes(importKey, statement.importKey)) throw new QvError('evidence_mismatch', { path: 'importKey' });
  if (args.text('deployment') !== statement.deployment)
    throw new QvError('evidence_mismatch', { path: 'deployment', value: statement.deployment });
  return { attested, importKey, warnings };
}

/** @throws QvError attestation_user_data_mismatch */
export function requireImportKey({ userData }: AttestedBoot): Uint8Array {
  if (userData.importKey !== undefined) return userData.importKey;
  throw new QvError('attestation_user_data_mismatch', { path: 'userData.importKey', value: 'none' });
}

const SHOWN = 20;

export function faultLines(faults: readonly RowFault[], style: Style): readonly string[] {
  const lines = faults.slice(0, SHOWN).map(({ line, id, code, path, value }) => {
    const facts = [path, value].filter((fact) => fact !== undefined).map(printable);
    const why = facts.length === 0 ? '' : ` (${facts.join(': ')})`;
    return style('red', `  line ${line}${id === undefined ? '' : `, row ${printable(id)}`}: ${code}${why}`);
  });
  return faults.length > SHOWN ? [...lines, `  … and ${faults.length - SHOWN} more; --json lists all`] : lines;
}
