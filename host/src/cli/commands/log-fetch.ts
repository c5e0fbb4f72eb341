/** qv log fetch: a copy of everything a host publishes about its decisions. */

import type { Command, Result } from '../command.ts';
import { type CopyReport, copyLogs } from '../log-copy.ts';
import { openLogs } from '../log-source.ts';
import { countText, inLeaves, progressBar } from '../progress.ts';
import { cross, printable, type Style, table, tick } from '../terminal.ts';
import { oneOperand } from '../text-input.ts';

export const logFetch: Command = {
  name: 'log fetch',
  summary: 'Copy the logs of a host into a folder: checkpoints, leaves, tiles, policies. Goes on where it stopped.',
  details: [
    'The layout is the host’s own below /v1/log/ (C2SP tlog-tiles), for qv verify log and for other',
    'tools. Complete tiles that are there are not fetched again. Each checkpoint is verified under its',
    'boot’s key and written last; what was copied before has to be part of it, else exit 1. What the',
    'leaves say is for qv verify log.',
  ],
  operands: '<url>',
  options: { dir: { value: '<folder>', help: 'where to: made when it is not there', required: true } },
  run: async (args, { stderr }) => {
    const url = oneOperand(args, 'host');
    const folder = args.text('dir');
    const bar = progressBar(stderr, 'Fetching', { amounts: inLeaves });
    try {
      const report = await copyLogs(await openLogs(url), folder, (done, of) => bar.update(Number(done), Number(of)));
      return answer(url, folder, report);
    } finally {
      bar.clear();
    }
  },
};

function answer(source: string, folder: string, report: CopyReport): Result {
  const { logs, withdrawn, policies, policiesMissing, bundlesFetched } = report;
  return {
    exit: withdrawn.length === 0 ? 'ok' : 'failed',
    json: {
      source,
      folder,
      ...(withdrawn.length > 0 && { code: 'log_unknown' }),
      logs: logs.map(({ boot, from, to }) => ({ boot, from: String(from), to: String(to) })),
      withdrawn,
      policies,
      policiesMissing,
      bundlesFetched,
    },
    text: (style) => [
      withdrawn.length === 0
        ? `${tick(style)} ${style('bold', 'Copied')} to ${printable(folder)}. Nothing it says has been judged: qv verify log`
        : `${cross(style)} ${style(['bold', 'red'], 'The host no longer publishes logs that lie here.')}`,
      ...table(rows(report, style), style),
    ],
  };
}

function rows({ logs, withdrawn, policies, policiesMissing }: CopyReport, style: Style): [string, string][] {
  return [
    ...logs.map(({ boot, from, to }): [string, string] => [
      boot,
      `${countText(to)} leaves${from === 0n ? '' : `, ${countText(to - from)} of them new`}`,
    ]),
    ...withdrawn.map((boot): [string, string] => [boot, style('red', 'no longer published; kept')]),
    ['Policies of new leaves', `${policies}${policiesMissing === 0 ? '' : `; ${policiesMissing} are not published`}`],
  ];
}
