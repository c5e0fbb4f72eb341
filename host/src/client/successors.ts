/**
 * Who may follow a wallet's owner: he names a successor, who claims the wallet; until the delay has passed he cancels,
 * and then the successor can become the owner.
 */
import { type Address, address, type TimeMs } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type {
  Receipt,
  SignedBytes,
  SuccessionAck,
  SuccessionKind,
  Successor,
} from '@quantumvault/shared/evidence/leaf.ts';
import { verifySuccessionAck } from '@quantumvault/shared/evidence/verify.ts';
import { JsonFields } from '@quantumvault/shared/json.ts';
import {
  renderCancelStatement,
  renderClaimStatement,
  renderCompleteStatement,
  renderNameStatement,
  SUCCESSION_PURPOSES,
  type SuccessionAct,
} from '@quantumvault/shared/policy/succession-statement.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import type { AttestedBoot } from './attestation.ts';
import { exchange, readResponse } from './http.ts';
import type { Owner } from './keys.ts';
import type { SigningContext } from './signing.ts';
import { signStatement, soon } from './wallets.ts';
import { jsonBody, receiptField, requireLength, signedBytesField } from './wire.ts';

interface ChangeOptions {
  readonly wallet: Address;
  /**
   * The number of this change. Default: one more than the host says was the last; the statement shows it, and an enclave
   * refuses another (`succession_changed`, whose value is the right one).
   */
  readonly change?: number;
  /** 16 bytes, drawn at random unless given. */
  readonly nonce?: Uint8Array;
  /** The statement counts until then. Default: LIMITS.clientStatementSeconds from now; at most a day ahead. */
  readonly before?: TimeMs;
  readonly signal?: AbortSignal;
}

export interface NameSuccessorOptions extends ChangeOptions {
  readonly owner: Owner;
  /** `null`: nobody any more. In either case a claim that runs is over. */
  readonly successor: Successor | null;
}

export interface ClaimWalletOptions extends ChangeOptions {
  readonly successor: Owner;
  /** Default: who the host says owns it. */
  readonly owner?: Address;
}

export interface CancelClaimOptions extends ChangeOptions {
  readonly owner: Owner;
  /** Whose claim. Default: who the host says is named. */
  readonly successor?: Address;
}

export interface SuccessionChanged {
  readonly wallet: Address;
  /** The attested boot that holds it. */
  readonly boot: AttestedBoot;
  /** `succession` is how it stands now; of a claim, with the delay and since when it runs; of its end, as it was. */
  readonly ack: SuccessionAck;
  /** What was signed. */
  readonly statement: string;
  /** To keep: what proves the above to somebody else. */
  readonly evidence: { readonly ack: SignedBytes; readonly receipt: Receipt };
}

/** What a host says of a wallet; statements show it, and enclaves refuse what is not so. */
interface Told {
  readonly owner: Address;
  readonly change: number;
  readonly successor: Address | undefined;
}

/**
 * Asked only for what the caller does not say: a host whose database somebody edited, so that it says nothing any more,
 * does not stand between an owner and the enclave.
 */
type Telling = () => Promise<Told>;

/** One kind of change, with the statement and the request that belong to it. */
interface Asked {
  readonly act: SuccessionAct;
  readonly kind: SuccessionKind;
  readonly path: string;
  readonly signer: Owner;
  readonly owner: Address;
  readonly successor: Address | undefined;
  readonly delayDays?: number;
  /** As JSON has it. */
  readonly successorJson: Successor | Address | null;
  readonly render: (common: Common) => string;
}
type Common = Omit<Parameters<typeof renderNameStatement>[0], 'successor'>;

/**
 * The owner stays the owner until a claim of this successor has run for the delay, and he has ended none of it.
 * @throws QvError attestation_* before the owner is asked for anything; field_malformed; statement_signature_invalid when
 * the callback signed something else; evidence_*; HostProblem; host_unreachable, response_malformed
 */
export function nameSuccessor(context: SigningContext, options: NameSuccessorOptions): Promise<SuccessionChanged> {
  const { owner, successor } = options;
  return change(context, options, () => ({
    act: 'name',
    kind: 'successor-named',
    path: 'successor',
    signer: owner,
    owner: owner.address,
    successor: successor?.key,
    ...(successor && { delayDays: successor.delayDays }),
    successorJson: successor,
    render: (common) => renderNameStatement({ ...common, successor: successor ?? undefined }),
  }));
}

