/** qv migrate plan: the list of rows of v2, looked through, and the statement that operators sign. */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type MigrationStatement, migrationStatementCodec } from '@quantumvault/shared/evidence/migration.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { writeAtomically } from '../atomic-file.ts';
import type { Arguments, Command, OptionSpec } from '../command.ts';
import { readInput } from '../input.ts';
import { writeMigrationFile } from '../migrate/file.ts';
import { RowList } from '../migrate/list.ts';
import {
  ENCLAVE_OPTIONS,
  faultLines,
  type ReadInputs,
  ROWS_OPTIONS,
  readRowInputs,
  requireImportKey,
} from '../migrate/options.ts';
import { countText } from '../progress.ts';
import { NOT_AFTER, notAfter, untilText } from '../succession/not-after.ts';
import { attestedSuccessor } from '../succession/successor.ts';
import { deploymentOption, warningLines } from '../succession/words.ts';
import { cross, printable, table, tick } from '../terminal.ts';

const { deployment, url, ...images } = ENCLAVE_OPTIONS;
const optional = ({ required: _, ...spec }: OptionSpec): OptionSpec => spec;

export const migratePlan: Command = {
  name: 'migrate plan',
  summary: 'Look through rows of QuantumVault v2, and make the statement that operators sign to migrate them.',
  details: [
    'Without --out nothing is asked and nothing is written: every row is read, and all that are malformed or',
    'share an id, a wallet or a ciphertext are named. With --out the enclave proves itself, and the statement is',
    'for that boot, its import key, these rows and these parameters. Each operator makes the list from an',
    'export of his own; what is signed is its hash. --write-good keeps the lines that are right.',
  ],
  options: {
    ...ROWS_OPTIONS,
    'write-good': { value: '<file>', help: 'write the lines without a fault there, as they are' },
    out: { value: '<file>', help: 'where the statement is written; with it, the options of the enclave' },
    deployment: optional(deployment),
    url: optional(url),
    ...images,
    'not-after': NOT_AFTER,
  },
  run: async (args) => {
    const inputs = await readRowInputs(args);
    const { rows, faults } = inputs;
    const good = args.optional('write-good');
    if (good !== undefined) await writeGood(args, good, inputs);
    const list = new RowList(rows.map(({ row }) => row));
    const out = args.optional('out');
    const planned =
      out === undefined || faults.length > 0 || rows.length === 0 ? undefined : await plan(args, out, inputs, list);
    const summary = {
      rows: rows.length,
      users: new Set(rows.map(({ row }) => row.userId)).size,
      owners: new Set(rows.map(({ row }) => row.owner)).size,
    };
    const isGood = faults.length === 0 && rows.length > 0;
    return {
      exit: isGood ? 'ok' : 'failed',
      json: {
        ...summary,
        root: toHex(list.root),
        faults,
        ...(planned && { out, statement: statementJson(planned.statement), warnings: planned.warnings }),
      },
      text: (style) => [
        ...warningLines(planned?.warnings ?? [], style),
        isGood
          ? `${tick(style)} ${style('bold', `${countText(rows.length)} rows`)}, all of the right form.`
          : `${cross(style)} ${countText(faults.length)} rows are not right, ${countText(rows.length)} are:`,
        ...faultLines(faults, style),
        ...table(
          [
            ['Users', countText(summary.users)],
            ['Owners', countText(summary.owners)],
            ['Root', toHex(list.root)],
            ...(planned ? statementRows(planned.statement) : []),
            ...(planned && out !== undefined ? ([['Written', printable(out)]] as const) : []),
          ],
          style,
        ),
        ...(planned ? ['Next: qv migrate sign, by each operator; then qv migrate seal, by one.'] : []),
      ],
    };
  },
};

async function plan(args: Arguments, out: string, { v2 }: ReadInputs, list: RowList) {
  if (args.optional('url') === undefined)
    throw new QvError('usage_invalid', { value: '--out needs --url and --deployment' });
  const { attested, warnings } = await attestedSuccessor(args);
  const statement: MigrationStatement = {
    deployment: deploymentOption(args),
    boot: attested.boot,
    importKey: requireImportKey(attested),
    notAfter: notAfter(args),
    parameters: v2.parameters,
    rows: list.rows.length,
    root: list.root,
  };
  await writeMigrationFile(out, { signed: { bytes: encodeAs(migrationStatementCodec, statement), signatures: [] } });
  return { statement, warnings };
}

export function statementJson({ notAfter: until, importKey, root, parameters, ...facts }: MigrationStatement) {
  const { serverKey, userKey, botKeyKey, botKey } = parameters;
  return {
    ...facts,
    importKey: toHex(importKey),
    notAfter: new Date(until).toISOString(),
    root: toHex(root),
    methods: { serverKey: serverKey.method, userKey, botKeyKey: botKeyKey.method, botKey: botKey.encoding },
  };
}

export function statementRows({ deployment: name, boot, notAfter: until, rows }: MigrationStatement) {
  return [
    ['Deployment', printable(name)],
    ['Boot', boot],
    ['Rows', countText(rows)],
    ['Counts until', untilText(until)],
  ] as const;
}

async function writeGood(args: Arguments, path: string, { rows }: ReadInputs): Promise<void> {
  const lines = new TextDecoder().decode(readInput(args.text('rows'), Number.MAX_SAFE_INTEGER)).split('\n');
  await writeAtomically(path, rows.map(({ line }) => `${lines[line - 1]}\n`).join(''));
}
