/** qv migrate run: the rows of a signed and sealed migration become wallets, or are only opened and compared. */
import { QvError } from '@quantumvault/shared/errors.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import { writeAtomically } from '../atomic-file.ts';
import type { Arguments, Command } from '../command.ts';
import { readMigrationFile } from '../migrate/file.ts';
import { ROWS_OPTIONS, readRowInputs, requireList } from '../migrate/options.ts';
import { countsOf, EXPOSED, MAX_ROWS_PER_SECOND, type RowReport, runMigration } from '../migrate/run.ts';
import { countText, progressBar } from '../progress.ts';
import { publishLog } from '../succession/moves.ts';
import { cross, printable, type Style, tick } from '../terminal.ts';
import { oneOperand } from '../text-input.ts';

const DEFAULT_ROWS_PER_SECOND = 20;
const SHOWN = 20;

export const migrateRun: Command = {
  name: 'migrate run',
  summary: 'Have the enclave migrate the rows that operators signed; again, it goes on where it stopped.',
  details: [
    'Rows whose wallets are there already are left alone, so that it may be interrupted anywhere. An enclave',
    'that was restarted meanwhile refuses: plan, sign and seal for its new boot, and run again. With --dry-run',
    'every row is opened in the enclave and its address compared, and nothing is made. No wallet signs before its',
    'owner has enabled a policy. At the end the log is published. Exits 1 when a row failed or was left.',
  ],
  operands: '<migration file>',
  options: {
    admin: ADMIN_OPTION,
    ...ROWS_OPTIONS,
    'dry-run': { help: 'open and compare each row in the enclave; make nothing' },
    'per-second': { value: '<n>', help: `at most so many rows a second; default ${DEFAULT_ROWS_PER_SECOND}` },
    report: { value: '<file>', help: 'write the report there as well, as JSON: every row, certificates included' },
  },
  run: async (args, { stderr }) => {
    const file = readMigrationFile(oneOperand(args, 'migration file'));
    const [socket, rowsPerSecond, dryRun] = [adminSocket(args), rateOption(args), args.flag('dry-run')];
    const list = requireList(await readRowInputs(args), file.statement);
    const amounts = (done: number, total: number): string => `${countText(done)} of ${countText(total)} rows`;
    const bar = progressBar(stderr, dryRun ? 'Opening' : 'Migrating', { amounts });
    const { rows, stopped } = await runMigration({
      socket,
      file,
      list,
      dryRun,
      rowsPerSecond,
      onProgress: bar.update,
    }).finally(bar.clear);
    const counts = countsOf(rows);
    const unpublished = counts.migrated === 0 ? undefined : await publishLog(socket);
    const isDone = counts.failed === 0 && counts.left === 0 && unpublished === undefined;
    const json = {
      dryRun,
      counts,
      published: unpublished === undefined,
      ...(stopped !== undefined && { stopped }),
      ...(unpublished !== undefined && { unpublished }),
      ...(!dryRun && { warning: EXPOSED }),
      rows,
    };
    const report = args.optional('report');
    if (report !== undefined) await writeAtomically(report, `${JSON.stringify(json, undefined, 2)}\n`, 0o600);
    return {
      exit: isDone ? 'ok' : 'failed',
      json,
      text: (style) => [
        `${isDone ? tick(style) : cross(style)} ${style('bold', countsText(counts))}`,
        ...failureLines(rows, style),
        ...(stopped === undefined ? [] : [style('red', `Stopped: ${stopped}. Run it again when that is mended.`)]),
        ...(unpublished === undefined ? [] : [style('red', `The log is not published: ${unpublished}.`)]),
        ...(report === undefined ? [] : [`Report: ${printable(report)}`]),
        ...(dryRun ? [] : [style('yellow', EXPOSED), 'Next: qv migrate verify; then each owner enables a policy.']),
      ],
    };
  },
};

function countsText({ migrated, there, opens, failed, left }: ReturnType<typeof countsOf>): string {
  const parts = [
    [migrated, 'migrated'],
    [there, 'there already'],
    [opens, 'would be migrated'],
    [failed, 'failed'],
    [left, 'left'],
  ] as const;
  const told = parts.filter(([count]) => count > 0).map(([count, what]) => `${countText(count)} ${what}`);
  return told.length === 0 ? 'no rows' : told.join(', ');
}

function failureLines(rows: readonly RowReport[], style: Style): readonly string[] {
  const failed = rows.filter(({ outcome }) => outcome === 'failed');
  const lines = failed.slice(0, SHOWN).map(({ id, wallet, code, path, value }) => {
    const facts = [path, value].filter((fact) => fact !== undefined).map(printable);
    return style(
      'red',
      `  row ${printable(id)}, ${wallet}: ${code}${facts.length === 0 ? '' : ` (${facts.join(': ')})`}`,
    );
  });
  return failed.length > SHOWN
    ? [...lines, `  … and ${failed.length - SHOWN} more; --report or --json lists all`]
    : lines;
}

/** @throws QvError usage_invalid */
function rateOption(args: Arguments): number {
  const text = args.optional('per-second');
  if (text === undefined) return DEFAULT_ROWS_PER_SECOND;
  const rate = /^[1-9]\d{0,3}$/.test(text) ? Number(text) : 0;
  if (rate < 1 || rate > MAX_ROWS_PER_SECOND)
    throw new QvError('usage_invalid', { value: `--per-second is a number from 1 to ${MAX_ROWS_PER_SECOND}` });
  return rate;
}
