/**
 * Who may follow a wallet's owner. The owner names a successor and a delay; the successor claims the wallet, which is
 * on record at once; until the delay has passed, by trusted time, the owner ends the claim with one signature. Meanwhile
 * nothing else changes: signing goes on under the owner's policy, and what is frozen stays frozen. Then the successor
 * becomes the owner: contexts and associated data name owners, so the wallet is re-wrapped for him (rewrap.ts).
 *
 * Each statement names the number of the change that it is. Without it a host that holds back the owner's older
 * statement could have it count behind a newer one.
 */
import type { Address, TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type OwnerSuccession, type SuccessionKind, successionAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import {
  renderCancelStatement,
  renderClaimStatement,
  renderCompleteStatement,
  renderNameStatement,
} from '@quantumvault/shared/policy/succession-statement.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { Context } from './context.ts';
import type { Held } from './holdings.ts';
import { underFreshKeys } from './rewrap.ts';
import { encodeState, type Succession, stateAssociated, type WalletState } from './state.ts';
import { requireTimely } from './timely.ts';
import { verifyEd25519, type WalletKeys } from './vault.ts';

type Changed = ReplyOf<'successorName'>;
type Completed = ReplyOf<'takeoverComplete'>;
type Request = Omit<RequestOf<'takeoverClaim'>, 'successor'>;
type Last = NonNullable<Held['lastSuccession']>;

const DAY_MS = 86_400_000;
const NOBODY: Succession = { changes: 0 };

/** One change, whoever asks for it. */
interface Change {
  readonly kind: SuccessionKind;
  readonly statement: string;
  readonly signer: Address;
  /** What follows from what there is; it is asked before KMS is, and again when it has answered. @throws QvError */
  readonly next: (current: Succession, now: TimeMs) => Omit<Succession, 'changes'>;
}

/**
 * Also while a claim runs, which it ends.
 * @throws QvError field_malformed, takeover_due, and what every change does
 */
export function nameSuccessor(context: Context, request: RequestOf<'successorName'>): Promise<Changed> {
  const { successor, before: beforeMs, owner } = request;
  return change(context, request, {
    kind: 'successor-named',
    statement: renderNameStatement({ ...request, successor, beforeMs }),
    signer: owner,
    next: (current, now) => {
      requireNotDue(current, now);
      return successor === undefined ? {} : { successor };
    },
  });
}

/**
 * There is no limit to how often: each claim behind the first takes a signature of the owner, who ended the last one.
 * @throws QvError successor_mismatch, takeover_running, and what every change does
 */
export function claimWallet(context: Context, request: RequestOf<'takeoverClaim'>): Promise<Changed> {
  const { successor: key, before: beforeMs } = request;
  return change(context, request, {
    kind: 'takeover-claimed',
    statement: renderClaimStatement({ ...request, beforeMs }),
    signer: key,
    next: (current, now) => {
      if (current.claimedAt !== undefined) throw new QvError('takeover_running');
      return { successor: requireSuccessor(current, key), claimedAt: now };
    },
  });
}

/** @throws QvError successor_mismatch, takeover_not_running, takeover_due, and what every change does */
export function cancelClaim(context: Context, request: RequestOf<'takeoverCancel'>): Promise<Changed> {
  const { successor: key, before: beforeMs, owner } = request;
  return change(context, request, {
    kind: 'takeover-cancelled',
    statement: renderCancelStatement({ ...request, beforeMs }),
    signer: owner,
    next: (current, now) => {
      requireClaim(current);
      requireNotDue(current, now);
      return { successor: requireSuccessor(current, key) };
    },
  });
}

/**
 * From the acknowledgement on the wallet is the successor's: no policy counts until he enables one, which follows the one
 * of before. Windows go on, and no freeze ends. The same statement answers the same again, as long as nobody has changed
 * the succession since.
 * @throws QvError successor_mismatch, takeover_not_running, takeover_too_early, and what every change and `underFreshKeys`
 * do
 */
export async function completeTakeover(context: Context, request: RequestOf<'takeoverComplete'>): Promise<Completed> {
  const { wallet, owner, successor: newOwner, before: beforeMs, blobs, nonce } = request;
  const wanted: Change = {
    kind: 'owner-changed',
    statement: renderCompleteStatement({ ...request, beforeMs }),
    signer: newOwner,
    next: (current, now) => {
      requireDue(requireClaim(current), now);
      requireSuccessor(current, newOwner);
      return {};
    },
  };
  const { statement, repeated } = begin(context, request, wanted);
  if (repeated !== undefined) return repeatedCompletion(context, wallet, repeated);
  return underFreshKeys(context, { wallet, owner, newOwner, blobs }, (held, keys, fresh) => {
    const now = context.time.now();
    // KMS was asked three times.
    requireTimely(request.before, now, 'before');
    const claim = held.state.succession ?? NOBODY;
    const succession = follow(held.state, request, wanted, now);
    const version = held.state.version + 1n;
    const state: WalletState = {
      ...held.state,
      version,
      owner: newOwner,
      succession,
      logPosition: context.log.size,
      ...(held.state.policyHash && { lapsed: true }),
    };
    const sealed = { blob: keys.sealState(encodeState(state), stateAssociated(wallet, newOwner)), version };
    const said = { ...successionFacts(owner, claim), change: succession.changes };
    const recorded = record(context, { wallet, nonce, kind: wanted.kind, actor: newOwner, version, now }, said);
    const rewrapped = { keys: fresh, at: now, owner: newOwner };
    const reply: Completed = { state: sealed, ...recorded, rewrapped };
    context.holdings.rewrap(held, state, sealed, rewrapped);
    // Under the policy of before, whose owner has no say any more.
    held.lastEnable = undefined;
    held.lastSuccession = { statement, reply };
    return reply;
  });
}

/** With the newest state, and what it is under. @throws QvError wallet_held_elsewhere */
function repeatedCompletion({ holdings }: Context, wallet: Address, { reply }: Last): Completed {
  const newest = holdings.newest(wallet);
  if (newest?.rewrapped === undefined || !('rewrapped' in reply)) throw new QvError('wallet_held_elsewhere');
  const { owner } = reply.rewrapped;
  return { ...reply, state: newest.state, rewrapped: { ...newest.rewrapped, ...(owner && { owner }) } };
}

/** When the delay of the claim has passed; undefined while none runs. */
export function dueAt({ successor, claimedAt }: Succession): number | undefined {
  return claimedAt === undefined || successor === undefined ? undefined : claimedAt + successor.delayDays * DAY_MS;
}

/** As leaves and acknowledgements say it. */
export function successionFacts(owner: Address, { changes, ...rest }: Succession): OwnerSuccession {
  return { change: changes, owner, ...rest };
}

/**
 * @throws QvError deployment_mismatch, field_malformed, statement_signature_invalid, statement_expired,
 * succession_changed, wallet_owner_mismatch, wallet_held_elsewhere, wallet_retired, kms_*, key_blob_invalid,
 * state_invalid, state_ahead, time_untrusted
 */
async function change(context: Context, request: Request, wanted: Change): Promise<Changed> {
  const { holdings, unwrapper } = context;
  const { wallet, owner, blobs } = request;
  const { statement, repeated } = begin(context, request, wanted);
  if (!repeated) holdings.requireKeys(wallet, blobs);
  return unwrapper.withKeys(wallet, owner, blobs, (keys) => complete(context, request, wanted, statement, keys));
}

/**
 * What can be said before KMS is asked.
 * @throws QvError as above, without those of keys and of the row's state
 */
function begin(context: Context, request: Request, wanted: Change): { statement: Uint8Array; repeated?: Last } {
  const { attester, config, holdings, time } = context;
  const { deployment, wallet, owner, boot, before, signature } = request;
  if (deployment !== config.deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
  if (!isSignedByOwner(signature, wanted.statement, wanted.signer, verifyEd25519))
    throw new QvError('statement_signature_invalid');
  if (boot !== attester.boot) throw new QvError('wallet_held_elsewhere', { path: 'boot' });
  const now = time.now();
  requireTimely(before, now, 'before');
  const statement = utf8(wanted.statement);
  const held = holdings.get(wallet);
  if (held === undefined) return { statement };
  const last = held.lastSuccession;
  if (last !== undefined && equalBytes(last.statement, statement)) return { statement, repeated: last };
  if (held.state.owner !== owner) throw new QvError('wallet_owner_mismatch');
  // Anybody may sign as a successor whom nobody named: that is no reason to ask KMS.
  follow(held.state, request, wanted, now);
  return { statement };
}

/** Synchronous: what it is judged by is what it changes. */
function complete(
  context: Context,
  request: Request,
  wanted: Change,
  statement: Uint8Array,
  keys: WalletKeys,
): Changed {
  const { holdings, log } = context;
  const { wallet, owner, before, nonce } = request;
  const held = holdings.compare(keys, request.blobs, wallet, owner);
  holdings.requireLive(wallet);
  const last = held.lastSuccession;
  if (last !== undefined && equalBytes(last.statement, statement)) return { ...last.reply, state: held.sealed };
  const now = context.time.now();
  // KMS may have been slow.
  requireTimely(before, now, 'before');
  const following = follow(held.state, request, wanted, now);
  const version = held.state.version + 1n;
  const state: WalletState = { ...held.state, version, succession: following, logPosition: log.size };
  const sealed = { blob: keys.sealState(encodeState(state), stateAssociated(wallet, owner)), version };
  const { kind, signer } = wanted;
  const said = successionFacts(owner, following);
  const reply: Changed = {
    state: sealed,
    ...record(context, { wallet, nonce, kind, actor: signer, version, now }, said),
  };
  held.state = state;
  held.sealed = sealed;
  held.lastSuccession = { statement, reply };
  // A repeated import would hand out a state that knows nothing of this.
  held.imported = undefined;
  return reply;
}

interface Recorded {
  readonly wallet: Address;
  readonly nonce: Uint8Array;
  readonly kind: SuccessionKind;
  readonly actor: Address;
  readonly version: bigint;
  readonly now: TimeMs;
}

/** Puts it on record, and gives who signed the boot's word. */
function record(
  { attester, config, log, vault }: Context,
  { wallet, nonce, kind, actor, version, now }: Recorded,
  succession: OwnerSuccession,
): Pick<Changed, 'ack' | 'receipt'> {
  const { receipt, hash: leafHash } = log.append({ kind, wallet, actor, stateVersion: version, succession }, now);
  const { deployment } = config;
  const facts = { deployment, boot: attester.boot, wallet, kind, nonce, time: now, succession, leafHash };
  const bytes = encodeAs(successionAckCodec, facts);
  return { ack: { bytes, signature: vault.signAsBoot(bytes) }, receipt };
}

/** What is wrong with the state is said before what is wrong with the number. @throws QvError succession_changed */
function follow({ succession = NOBODY }: WalletState, request: Request, { next }: Change, now: TimeMs): Succession {
  const following = next(succession, now);
  const changes = succession.changes + 1;
  if (request.change !== changes) throw new QvError('succession_changed', { path: 'change', value: String(changes) });
  return { changes, ...following };
}

/** @throws QvError takeover_not_running */
function requireClaim(current: Succession): Succession {
  if (current.claimedAt === undefined) throw new QvError('takeover_not_running');
  return current;
}

/** @throws QvError takeover_too_early */
function requireDue(current: Succession, now: TimeMs): void {
  const due = dueAt(current) ?? Number.POSITIVE_INFINITY;
  if (now < due) throw new QvError('takeover_too_early', { value: new Date(due).toISOString() });
}

/** @throws QvError takeover_due */
function requireNotDue(current: Succession, now: TimeMs): void {
  const due = dueAt(current);
  if (due !== undefined && now >= due) throw new QvError('takeover_due');
}

/** @throws QvError successor_mismatch */
function requireSuccessor({ successor }: Succession, key: Address): NonNullable<Succession['successor']> {
  if (successor?.key !== key) throw new QvError('successor_mismatch', { path: 'successor' });
  return successor;
}
