/** qv migrate sign: one operator signs the migration of exactly these rows, into an enclave that has proved itself. */

import { toHex } from '@quantumvault/shared/bytes.ts';
import type { OperatorSigned } from '@quantumvault/shared/evidence/succession.ts';
import type { Command } from '../command.ts';
import { readMigrationFile, writeMigrationFile } from '../migrate/file.ts';
import { attestedFor, ENCLAVE_OPTIONS, ROWS_OPTIONS, readRowInputs, requireList } from '../migrate/options.ts';
import { signersOf } from '../succession/lease-text.ts';
import { requireUsable } from '../succession/not-after.ts';
import { OPERATOR_KEY, type Operator, operatorKey } from '../succession/operator-key.ts';
import { warningLines } from '../succession/words.ts';
import { printable, table, tick } from '../terminal.ts';
import { oneOperand } from '../text-input.ts';
import { statementJson, statementRows } from './migrate-plan.ts';

export const migrateSign: Command = {
  name: 'migrate sign',
  summary: 'Sign, as an operator, the migration of exactly these rows of v2 into an enclave that has proved itself.',
  details: [
    'The list is made again from the rows and parameters that this operator has: another one is not signed. Who',
    'owns which wallet is what the rows say, so have them from the v2 database, and know who exported them. Rows',
    'that were migrated into another boot have to be left out: this one does not know of them.',
  ],
  operands: '<migration file>',
  options: { ...ROWS_OPTIONS, ...ENCLAVE_OPTIONS, 'operator-key': OPERATOR_KEY },
  run: async (args) => {
    const path = oneOperand(args, 'migration file');
    const { signed, statement, ...rest } = readMigrationFile(path);
    const list = requireList(await readRowInputs(args), statement);
    requireUsable(statement.notAfter);
    const operator = operatorKey(args.text('operator-key'));
    const { warnings } = await attestedFor(args, statement);
    const withOwn = withSignature(signed, operator);
    await writeMigrationFile(path, { signed: withOwn, ...rest });
    const signers = signersOf(withOwn).map(({ key, holds }) => ({ key, holds }));
    return {
      exit: 'ok',
      json: {
        signed: true,
        operator: operator.address,
        statement: statementJson(statement),
        signatures: signers,
        warnings,
      },
      text: (style) => [
        ...warningLines(warnings, style),
        `${tick(style)} ${style('bold', 'Signed')} by ${operator.address}.`,
        ...table(
          [
            ...statementRows(statement),
            ['Root', toHex(list.root)],
            ['Signatures', String(signers.filter(({ holds }) => holds).length)],
            ['Written', printable(path)],
          ],
          style,
        ),
      ],
    };
  },
};

/** Once, however often he signs; what does not hold makes room. */
function withSignature({ bytes, signatures }: OperatorSigned, operator: Operator): OperatorSigned {
  const own = operator.sign(bytes);
  const others = signersOf({ bytes, signatures })
    .filter(({ key, holds }) => holds && key !== own.key)
    .map(({ key, signature }) => ({ key, signature }));
  return { bytes, signatures: [...others, own] };
}
