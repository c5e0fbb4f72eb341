/** qv verify log: the whole record of a deployment, read and judged. */
import { QvError } from '@quantumvault/shared/errors.ts';
import { auditLog } from '@quantumvault/shared/evidence/audit/audit.ts';
import type { AuditExpectations, AuditReport } from '@quantumvault/shared/evidence/audit/types.ts';
import { parseReceiptFile } from '@quantumvault/shared/evidence/receipt-file.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parseNote } from '@quantumvault/shared/tlog/note.ts';
import { writeAtomically } from '../atomic-file.ts';
import { AUDIT_DEPS, auditJson, auditLines, bootText, claimRows, leavesText } from '../audit-report.ts';
import { readChainFile } from '../chain-file.ts';
import { notVerified } from '../checklist.ts';
import type { Arguments, Command, Result } from '../command.ts';
import { readInput } from '../input.ts';
import { openLogs } from '../log-source.ts';
import { inLeaves, progressBar } from '../progress.ts';
import { printable, type Style, table, tick } from '../terminal.ts';
import { oneOperand } from '../text-input.ts';
import {
  expectedSets,
  PCR_OPTIONS,
  UNSAFE_OPTIONS,
  unsafeOptions,
  WITNESS_OPTIONS,
  witnessOptions,
} from '../trust-options.ts';

/** What it keeps tells which wallets and amounts there are. */
const OWNER_ONLY = 0o600;

export const verifyLog: Command = {
  name: 'verify log',
  summary: 'Audit every decision of a deployment: attested boots, whole logs, policies, budgets, freezes.',
  details: [
    'Reads all leaves of a host, or of a folder that qv log fetch made, and believes nothing of it. What',
    'is found wrong is named with its code, boot and leaf. With --keep, the next audit needs only --since',
    'that file and reads what is new; it also notices a log that was rewound or forked meanwhile. --since',
    'also takes a checkpoint as it was served. --chain names signatures found on chain of transactions',
    'that the wallets signed, each of which must have its leaf: base58 lines, or the JSON that Solana’s',
    'RPC answers to getSignaturesForAddress. It lists transfers by others, too; leave those out.',
    'Exits 0 when every check passes, 1 when one fails, 2 when the input is unusable, 4 when the host',
    'does not answer.',
  ],
  operands: '<url|folder>',
  options: {
    ...PCR_OPTIONS,
    ...WITNESS_OPTIONS,
    since: { value: '<file>', help: 'what --keep wrote, or a checkpoint seen before', multiple: true },
    keep: { value: '<file>', help: 'written when every check passes: what the next audit starts from' },
    chain: { value: '<file>', help: 'signatures found on chain: each must have a leaf', multiple: true },
    receipt: { value: '<file>', help: 'a receipt that somebody holds: its leaf must be in the log', multiple: true },
    ...UNSAFE_OPTIONS,
  },
  run: async (args, { stderr }) => {
    const source = oneOperand(args, 'host or folder');
    const { warnings, ...unsafe } = await unsafeOptions(args);
    const expected = { pcrSets: expectedSets(args), ...unsafe, ...witnessOptions(args), ...(await claims(args)) };
    const bar = progressBar(stderr, 'Verifying', { amounts: inLeaves });
    let report: AuditReport;
    try {
      const onProgress = (leaves: bigint, of: bigint): void => bar.update(Number(leaves), Number(of));
      report = await auditLog(await openLogs(source), expected, { ...AUDIT_DEPS, onProgress });
    } finally {
      bar.clear();
    }
    const keep = args.optional('keep');
    if (keep !== undefined && report.seen !== undefined) await writeAtomically(keep, report.seen, OWNER_ONLY);
    return answer({ source, report, warnings, ...(keep !== undefined && report.ok && { kept: keep }) });
  },
};

/** What others hold, which the log has to agree with. @throws QvError usage_invalid, receipt_malformed, input_unreadable */
async function claims(args: Arguments): Promise<Pick<AuditExpectations, 'seen' | 'since' | 'receipts' | 'onChain'>> {
  const kept: Uint8Array[] = [];
  const since: Uint8Array[] = [];
  for (const path of args.list('since')) {
    const bytes = readInput(path, LIMITS.auditSeenBytes);
    (isNote(bytes) ? since : kept).push(bytes);
  }
  const [seen, ...more] = kept;
  if (more.length > 0) throw new QvError('usage_invalid', { value: '--since takes one kept file' });
  const paths = args.list('receipt');
  if (paths.length > LIMITS.cliReceipts)
    throw new QvError('usage_invalid', { value: `--receipt: at most ${LIMITS.cliReceipts}` });
  const receipts = paths.map((path) => parseReceiptFile(readInput(path)).receipt);
  const onChain: Uint8Array[] = [];
  for (const path of args.list('chain')) for (const signature of await readChainFile(path)) onChain.push(signature);
  return {
    ...(seen && { seen }),
    ...(since.length > 0 && { since }),
    ...(receipts.length > 0 && { receipts }),
    ...(args.flag('chain') && { onChain }),
  };
}

function isNote(bytes: Uint8Array): boolean {
  try {
    parseNote(bytes);
    return true;
  } catch {
    // Then it is what --keep wrote, or nothing usable, which the audit says.
    return false;
  }
}

interface Answer {
  readonly source: string;
  readonly report: AuditReport;
  readonly warnings: readonly string[];
  readonly kept?: string;
}

function answer(found: Answer): Result {
  const { source, report, warnings, kept } = found;
  return {
    exit: report.ok ? 'ok' : 'failed',
    json: { source, warnings, ...auditJson(report), ...(kept !== undefined && { kept }) },
    text: (style) => [
      ...table([['Log', printable(source)]], style, ''),
      ...warnings.map((warning) => style(['bold', 'red'], `! ${warning}`)),
      '',
      ...auditLines(report, style),
      '',
      ...verdict(found, style),
    ],
  };
}

function verdict({ report, warnings, kept }: Answer, style: Style): readonly string[] {
  if (!report.ok) return notVerified(report.findings[0]?.code ?? 'internal', style);
  return [
    `${tick(style)} ${style(['bold', 'green'], 'Verified')}: every check passes.`,
    ...table(
      [
        ...report.boots.map((boot) => [boot.boot, bootText(boot)] as const),
        ...claimRows(report),
        ['Read now', leavesText(report)],
        ...(kept === undefined ? [] : [['Kept', `${printable(kept)}: give it to the next audit as --since`] as const]),
      ],
      style,
    ),
    ...(warnings.length === 0 ? [] : [style(['bold', 'red'], '! UNSAFE options were used: see above.')]),
  ];
}
