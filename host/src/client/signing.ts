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

export interface SignOptions {
  readonly wallet: Address;
  /** Wire transaction of any version: empty signature slots, then the message (web3.js's and kit's serialization). */
  readonly transaction: Uint8Array;
  readonly requester: Signer;
  /**
   * [A-Za-z0-9_-]{1,64}; drawn at random unless given. A caller that keeps it before asking can ask again after a
   * crash: the same id and transaction never count twice.
   */
  readonly id?: string;
  readonly signal?: AbortSignal;
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
  readonly transaction: Transaction;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
}

/**
 * @throws PolicyDenied with its verified receipt; QvError transaction_* before anything is sent, evidence_* when the
 * answer does not verify; HostProblem; host_unreachable, response_malformed
 */
export async function sign(context: SigningContext, options: SignOptions): Promise<Signed> {
  const prepared = await prepare(context, options, false);
  const { wallet, requester, signal } = options;
  const hash = messageHash(prepared.transaction.messageBytes);
  const expected = { wallet, actor: requester.address, requestId: prepared.id, messageHash: hash };
  let fields: JsonFields;
  try {
    fields = await post(context, prepared, signal);
  } catch (error) {
    throw error instanceof HostProblem && error.code === 'policy_denied'
      ? await denial(context, error, expected)
      : error;
  }
  const { signature, receipt, ...facts } = readResponse(() => ({
    signature: fromBase58(fields.text('signature'), 64, 'signature') as Signature,
    receipt: receiptField(fields, 'receipt'),
    messageHash: hashField(fields, 'messageHash'),
    lamportsOut: lamportsField(fields, 'lamportsOut'),
    feeLamports: lamportsField(fields, 'feeLamports'),
    tokens: tokensField(fields, 'tokens'),
  }));
  if (!context.verifyEd25519(signature, prepared.transaction.messageBytes, addressBytes(wallet))) {
    throw new QvError('evidence_signature_invalid', { path: 'signature' });
  }
  const boot = await context.boots.of(receipt);
  const { leaf } = verifyReceipt(receipt, { ...expected, boot, kind: 'signed' }, context.verifyEd25519);
  const agrees =
    equalBytes(facts.messageHash, hash) &&
    leaf.amounts?.lamportsOut === facts.lamportsOut &&
    leaf.amounts.feeLamports === facts.feeLamports &&
    (leaf.amounts.tokens ?? []).length === facts.tokens.size &&
    (leaf.amounts.tokens ?? []).every(({ mint, amount }) => facts.tokens.get(mint) === amount);
  if (!agrees) throw new QvError('evidence_mismatch', { path: 'leaf.amounts' });
  return {
    id: prepared.id,
    signature,
    signatureBase58: toBase58(signature),
    transaction: withSignature(prepared.transaction, signature),
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
  const fields = await post(context, await prepare(context, options, true), options.signal);
  return readResponse(() => {
    const verdict = fields.text('verdict');
    if (verdict !== 'allow' && verdict !== 'deny') throw fields.fault('verdict', 'neither allow nor deny');
    return {
      verdict,
      rules: fields.list('rules').map((rule, index) => ruleVerdict(new JsonFields(rule, `rules[${index}]`))),
      messageHash: hashField(fields, 'messageHash'),
      lamportsOut: lamportsField(fields, 'lamportsOut'),
      feeLamports: lamportsField(fields, 'feeLamports'),
      tokens: tokensField(fields, 'tokens'),
    };
  });
}

function ruleVerdict(fields: JsonFields): RuleVerdict {
  const outcome = fields.text('outcome');
  if (outcome !== 'allow' && outcome !== 'deny') throw fields.fault('outcome', 'neither allow nor deny');
  const value = fields.optional('value') === undefined ? {} : { value: fields.text('value') };
  return { rule: fields.text('rule'), outcome, ...value };
}

/** Decodes with the enclave's own decoder first: what it would refuse costs no round trip. */
async function prepare(context: SigningContext, options: SignOptions, dry: boolean): Promise<Prepared> {
  const { wallet, requester } = options;
  const transaction = decodeTransaction(options.transaction);
  const id = parseRequestId(options.id ?? crypto.randomUUID());
  const timestamp = String(Math.floor(context.nowMs() / 1000));
  const body = jsonBody({
    purpose: SIGN_PURPOSE,
    audience: context.deployment,
    wallet,
    transaction: toBase64(options.transaction),
    ...(dry && { dryRun: true }),
  });
  const signature = requireLength(await requester.sign(signedContent(id, timestamp, body)), 64, 'requester.signature');
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1a,${toBase64(signature)}`,
  };
  return { id, transaction, headers, body };
}

function post({ connection }: SigningContext, { headers, body }: Prepared, signal?: AbortSignal): Promise<JsonFields> {
  return exchange(connection, { method: 'POST', path: 'v1/sign', headers, body, signal });
}

async function denial(
  context: SigningContext,
  problem: HostProblem,
  expected: { wallet: Address; actor: Address; requestId: string; messageHash: Hash },
): Promise<PolicyDenied> {
  const receipt = readResponse(() => receiptField(problem.members, 'receipt'));
  const boot = await context.boots.of(receipt);
  const { leaf } = verifyReceipt(receipt, { ...expected, boot, kind: 'denied' }, context.verifyEd25519);
  const { path, value } = problem.facts;
  if (leaf.rule !== path || leaf.value !== value) throw new QvError('evidence_mismatch', { path: 'leaf.rule' });
  return new PolicyDenied(problem, receipt, leaf);
}

/** The wallet is the only signer of whatever the enclave signs (design 7), so the one slot is its. */
function withSignature({ message, messageBytes }: Transaction, signature: Uint8Array): Uint8Array {
  return message.version === '1'
    ? concatBytes(messageBytes, signature)
    : concatBytes(Uint8Array.of(1), signature, messageBytes);
}
