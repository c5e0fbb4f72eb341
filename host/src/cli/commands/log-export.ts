/** qv log export: decisions of a period as a table, out of a log that is verified while it is read. */
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Hash, type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { auditLog } from '@quantumvault/shared/evidence/audit/audit.ts';
import type { AuditReport } from '@quantumvault/shared/evidence/audit/types.ts';
import { decodeLeaf, type Leaf, leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { leafRecord } from '@quantumvault/shared/evidence/leaf-record.ts';
import { formatTime, parseTime } from '@quantumvault/shared/rfc3339.ts';
import { parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { parseNote } from '@quantumvault/shared/tlog/note.ts';
import { decodeEntries } from '@quantumvault/shared/tlog/tile-data.ts';
import { tilesOf } from '@quantumvault/shared/tlog/tiles.ts';
import { AtomicFile } from '../atomic-file.ts';
import { AUDIT_DEPS, auditJson, auditLines, leavesText } from '../audit-report.ts';
import { notVerified } from '../checklist.ts';
import type { Arguments, Command, Output, Result } from '../command.ts';
import { type TableFormat, tableHead, tableRow } from '../leaf-table.ts';
import { openLogs, type PublishedLogs, parsedFrom } from '../log-source.ts';
import { countText, inLeaves, type ProgressBar, progressBar } from '../progress.ts';
import { onlyColours, printable, type Style, styleFor, table, tick } from '../terminal.ts';
import { oneOperand } from '../text-input.ts';
import {
  expectedSets,
  PCR_OPTIONS,
  UNSAFE_OPTIONS,
  unsafeOptions,
  WITNESS_OPTIONS,
  witnessOptions,
} from '../trust-options.ts';

const DAY_MILLISECONDS = 24 * 3600 * 1000;
/** Written at a time. */
const CHUNK_CHARACTERS = 64 * 1024;

export const logExport: Command = {
  name: 'log export',
  summary: 'Write the decisions of a period as CSV or JSON lines, out of logs that are verified while they are read.',
  details: [
    'One row per leaf with all of its public fields: bytes in hex, keys in base58, amounts in decimal',
    'base units. The whole log is verified as qv verify log does it, and unless every check passes there',
    'is no output (exit 1). --unverified exports what a host says, unjudged; the last column of every',
    'row, verified, says which it is. CSV is RFC 4180; a cell that a spreadsheet could take for a formula',
    'has an apostrophe in front of it.',
  ],
  operands: '<url|folder>',
  options: {
    from: { value: '<time>', help: 'RFC 3339 in UTC, or a date: its beginning', required: true },
    to: { value: '<time>', help: 'leaves before this time; or a date, which is included', required: true },
    format: { value: '<jsonl|csv>', help: 'csv unless given' },
    out: { value: '<file>', help: 'written whole or not at all; standard output unless given' },
    unverified: { help: 'judge nothing: no measurements are needed' },
    ...PCR_OPTIONS,
    ...WITNESS_OPTIONS,
    ...UNSAFE_OPTIONS,
  },
  run: async (args, output) => {
    const source = oneOperand(args, 'host or folder');
    const question = questionOf(args);
    const out = args.optional('out');
    if (out === undefined && args.flag('json'))
      throw new QvError('usage_invalid', { value: '--json describes the export: give --out for the rows' });
    const verify = args.flag('unverified') ? undefined : await expectations(args);
    const file = await AtomicFile.create(
      out ?? join(tmpdir(), `qv-export-${randomBytes(8).toString('hex')}`),
      OWNER_ONLY,
    );
    const bar = progressBar(output.stderr, 'Exporting', { amounts: inLeaves });
    try {
      const rows = new Rows(file, question, verify !== undefined);
      const logs = await openLogs(source);
      const report = verify && (await audited(logs, verify, rows, bar));
      if (report === undefined) await unjudged(logs, rows, bar);
      bar.clear();
      rows.flush();
      if (report?.ok !== false) {
        if (out === undefined) await file.copyTo(output.stdout);
        else await file.commit();
      }
      const found = { source, out, question, report, rows: rows.count, warnings: verify?.warnings ?? [] };
      return answer(found, output);
    } finally {
      bar.clear();
      await file.discard();
    }
  },
};

/** Whoever reads it sees who paid whom. */
const OWNER_ONLY = 0o600;

interface Question {
  readonly from: TimeMs;
  /** Exclusive. */
  readonly to: TimeMs;
  readonly format: TableFormat;
}

function questionOf(args: Arguments): Question {
  const format = args.optional('format') ?? 'csv';
  if (format !== 'csv' && format !== 'jsonl') throw new QvError('usage_invalid', { value: '--format is jsonl or csv' });
  const from = timeOption(args, 'from', 0);
  const to = timeOption(args, 'to', DAY_MILLISECONDS);
  if (from >= to) throw new QvError('usage_invalid', { value: '--from has to be before --to' });
  return { from, to, format };
}

/** @param dateAdds to the beginning of a day that is named without a time */
function timeOption(args: Arguments, name: string, dateAdds: number): TimeMs {
  const text = args.text(name);
  const day = parseTime(`${text}T00:00:00Z`);
  const time = day === undefined ? parseTime(text) : timeMs(day + dateAdds);
  if (time === undefined)
    throw new QvError('usage_invalid', { value: `--${name} is 2026-11-22T12:00:00Z or 2026-11-22, not ${text}` });
  return time;
}

type Expected = Awaited<ReturnType<typeof expectations>>;

async function expectations(args: Arguments) {
  const unsafe = await unsafeOptions(args);
  return { pcrSets: expectedSets(args), ...unsafe, ...witnessOptions(args) };
}

/** Collects text and writes it in pieces, in calls that cannot wait. */
class Rows {
  readonly #file: AtomicFile;
  readonly #question: Question;
  readonly #verified: boolean;
  #text: string;
  count = 0n;

  constructor(file: AtomicFile, question: Question, verified: boolean) {
    this.#file = file;
    this.#question = question;
    this.#verified = verified;
    this.#text = tableHead(question.format);
  }

  add(leaf: Leaf, hash: Hash): void {
    const { from, to, format } = this.#question;
    if (leaf.time < from || leaf.time >= to) return;
    this.count++;
    this.#text += tableRow(format, leafRecord(leaf, hash), this.#verified);
    if (this.#text.length > CHUNK_CHARACTERS) this.flush();
  }

  flush(): void {
    this.#file.writeSync(this.#text);
    this.#text = '';
  }
}

async function audited(logs: PublishedLogs, expected: Expected, rows: Rows, bar: ProgressBar): Promise<AuditReport> {
  const { warnings: _, ...rest } = expected;
  return auditLog(logs, rest, {
    ...AUDIT_DEPS,
    onProgress: (leaves, of) => bar.update(Number(leaves), Number(of)),
    onLeaf: (_boot, leaf, hash) => rows.add(leaf, hash),
  });
}

/** As the source tells it: only the form of leaves is required. */
async function unjudged(logs: PublishedLogs, rows: Rows, bar: ProgressBar): Promise<void> {
  for (const boot of await logs.boots()) {
    const note = await logs.checkpoint(boot);
    const { size } = parsedFrom(logs.files, () => parseCheckpoint(parseNote(note).text));
    let done = 0;
    for (const { level, index, width } of tilesOf(size)) {
      if (level !== 'entries') break;
      const bundle = await logs.entries(boot, index, width);
      parsedFrom(logs.files, () => {
        for (const entry of decodeEntries(bundle, width)) rows.add(decodeLeaf(entry), leafHash(entry));
      });
      done += width;
      bar.update(done, Number(size));
    }
  }
}

interface Answer {
  readonly source: string;
  readonly out: string | undefined;
  readonly question: Question;
  /** Absent when nothing was judged. */
  readonly report: AuditReport | undefined;
  readonly rows: bigint;
  readonly warnings: readonly string[];
}

const UNVERIFIED = 'UNVERIFIED: nothing was judged. This is what the source says, and no evidence.';

function answer(found: Answer, { stderr }: Output): Result {
  const { source, out, question, report, rows, warnings } = found;
  const ok = report?.ok !== false;
  const summary = (style: Style): readonly string[] => [
    ...warnings.map((warning) => style(['bold', 'red'], `! ${warning}`)),
    ...(report?.ok === false
      ? [
          ...auditLines(report, style),
          '',
          ...notVerified(report.findings[0]?.code ?? 'internal', style),
          '  Nothing was written.',
        ]
      : summaryLines(found, style)),
  ];
  // Standard output is the rows’ when they go there.
  if (ok && out === undefined) stderr.write(`${onlyColours(summary(styleFor(stderr)).join('\n'))}\n`);
  return {
    exit: ok ? 'ok' : 'failed',
    json: {
      source,
      out: ok ? out : null,
      format: question.format,
      from: formatTime(question.from),
      to: formatTime(question.to),
      rows: String(ok ? rows : 0n),
      verified: report?.ok ?? false,
      warnings: [...warnings, ...(report === undefined ? [UNVERIFIED] : [])],
      ...(report && auditJson(report)),
    },
    text: (style) => (ok && out === undefined ? [] : summary(style)),
  };
}

function summaryLines({ out, question, report, rows, warnings }: Answer, style: Style): readonly string[] {
  const { from, to, format } = question;
  return [
    report === undefined
      ? style(['bold', 'red'], `! ${UNVERIFIED}`)
      : `${tick(style)} ${style(['bold', 'green'], 'Verified')}: every check of qv verify log passes.`,
    ...table(
      [
        ['Rows', `${countText(rows)}, ${format}, ${out === undefined ? 'on standard output' : printable(out)}`],
        ['Period', `from ${formatTime(from)}, before ${formatTime(to)}`],
        ...(report === undefined ? [] : [['Read', `${leavesText(report)}; boots: ${report.boots.length}`] as const]),
      ],
      style,
    ),
    ...(report === undefined || warnings.length === 0
      ? []
      : [style(['bold', 'red'], '! UNSAFE options were used: see above.')]),
  ];
}
