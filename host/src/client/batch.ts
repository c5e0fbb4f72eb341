/** Several transactions of one wallet in one request: all of them are signed, or none. */
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Leaf, Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { JsonFields } from '@quantumvault/shared/json.ts';
import { BATCH_PURPOSE } from '@quantumvault/shared/protocol/sign-request.ts';
import { decodeTransaction, type Transaction } from '@quantumvault/shared/solana/transaction.ts';
import { HostProblem, readResponse } from './http.ts';
import {
  deniedLeaf,
  expectation,
  PolicyDenied,
  post,
  prepare,
  type RequestOptions,
  readSigned,
  type Signed,
  type SigningContext,
  verdictField,
} from './signing.ts';
import { receiptField } from './wire.ts';

export interface SignBatchOptions extends RequestOptions {
  /** 1 to LIMITS.batchTransactions of them, LIMITS.batchTransactionBytes together, judged in this order. */
  readonly transactions: readonly Uint8Array[];
}

/** On one transaction of a batch, in its place. */
export interface BatchVerdict {
  readonly verdict: 'allow' | 'deny';
  /** The rule that denied it, and what broke it. */
  readonly rule?: string;
  readonly value?: string;
}

/** The policy said no to at least one, so none was signed. `index` and the other members are of the first of them. */
export class BatchDenied extends PolicyDenied {
  readonly index: number;
  readonly verdicts: readonly BatchVerdict[];

  constructor(problem: HostProblem, receipt: Receipt, leaf: Leaf, index: number, verdicts: readonly BatchVerdict[]) {
    super(problem, receipt, leaf);
    this.name = 'BatchDenied';
    this.index = index;
    this.verdicts = verdicts;
  }
}

/**
 * The signed transactions, in order.
 * @throws BatchDenied with its verified receipt; QvError transaction_* before anything is sent, evidence_* when the
 * answer does not verify; HostProblem; host_unreachable, response_malformed
 */
export async function signBatch(context: SigningContext, options: SignBatchOptions): Promise<readonly Signed[]> {
  const transactions = options.transactions.map((bytes) => decodeTransaction(bytes));
  const prepared = await prepare(context, options, members(options, false));
  let fields: JsonFields;
  try {
    fields = await post(context, 'v1/sign/batch', prepared, options.signal);
  } catch (error) {
    if (!(error instanceof HostProblem) || error.code !== 'policy_denied') throw error;
    throw await denial(context, error, options, prepared.id, transactions);
  }
  const items = itemsOf(fields, 'signed', transactions.length);
  const signed: Signed[] = [];
  for (const [index, transaction] of transactions.entries()) {
    const item = items[index] as JsonFields;
    signed.push(
      await readSigned(context, item, transaction, expectation(options, prepared.id, transaction), options.signal),
    );
  }
  return signed;
}

/** A verdict on each, judged in order; signs nothing. Nothing signs this answer: it is advice. @throws as dryRun does */
export async function dryRunBatch(
  context: SigningContext,
  options: SignBatchOptions,
): Promise<readonly BatchVerdict[]> {
  for (const bytes of options.transactions) decodeTransaction(bytes);
  const prepared = await prepare(context, options, members(options, true));
  const fields = await post(context, 'v1/sign/batch', prepared, options.signal);
  return itemsOf(fields, 'verdicts', options.transactions.length).map((item) => readResponse(() => readVerdict(item)));
}

const members = ({ transactions }: SignBatchOptions, dry: boolean): Record<string, unknown> => ({
  purpose: BATCH_PURPOSE,
  transactions: transactions.map((bytes) => toBase64(bytes)),
  ...(dry && { dryRun: true }),
});

async function denial(
  context: SigningContext,
  problem: HostProblem,
  options: SignBatchOptions,
  id: string,
  transactions: readonly Transaction[],
): Promise<BatchDenied> {
  const items = itemsOf(problem.members, 'verdicts', transactions.length);
  const { index, receipt, verdicts } = readResponse(() => ({
    index: problem.members.integer('index', transactions.length - 1),
    receipt: receiptField(problem.members, 'receipt'),
    verdicts: items.map(readVerdict),
  }));
  const { path: rule, value } = problem.facts;
  const expected = expectation(options, id, transactions[index] as Transaction);
  return new BatchDenied(
    problem,
    receipt,
    await deniedLeaf(context, receipt, expected, { rule, value }, options.signal),
    index,
    verdicts,
  );
}

function readVerdict(fields: JsonFields): BatchVerdict {
  const text = (key: 'rule' | 'value') => (fields.optional(key) === undefined ? {} : { [key]: fields.text(key) });
  return { verdict: verdictField(fields), ...text('rule'), ...text('value') };
}

/** @throws QvError response_malformed when there is not one for each */
function itemsOf(fields: JsonFields, key: string, count: number): JsonFields[] {
  return readResponse(() => {
    const listed = fields.list(key);
    if (listed.length !== count) throw new QvError('field_malformed', { path: key, value: `${listed.length} entries` });
    return listed.map((value, index) => new JsonFields(value, `${key}[${index}]`));
  });
}
