/** qv rotate row-key: every row under another key, while all goes on. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import type { RowKeyReport } from '../../rotation/row-key.ts';
import { adminCall } from '../admin-client.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Command, Result } from '../command.ts';
import { countText, progressLine } from '../progress.ts';
import { cross, printable, printableTable, type Style, tick } from '../terminal.ts';

const POLL_MILLISECONDS = 500;

export const rotateRowKey: Command = {
  name: 'rotate row-key',
  summary: 'Replace the key that rows of the database are checked with; signing goes on meanwhile.',
  details: [
    'When somebody may have read the host’s memory, which holds that key; else as often as you like. The',
    'enclave makes the next one. All that is stored under the old one is checked and sealed anew, and then',
    'the old one counts no more. The host goes on by itself, also after a restart: interrupting this command',
    'interrupts nothing, and calling it again watches what is under way.',
    'What somebody had edited before is found, named and left as it is; it holds the end up until it is put',
    'back as it was, or --leave-edited gives it up. What was forged under the old key itself is not found.',
  ],
  options: {
    admin: ADMIN_OPTION,
    status: { help: 'begin nothing: say how far it is' },
    'leave-edited': { help: 'end it without the rows that fit neither key; they stay refused for good' },
  },
  run: async (args, { stderr }) => {
    const socket = adminSocket(args);
    if (args.flag('status')) return answer(await adminCall(socket, 'row-key-status', {}));
    const leaveEdited = args.flag('leave-edited');
    const { begun, ...first } = await adminCall(socket, 'row-key-rotate', leaveEdited ? { leaveEdited } : {});
    const line = progressLine(stderr);
    try {
      let report: RowKeyReport = first;
      while (report.state === 'replacing') {
        line.update(progressText(report));
        await sleep(POLL_MILLISECONDS);
        report = await adminCall(socket, 'row-key-status', {});
      }
      return answer(report, begun);
    } finally {
      line.clear();
    }
  },
};

const progressText = ({ examined, resealed }: RowKeyReport): string =>
  `Replacing the row key: ${countText(examined)} records examined, ${countText(resealed)} sealed anew`;

const VERDICTS: Readonly<Record<RowKeyReport['state'], string>> = {
  current: 'All is under this row key.',
  replacing: 'The row key is being replaced.',
  edited: 'The row key is being replaced, and rows that fit neither key hold it up.',
  unknown: 'This host has no row key.',
};

function answer(report: RowKeyReport, begun?: boolean): Result {
  const { state, fault } = report;
  const needsAttention = state === 'edited' || state === 'unknown' || fault !== null;
  return {
    exit: needsAttention ? 'warning' : 'ok',
    json: { ...report, ...(begun !== undefined && { begun }) },
    text: (style) => [
      `${needsAttention ? cross(style) : tick(style)} ${VERDICTS[state]}`,
      ...printableTable(rowsOf(report), style),
      ...nextSteps(report, style),
    ],
  };
}

function rowsOf({ key, since, replaces, examined, resealed, edited, editedCount, fault }: RowKeyReport) {
  const rows: (readonly [string, string])[] = [
    ['Row key', `${key ?? 'none'}${since === null ? '' : `, since ${since}`}`],
  ];
  if (replaces !== null) rows.push(['Replaces', replaces]);
  rows.push(['Records', `${countText(examined)} examined, ${countText(resealed)} sealed anew`]);
  for (const wallet of edited) rows.push(['Edited', wallet]);
  if (editedCount > edited.length) rows.push(['Edited', `and ${countText(editedCount - edited.length)} more`]);
  if (fault !== null) rows.push(['Waits', `${fault}: ${ERRORS[fault].meaning}`]);
  return rows;
}

function nextSteps({ state, editedCount }: RowKeyReport, style: Style): readonly string[] {
  if (state !== 'edited') return [];
  const what = editedCount === 1 ? 'Put that row back as it was' : 'Put these rows back as they were';
  return [style('dim', printable(`${what}, from a backup; or --leave-edited, and they stay refused.`))];
}