/** The delay begins, and the owner can see it. @throws QvError as above */
export function claimWallet(context: SigningContext, options: ClaimWalletOptions): Promise<SuccessionChanged> {
  const { successor } = options;
  const { address: key } = successor;
  return change(context, options, async (told) => ({
    act: 'claim',
    kind: 'takeover-claimed',
    path: 'takeover',
    signer: successor,
    owner: options.owner ?? (await told()).owner,
    successor: key,
    successorJson: key,
    render: (common) => renderClaimStatement({ ...common, successor: key }),
  }));
}

/**
 * The successor becomes the owner: the next policy is his. When the answer was lost, the host's word on the owner says
 * whether it was done. @throws QvError as above
 */
export function completeTakeover(context: SigningContext, options: ClaimWalletOptions): Promise<SuccessionChanged> {
  const { successor } = options;
  const { address: key } = successor;
  return change(context, options, async (told) => ({
    act: 'complete',
    kind: 'owner-changed',
    path: 'takeover/complete',
    signer: successor,
    owner: options.owner ?? (await told()).owner,
    successor: key,
    successorJson: key,
    render: (common) => renderCompleteStatement({ ...common, successor: key }),
  }));
}

/**
 * Until the delay has passed. The successor stays named.
 * @throws QvError takeover_not_running when the host names nobody; and as above
 */
export function cancelClaim(context: SigningContext, options: CancelClaimOptions): Promise<SuccessionChanged> {
  const { owner } = options;
  return change(context, options, async (told) => {
    const key = options.successor ?? (await told()).successor;
    if (key === undefined) throw new QvError('takeover_not_running');
    return {
      act: 'cancel',
      kind: 'takeover-cancelled',
      path: 'takeover/cancel',
      signer: owner,
      owner: owner.address,
      successor: key,
      successorJson: key,
      render: (common) => renderCancelStatement({ ...common, successor: key }),
    };
  });
}

async function change(
  context: SigningContext,
  options: ChangeOptions,
  ask: (told: Telling) => Asked | Promise<Asked>,
): Promise<SuccessionChanged> {
  const { deployment, connection, verifyEd25519 } = context;
  const { wallet, signal } = options;
  const nonce = requireLength(options.nonce ?? crypto.getRandomValues(new Uint8Array(16)), 16, 'nonce');
  const before = options.before ?? soon(context);
  const attested = await context.boots.fresh(signal);
  const { boot } = attested;
  let telling: Promise<Told> | undefined;
  const told: Telling = () => {
    telling ??= toldOf(context, wallet, signal);
    return telling;
  };
  const asked = await ask(told);
  const number = options.change ?? (await told()).change + 1;
  const common = { deployment, wallet, owner: asked.owner, change: number, boot, nonce };
  const statement = asked.render({ ...common, beforeMs: before });
  const signature = await signStatement(context, asked.signer, statement);
  const fields = await exchange(connection, {
    method: 'POST',
    path: `v1/wallets/${wallet}/${asked.path}`,
    signal,
    body: jsonBody({
      purpose: SUCCESSION_PURPOSES[asked.act],
      ...common,
      nonce: toHex(nonce),
      before: formatTime(before),
      successor: asked.successorJson,
      signature: toBase64(signature),
    }),
  });
  const claim = readResponse(() => ({
    wallet: fields.text('wallet'),
    ack: signedBytesField(fields, 'ack'),
    receipt: receiptField(fields, 'receipt'),
  }));
  if (claim.wallet !== wallet)
    throw new QvError('evidence_mismatch', { path: 'wallet', value: claim.wallet.slice(0, 64) });
  const { kind, owner, successor, delayDays, signer } = asked;
  // The statement names one boot, and only that one can have honoured it.
  const expected = { deployment, boot, kind, wallet, owner, actor: signer.address, change: number, nonce, successor };
  const wanted = { ...expected, ...(delayDays !== undefined && { delayDays }) };
  const ack = verifySuccessionAck(claim.ack, claim.receipt, wanted, verifyEd25519);
  return { wallet, boot: attested, ack, statement, evidence: { ack: claim.ack, receipt: claim.receipt } };
}

async function toldOf({ connection }: SigningContext, wallet: Address, signal: AbortSignal | undefined): Promise<Told> {
  const fields = await exchange(connection, { method: 'GET', path: `v1/wallets/${wallet}`, signal });
  return readResponse(() => {
    const owner = address(fields.text('owner'), 'owner');
    if (fields.required('succession') === null) return { owner, change: 0, successor: undefined };
    const succession = new JsonFields(fields.required('succession'), 'succession');
    const change = succession.integer('change', 0xffff_ffff);
    if (succession.required('successor') === null) return { owner, change, successor: undefined };
    const successor = new JsonFields(succession.required('successor'), 'succession.successor');
    return { owner, change, successor: address(successor.text('key'), 'succession.successor.key') };
  });
}
