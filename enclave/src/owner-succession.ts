/**
 * Who may follow a wallet's owner. The owner names a successor and a delay; the successor claims the wallet, which is
 * on record at once; until the delay has passed, by trusted time, the owner ends the claim with one signature. Meanwhile
 * nothing else changes: signing goes on under the owner's policy, and what is frozen stays frozen.
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
  renderNameStatement,
} from '@quantumvault/shared/policy/succession-statement.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { Context } from './context.ts';
import { encodeState, type Succession, stateAssociated, type WalletState } from './state.ts';
import { requireTimely } from './timely.ts';
import { verifyEd25519, type WalletKeys } from './vault.ts';

type Changed = ReplyOf<'successorName'>;
type Request = Omit<RequestOf<'takeoverClaim'>, 'successor'>;

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
      if (current.claimedAt === undefined) throw new QvError('takeover_not_running');
      requireNotDue(current, now);
      return { successor: requireSuccessor(current, key) };
    },
  });
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
  const { attester, config, holdings, time, unwrapper } = context;
  const { deployment, wallet, owner, boot, before, signature, blobs } = request;
  if (deployment !== config.deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
  if (!isSignedByOwner(signature, wanted.statement, wanted.signer, verifyEd25519))
    throw new QvError('statement_signature_invalid');
  if (boot !== attester.boot) throw new QvError('wallet_held_elsewhere', { path: 'boot' });
  const now = time.now();
  requireTimely(before, now, 'before');
  const statement = utf8(wanted.statement);
  const held = holdings.get(wallet);
  if (held !== undefined) {
    if (held.state.owner !== owner) throw new QvError('wallet_owner_mismatch');
    // Anybody may sign as a successor whom nobody named: that is no reason to ask KMS.
    const last = held.lastSuccession;
    if (last === undefined || !equalBytes(last.statement, statement)) follow(held.state, request, wanted, now);
  }
  return unwrapper.withKeys(wallet, owner, blobs, (keys) => complete(context, request, wanted, statement, keys));
}

/** Synchronous: what it is judged by is what it changes. */
function complete(
  context: Context,
  request: Request,
  wanted: Change,
  statement: Uint8Array,
  keys: WalletKeys,
): Changed {
  const { attester, config, holdings, log, vault } = context;
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
  const succession = successionFacts(owner, following);
  const { receipt, hash: leafHash } = log.append(
    { kind, wallet, actor: signer, stateVersion: version, succession },
    now,
  );
  const { deployment } = config;
  const facts = { deployment, boot: attester.boot, wallet, kind, nonce, time: now, succession, leafHash };
  const bytes = encodeAs(successionAckCodec, facts);
  const reply: Changed = { state: sealed, ack: { bytes, signature: vault.signAsBoot(bytes) }, receipt };
  held.state = state;
  held.sealed = sealed;
  held.lastSuccession = { statement, reply };
  // A repeated import would hand out a state that knows nothing of this.
  held.imported = undefined;
  return reply;
}

/** What is wrong with the state is said before what is wrong with the number. @throws QvError succession_changed */
function follow({ succession = NOBODY }: WalletState, request: Request, { next }: Change, now: TimeMs): Succession {
  const following = next(succession, now);
  const changes = succession.changes + 1;
  if (request.change !== changes) throw new QvError('succession_changed', { path: 'change', value: String(changes) });
  return { changes, ...following };
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
