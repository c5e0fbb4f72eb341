/**
 * A migration on its way through the operators' hands, as a file:
 *
 *   {"format": "qv/migration-file/v1", "statement": {"bytes", "signatures": [{"key", "signature"}, …]}, "sealed"?: base64}
 *
 * Nothing in it is believed before it is compared: with the rows and parameters that each operator has, and with the
 * enclave that proves itself.
 */
import { fromBase64, toBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type MigrationStatement, migrationStatementCodec } from '@quantumvault/shared/evidence/migration.ts';
import type { OperatorSigned } from '@quantumvault/shared/evidence/succession.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { operatorSignedJson, readOperatorSigned } from '../../admin/succession-json.ts';
import { writeAtomically } from '../atomic-file.ts';
import { readInput } from '../input.ts';

const FORMAT = 'qv/migration-file/v1';

export interface MigrationFile {
  readonly signed: OperatorSigned;
  readonly statement: MigrationStatement;
  /** The v2 secret, sealed to the boot that the statement names. */
  readonly sealed?: Uint8Array;
}

/** @throws QvError input_unreadable, json_malformed, field_malformed, base64_malformed, message_malformed, … */
export function readMigrationFile(path: string): MigrationFile {
  return parseMigrationFile(readInput(path));
}

/** @throws QvError the same but for the first */
export function parseMigrationFile(bytes: Uint8Array): MigrationFile {
  const fields = new JsonFields(parseStrictJson(bytes));
  if (fields.text('format') !== FORMAT)
    throw new QvError('field_malformed', { path: 'format', value: `not ${FORMAT}` });
  const signed = readOperatorSigned(fields.required('statement'), 'statement');
  const sealed = fields.optional('sealed') === undefined ? undefined : fromBase64(fields.text('sealed'), 'sealed');
  fields.end();
  if (sealed && (sealed.length < LIMITS.sealedMigrationMinBytes || sealed.length > LIMITS.sealedMigrationBytes))
    throw fields.fault('sealed', `${sealed.length} bytes`);
  const statement = decodeAs(migrationStatementCodec, signed.bytes, 'statement');
  return { signed, statement, ...(sealed && { sealed }) };
}

export async function writeMigrationFile(
  path: string,
  { signed, sealed }: Omit<MigrationFile, 'statement'>,
): Promise<void> {
  const file = {
    format: FORMAT,
    statement: operatorSignedJson(signed),
    ...(sealed && { sealed: toBase64(sealed) }),
  };
  await writeAtomically(path, `${JSON.stringify(file, undefined, 2)}\n`);
}
