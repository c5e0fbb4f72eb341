/** Asking for a signature, and believing the answer only when it verifies: signature, receipt, and what both are of. */
import { fromBase58, toBase58 } from '@quantumvault/shared/base58.ts';
import { type Address, addressBytes, type Hash, type Signature } from '@quantumvault/shared/brands.ts';
import { concatBytes, equalBytes, toBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Leaf, Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { verifyReceipt } from '@quantumvault/shared/evidence/verify.ts';
import { JsonFields } from '@quantumvault/shared/json.ts';
import { parseRequestId, SIGN_PURPOSE, signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import { decodeTransaction, messageHash, type Transaction } from '@quantumvault/shared/solana/transaction.ts';
import type { AttestationContext, AttestedBoots } from './attestation.ts';
import { exchange, HostProblem, readResponse } from './http.ts';
import type { Signer } from './keys.ts';
import { hashField, jsonBody, lamportsField, receiptField, requireLength, tokensField } from './wire.ts';

export interface SigningContext extends AttestationContext {
  readonly deployment: string;
  readonly boots: AttestedBoots;
}

/** What one transaction and a batch have in common. */
export interface RequestOptions {
  readonly wallet: Address;
  readonly requester: Signer;
  /**
   * [A-Za-z0-9_-]{1,64}; drawn at random unless given. A caller that keeps it before asking can ask again after a
   * crash: the same id and transaction never count twice.
   */
  readonly id?: string;
  /** The id of a webhook's signal that this request acts on, where the policy requires one. */
  readonly signalId?: string;
  /**
   * How long one attempt may take, 1 to 15,000: host and enclave are told, and what would come later is neither asked nor
   * decided (deadline_exceeded, and a repeat follows). Default: 15 s.
   */
  readonly timeoutMilliseconds?: number;
  /** Gives up, also between attempts: `AbortSignal.timeout(2_000)` is a deadline. The request may be decided anyway. */
  readonly signal?: AbortSignal;
}

export interface SignOptions extends RequestOptions {
  /** Wire transaction of any version: empty signature slots, then the message (web3.js's and kit's serialization). */
  readonly transaction: Uint8Array;
}

export interface Signed {
  readonly id: string;
  readonly signature: Signature;
  /** As explorers show it. */
  readonly signatureBase58: string;
  /** Ready to send. */
  readonly transaction: Uint8Array;
  readonly messageHash: Hash;
  /** What may leave the wallet by it, without the fee. */
  readonly lamportsOut: bigint;
  readonly feeLamports: bigint;
  /** Base units that may leave the wallet, by mint. */
  readonly tokens: ReadonlyMap<Address, bigint>;
  readonly receipt: Receipt;
  readonly leaf: Leaf;
}

export interface RuleVerdict {
  readonly rule: string;
  readonly outcome: 'allow' | 'deny';
  readonly value?: string;
}

export interface DryRun {
  readonly verdict: 'allow' | 'deny';
  /** Every rule that was evaluated, in order. */
  readonly rules: readonly RuleVerdict[];
  readonly messageHash: Hash;
  readonly lamportsOut: bigint;
  readonly feeLamports: bigint;
  readonly tokens: ReadonlyMap<Address, bigint>;
}

/** The policy said no: `facts.path` is the rule, `facts.value` what broke it, `leaf` the enclave's record of it. */
export class PolicyDenied extends QvError {
  readonly receipt: Receipt;
  readonly leaf: Leaf;

  constructor(problem: HostProblem, receipt: Receipt, leaf: Leaf) {
    super('policy_denied', problem.facts, { cause: problem });
    this.name = 'PolicyDenied';
    this.receipt = receipt;
    this.leaf = leaf;
  }
}

interface Prepared {
  readonly id: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
}

/**
 * @throws PolicyDenied with its verified receipt; QvError transaction_* before anything is sent, evidence_* when the
 * answer does not verify; HostProblem; host_unreachable, response_malformed
 */
export async function sign(context: SigningContext, options: SignOptions): Promise<Signed> {
  const transaction = decodeTransaction(options.transaction);
  const prepared = await prepare(context, options, single(options, false));
  const expected = expectation(options, prepared.id, transaction);
  let fields: JsonFields;
  try {
    fields = await post(context, 'v1/sign', prepared, options.signal);
  } catch (error) {
    throw error instanceof HostProblem && error.code === 'policy_denied'
      ? await denial(context, error, expected, options.signal)
      : error;
  }
  return await readSigned(context, fields, transaction, expected, options.signal);
}

/** What a receipt has to be about. */
interface Expected {
  readonly wallet: Address;
  readonly actor: Address;
  readonly requestId: string;
  readonly messageHash: Hash;
}

export function expectation({ wallet, requester }: RequestOptions, id: string, transaction: Transaction): Expected {
  return { wallet, actor: requester.address, requestId: id, messageHash: messageHash(transaction.messageBytes) };
}

/** One signature as the host answers it, believed when everything about it verifies. @throws QvError evidence_* */
export async function readSigned(
  context: SigningContext,
  fields: JsonFields,
  transaction: Transaction,
  expected: Expected,
  signal: AbortSignal | undefined,
): Promise<Signed> {
  const { signature, receipt, ...facts } = readResponse(() => ({
    signature: fromBase58(fields.text('signature'), 64, 'signature') as Signature,
    receipt: receiptField(fields, 'receipt'),
    messageHash: hashField(fields, 'messageHash'),
    lamportsOut: lamportsField(fields, 'lamportsOut'),
    feeLamports: lamportsField(fields, 'feeLamports'),
    tokens: tokensField(fields, 'tokens'),
  }));
  if (!context.verifyEd25519(signature, transaction.messageBytes, addressBytes(expected.wallet))) {
    throw new QvError('evidence_signature_invalid', { path: 'signature' });
  }
  const boot = await context.boots.of(receipt, signal);
  const { leaf } = verifyReceipt(receipt, { ...expected, boot, kind: 'signed' }, context.verifyEd25519);
  const agrees =
    equalBytes(facts.messageHash, expected.messageHash) &&
    leaf.amounts?.lamportsOut === facts.lamportsOut &&
    leaf.amounts.feeLamports === facts.feeLamports &&
    (leaf.amounts.tokens ?? []).length === facts.tokens.size &&
    (leaf.amounts.tokens ?? []).every(({ mint, amount }) => facts.tokens.get(mint) === amount);
  if (!agrees) throw new QvError('evidence_mismatch', { path: 'leaf.amounts' });
  return {
    id: expected.requestId,
    signature,
    signatureBase58: toBase58(signature),
    transaction: withSignature(transaction, signature),
    ...facts,
    receipt,
    leaf,
  };
}

/**
 * Every rule's verdict; signs nothing, uses up no id. Nothing signs a dry run's answer either: it is advice.
 * @throws QvError transaction_*; HostProblem; host_unreachable, response_malformed
 */
export async function dryRun(context: SigningContext, options: SignOptions): Promise<DryRun> {
  // With the enclave's own decoder first: what it would refuse costs no round trip.
  decodeTransaction(options.transaction);
  const prepared = await prepare(context, options, single(options, true));
  const fields = await post(context, 'v1/sign', prepared, options.signal);
  return readResponse(() => {
    return {
      verdict: verdictField(fields),
      rules: fields.list('rules').map((rule, index) => ruleVerdict(new JsonFields(rule, `rules[${index}]`))),
      messageHash: hashField(fields, 'messageHash'),
      lamportsOut: lamportsField(fields, 'lamportsOut'),
      feeLamports: lamportsField(fields, 'feeLamports'),
      tokens: tokensField(fields, 'tokens'),
    };
  });
}

/** @throws QvError field_malformed */
export function verdictField(fields: JsonFields): 'allow' | 'deny' {
  const verdict = fields.text('verdict');
  if (verdict !== 'allow' && verdict !== 'deny') throw fields.fault('verdict', 'neither allow nor deny');
  return verdict;
}

function ruleVerdict(fields: JsonFields): RuleVerdict {
  const outcome = fields.text('outcome');
  if (outcome !== 'allow' && outcome !== 'deny') throw fields.fault('outcome', 'neither allow nor deny');
  const value = fields.optional('value') === undefined ? {} : { value: fields.text('value') };
  return { rule: fields.text('rule'), outcome, ...value };
}

const single = ({ transaction }: SignOptions, dry: boolean): Record<string, unknown> => ({
  purpose: SIGN_PURPOSE,
  transaction: toBase64(transaction),
  ...(dry && { dryRun: true }),
});

/** @param members of the body, besides whose wallet at which deployment. @throws QvError attestation_*, evidence_* */
export async function prepare(
  context: SigningContext,
  { wallet, requester, id: given, signalId, signal, timeoutMilliseconds }: RequestOptions,
  members: Record<string, unknown>,
): Promise<Prepared> {
  const id = parseRequestId(given ?? crypto.randomUUID());
  // What somebody trades is for enclaves that have proved themselves.
  await context.boots.connected(signal);
  const timestamp = String(Math.floor(context.nowMs() / 1000));
  const cited = signalId !== undefined && { signal: signalId };
  const body = jsonBody({ audience: context.deployment, wallet, ...cited, ...members });
  const signature = requireLength(await requester.sign(signedContent(id, timestamp, body)), 64, 'requester.signature');
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1a,${toBase64(signature)}`,
    ...(timeoutMilliseconds !== undefined && { 'x-request-timeout-ms': String(Math.ceil(timeoutMilliseconds)) }),
  };
  return { id, headers, body };
}

export function post(
  { connection }: SigningContext,
  path: string,
  { headers, body }: Prepared,
  signal?: AbortSignal,
): Promise<JsonFields> {
  return exchange(connection, { method: 'POST', path, headers, body, signal });
}

/** @throws QvError evidence_*, response_malformed */
export async function denial(
  context: SigningContext,
  problem: HostProblem,
  expected: Expected,
  signal: AbortSignal | undefined,
): Promise<PolicyDenied> {
  const receipt = readResponse(() => receiptField(problem.members, 'receipt'));
  const { path: rule, value } = problem.facts;
  return new PolicyDenied(problem, receipt, await deniedLeaf(context, receipt, expected, { rule, value }, signal));
}

/** The enclave's record of a denial, which has to name that rule and value. @throws QvError evidence_* */
export async function deniedLeaf(
  context: SigningContext,
  receipt: Receipt,
  expected: Expected,
  { rule, value }: { readonly rule: string | undefined; readonly value: string | undefined },
  signal: AbortSignal | undefined,
): Promise<Leaf> {
  const boot = await context.boots.of(receipt, signal);
  const { leaf } = verifyReceipt(receipt, { ...expected, boot, kind: 'denied' }, context.verifyEd25519);
  if (leaf.rule !== rule || leaf.value !== value) throw new QvError('evidence_mismatch', { path: 'leaf.rule' });
  return leaf;
}

/** The wallet is the only signer of whatever the enclave signs (design 7), so the one slot is its. */
function withSignature({ message, messageBytes }: Transaction, signature: Uint8Array): Uint8Array {
  return message.version === '1'
    ? concatBytes(messageBytes, signature)
    : concatBytes(Uint8Array.of(1), signature, messageBytes);
}
