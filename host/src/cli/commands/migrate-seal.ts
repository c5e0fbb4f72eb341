/** qv migrate seal: the secret of the v2 server, sealed to one boot for one statement. */

import { QvError } from '@quantumvault/shared/errors.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { Arguments, Command } from '../command.ts';
import type { SecretSource } from '../import/key-source.ts';
import { readInput } from '../input.ts';
import { readMigrationFile, writeMigrationFile } from '../migrate/file.ts';
import { attestedFor, ENCLAVE_OPTIONS } from '../migrate/options.ts';
import { parseV2Parameters } from '../migrate/parameters.ts';
import { sealV2Secret } from '../migrate/secret/seal-secret.ts';
import { requireUsable } from '../succession/not-after.ts';
import { warningLines } from '../succession/words.ts';
import { printable, table, tick } from '../terminal.ts';
import { oneOperand } from '../text-input.ts';
import { statementRows } from './migrate-plan.ts';

export const migrateSeal: Command = {
  name: 'migrate seal',
  summary: 'Seal the secret of the v2 server to an enclave that has proved itself, for one signed migration.',
  details: [
    'The enclave proves itself before the secret is read; it is sealed to a key that was born in that boot, for',
    'this statement alone. It comes from a private file, an open descriptor or the terminal, never from the',
    'command line or the environment. An enclave that was restarted needs a new statement, and it sealed anew.',
  ],
  operands: '<migration file>',
  options: {
    parameters: { value: '<file>', help: 'how this v2 encrypted: says how the secret is spelled', required: true },
    'secret-fd': { value: '<n>', help: 'read the secret from this open descriptor; default: asked on the terminal' },
    'secret-file': { value: '<path>', help: 'read the secret from this file, which only its owner may read' },
    ...ENCLAVE_OPTIONS,
  },
  readsKey: true,
  run: async (args) => {
    const path = oneOperand(args, 'migration file');
    const source = sourceOption(args);
    const { secretEncoding } = parseV2Parameters(readInput(args.text('parameters')));
    const { signed, statement } = readMigrationFile(path);
    requireUsable(statement.notAfter);
    const { importKey, warnings } = await attestedFor(args, statement);
    const sealed = await sealV2Secret(source, secretEncoding, { statementHash: sha256(signed.bytes), importKey });
    await writeMigrationFile(path, { signed, sealed });
    return {
      exit: 'ok',
      json: { sealed: true, boot: statement.boot, warnings },
      text: (style) => [
        ...warningLines(warnings, style),
        `${tick(style)} ${style('bold', 'Sealed')}, to an enclave that has proved itself. Next: qv migrate run.`,
        ...table([...statementRows(statement), ['Written', printable(path)]], style),
      ],
    };
  },
};

/** @throws QvError usage_invalid */
function sourceOption(args: Arguments): SecretSource {
  const [descriptor, file] = [args.optional('secret-fd'), args.optional('secret-file')];
  if (descriptor !== undefined && file !== undefined)
    throw new QvError('usage_invalid', { value: '--secret-fd or --secret-file, not both' });
  if (file !== undefined) return { file };
  if (descriptor === undefined) return 'terminal';
  if (!/^(?:0|[1-9]\d{0,3})$/.test(descriptor))
    throw new QvError('usage_invalid', { value: '--secret-fd is the number of an open descriptor' });
  return { descriptor: Number(descriptor) };
}
