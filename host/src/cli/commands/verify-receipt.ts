/** qv verify receipt: what one decision was, who made it, and that the log has it. Offline. */
import { isoTime } from '@quantumvault/shared/attestation/chain.ts';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { leafRecord, leafRows } from '@quantumvault/shared/evidence/leaf-record.ts';
import {
  RECEIPT_PROVES,
  type ReceiptReport,
  type VerifiedReceiptFile,
} from '@quantumvault/shared/evidence/receipt-checklist.ts';
import { verifyReceiptFile } from '@quantumvault/shared/evidence/verify-receipt-file.ts';
import { inspectTransaction } from '@quantumvault/shared/solana/transaction.ts';
import { verifyEd25519 } from '../../client/keys.ts';
import { failureJson, notVerified, stepLines } from '../checklist.ts';
import type { Arguments, Command, Result } from '../command.ts';
import { printable, printableTable, type Style, table, tick } from '../terminal.ts';
import { base64Input, oneOperand, readSource } from '../text-input.ts';
import {
  expectedSets,
  PCR_OPTIONS,
  UNSAFE_OPTIONS,
  unsafeOptions,
  WITNESS_OPTIONS,
  witnessOptions,
} from '../trust-options.ts';

export const verifyReceipt: Command = {
  name: 'verify receipt',
  summary: 'Prove what an enclave decided about one request, and that its log contains the decision.',
  details: [
    'A receipt file is the JSON that the host answers at /v1/receipts/<request id>, or - for standard',
    'input. It holds the attestation document of its boot, which is replayed: judged at its own time. No',
    'network is used. With --transaction or --signature the decision has to be about exactly that; with',
    'both, the signature is verified.',
    'Exits 0 when every check passes, 1 when one fails, 2 when the input is unusable.',
  ],
  operands: '<file|->',
  options: {
    ...PCR_OPTIONS,
    ...WITNESS_OPTIONS,
    transaction: { value: '<base64|file>', help: 'the decision is about this transaction, signed or not' },
    signature: { value: '<base58>', help: 'the decision made this signature of the wallet' },
    ...UNSAFE_OPTIONS,
  },
  run: async (args) => {
    const source = oneOperand(args, 'receipt');
    const pcrSets = expectedSets(args);
    const { warnings, ...unsafe } = await unsafeOptions(args);
    const expected = { pcrSets, ...unsafe, ...witnessOptions(args), ...(await subjectOptions(args, source)) };
    const bytes = await readSource(source);
    const report = await verifyReceiptFile(bytes, expected, verifyEd25519);
    // What is no receipt was not judged: that is unusable input, as for documents.
    if (!report.ok && report.failure.step === 'form') throw new QvError(report.failure.code, report.failure.facts);
    return answer({ source, bytes: bytes.length, report, warnings });
  },
};

/** @throws QvError usage_invalid, base64_malformed, base58_malformed, transaction_* */
async function subjectOptions(
  args: Arguments,
  source: string,
): Promise<{ readonly message?: Uint8Array; readonly signature?: Uint8Array }> {
  const transaction = args.optional('transaction');
  const base58 = args.optional('signature');
  if (transaction === '-' && source === '-')
    throw new QvError('usage_invalid', { value: 'standard input holds one thing' });
  const wire = transaction === undefined ? undefined : await base64Input(transaction, '--transaction');
  return {
    // The host’s answer names decisions about transactions that no signer signs, too.
    ...(wire && { message: inspectTransaction(wire).transaction.messageBytes }),
    ...(base58 !== undefined && { signature: fromBase58(base58, 64, '--signature') }),
  };
}

interface Answer {
  readonly source: string;
  readonly bytes: number;
  readonly report: ReceiptReport;
  readonly warnings: readonly string[];
}

const proves = ({ witnesses }: VerifiedReceiptFile): string =>
  RECEIPT_PROVES[witnesses.length > 0 ? 'witnessed' : 'unwitnessed'];

function answer(found: Answer): Result {
  const { source, bytes, report, warnings } = found;
  return {
    exit: report.ok ? 'ok' : 'failed',
    json: {
      receipt: { source, bytes },
      warnings,
      steps: report.steps,
      attestation: report.attestation,
      ...(report.ok
        ? { statement: proves(report.receipt), ...receiptJson(report.receipt) }
        : { error: failureJson(report.failure, report.failure.step) }),
    },
    text: (style) => [
      ...table([['Receipt', `${printable(source)} (${bytes} bytes)`]], style, ''),
      ...warnings.map((warning) => style(['bold', 'red'], `! ${warning}`)),
      '',
      ...report.steps.flatMap((step) => [
        ...stepLines(step, style),
        ...(step.name === 'attestation' ? report.attestation.flatMap((inner) => stepLines(inner, style, '    ')) : []),
      ]),
      '',
      ...(report.ok ? verified(report.receipt, warnings, style) : notVerified(report.failure.code, style)),
    ],
  };
}

/** Keys and meanings are stable. */
function receiptJson(found: VerifiedReceiptFile): Readonly<Record<string, unknown>> {
  const { leaf, leafHash, checkpoint, witnesses, userData } = found;
  return {
    leaf: leafRecord(leaf, leafHash),
    pcrSet: found.pcrSet.name,
    enclave: {
      moduleId: found.moduleId,
      attestedAt: isoTime(found.attestedAt),
      boot: found.boot,
      configHash: toHex(userData.configHash),
      logOrigin: userData.logOrigin,
      version: userData.version,
    },
    checkpoint: { origin: checkpoint.origin, size: String(checkpoint.size), root: toHex(checkpoint.root) },
    witnesses: witnesses.map(({ name, timeSeconds }) => ({ name, time: isoTime(Number(timeSeconds) * 1000) })),
  };
}

function verified(found: VerifiedReceiptFile, warnings: readonly string[], style: Style): readonly string[] {
  const { leaf, checkpoint, witnesses, userData } = found;
  return [
    `${tick(style)} ${style(['bold', 'green'], 'Verified')}: every check passes.`,
    ...printableTable(
      [
        ...leafRows(leaf),
        ['Log', `${checkpoint.origin}, ${checkpoint.size} leaves`],
        ['Witnesses', witnesses.map(({ name }) => name).join(', ') || 'none'],
        ['Enclave', `${found.moduleId}, attested ${isoTime(found.attestedAt)}, version ${userData.version}`],
        ['Image', `as in ${found.pcrSet.name}`],
      ],
      style,
    ),
    `  ${proves(found)}`,
    ...(warnings.length === 0 ? [] : [style(['bold', 'red'], '! UNSAFE options were used: see above.')]),
  ];
}
