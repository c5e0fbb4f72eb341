/**
 * Taking a wallet over (design 8): by a release, which only the boot that the sealed state names as holder can sign,
 * or by a lease of M operators, who say that this boot is gone. Nothing else makes another boot's wallet ours.
 */
import { addressBytes, type BootId, type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { touches } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { bootLogOrigin, type SignedBytes } from '@quantumvault/shared/evidence/leaf.ts';
import {
  type HeldFreeze,
  leaseCodec,
  type OperatorSigned,
  releaseCodec,
} from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { SpendState } from '@quantumvault/shared/policy/state.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { type Note, parseNote, verifyNote } from '@quantumvault/shared/tlog/note.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import type { Context } from './context.ts';
import { requireOperators } from './operators.ts';
import { successionFacts } from './owner-succession.ts';
import { agree, requireInTime } from './release.ts';
import { decodeState, encodeState, seedAssociated, stateAssociated, type WalletState } from './state.ts';
import { verifyEd25519, type WalletKeys } from './vault.ts';

type Request = RequestOf<'take'>;

/** What gives this boot the right, as far as it can be read without the wallet's state. */
interface Right {
  readonly kind: 'release' | 'lease';
  readonly predecessor: BootId;
  readonly checkpoint: Uint8Array;
  readonly freezes: readonly HeldFreeze[];
  /** Whether the state's sums are all there is: of a release always, of a lease if witnesses and operators say so. */
  readonly sumsProven: boolean;
  /** @throws QvError state_too_old, succession_mismatch */
  readonly requireVersion: (version: bigint) => void;
}

/**
 * @throws QvError succession_mismatch, succession_expired, operators_too_few, evidence_signature_invalid, log_*,
 * wallet_keys_replaced, kms_*, key_blob_invalid, state_invalid, sealed_seed_invalid, state_too_old,
 * wallet_held_elsewhere, wallets_full, time_untrusted
 */
export async function take(context: Context, request: Request): Promise<ReplyOf<'take'>> {
  const { wallet, owner, blobs } = request;
  const right = readRight(context, request);
  context.holdings.requireKeys(wallet, blobs);
  const room = context.holdings.reserve();
  try {
    return await context.unwrapper.withKeys(wallet, owner, blobs, (keys) => takeOver(context, request, right, keys));
  } finally {
    room.release();
  }
}

function readRight(context: Context, { release, lease, wallet }: Request): Right {
  if (release !== undefined && lease === undefined) return byRelease(context, release, wallet);
  if (lease !== undefined && release === undefined) return byLease(context, lease, wallet);
  throw new QvError('succession_mismatch', { path: 'take', value: 'one of release and lease' });
}

function byRelease({ config, attester }: Context, { bytes, signature }: SignedBytes, wallet: Request['wallet']): Right {
  const release = decodeAs(releaseCodec, bytes, 'release');
  const { predecessor, version, checkpoint, freezes } = release;
  // Which boot this is does not matter yet: the sealed state says who may release.
  if (!verifyEd25519(signature, bytes, addressBytes(predecessor)))
    throw new QvError('evidence_signature_invalid', { path: 'release' });
  agree('release.deployment', release.deployment === config.deployment);
  agree('release.successor', release.successor === attester.boot);
  agree('release.wallet', release.wallet === wallet);
  const requireVersion = (found: bigint): void => {
    if (found < version) throw new QvError('state_too_old', { path: 'release.version' });
    agree('release.version', found === version);
  };
  return { kind: 'release', predecessor, checkpoint, freezes, sumsProven: true, requireVersion };
}

function byLease(context: Context, { bytes, signatures }: OperatorSigned, wallet: Request['wallet']): Right {
  const { config, attester, witnesses } = context;
  requireOperators(config.operators, signatures, bytes);
  const lease = decodeAs(leaseCodec, bytes, 'lease');
  const { predecessor, checkpoint, freezes } = lease;
  agree('lease.deployment', lease.deployment === config.deployment);
  agree('lease.successor', lease.successor === attester.boot);
  agree('lease.predecessor', predecessor !== attester.boot);
  requireInTime(context, lease.notAfter);
  const least = lease.wallets.find((leased) => leased.wallet === wallet)?.version;
  if (least === undefined) throw new QvError('succession_mismatch', { path: 'lease.wallets' });
  const note = predecessorNote(config.logOrigin, predecessor, checkpoint);
  const requireVersion = (found: bigint): void => {
    if (found < least) throw new QvError('state_too_old', { path: 'lease.wallets' });
  };
  // Cosignatures alone could be those of an older checkpoint; that it is the last one is the operators' word.
  const sumsProven = lease.sumsProven && witnesses.haveCosigned(note);
  return { kind: 'lease', predecessor, checkpoint, freezes, sumsProven, requireVersion };
}

/** @throws QvError log_*, succession_mismatch */
function predecessorNote(logOrigin: string, predecessor: BootId, checkpoint: Uint8Array): Note {
  const origin = bootLogOrigin(logOrigin, predecessor);
  const note = parseNote(checkpoint);
  verifyNote(note, [verifierKey(origin, 'ed25519', addressBytes(predecessor))], verifyEd25519);
  agree('lease.checkpoint', parseCheckpoint(note.text).origin === origin);
  return note;
}

/** Synchronous: between looking at the state and holding the wallet nothing else happens. */
function takeOver(context: Context, request: Request, right: Right, keys: WalletKeys): ReplyOf<'take'> {
  const { wallet, owner, blobs } = request;
  const { holdings, attester, log } = context;
  const plaintext = keys.openState(blobs.sealedState, stateAssociated(wallet, owner));
  if (plaintext === undefined) throw new QvError('state_invalid');
  const stored = decodeState(plaintext);
  if (stored.wallet !== wallet || stored.owner !== owner) throw new QvError('state_invalid');
  holdings.requireKeys(wallet, blobs);
  const taken = holdings.taken(wallet, right.predecessor);
  // The answer was lost, and the host asks again with what it has.
  if (taken !== undefined) return taken;
  if (holdings.get(wallet) !== undefined) throw new QvError('succession_mismatch', { path: 'wallet', value: 'held' });
  // Only the holder's key can have signed a release; only the holder's end makes a lease true.
  if (stored.holder !== right.predecessor) throw new QvError('wallet_held_elsewhere', { value: stored.holder });
  right.requireVersion(stored.version);
  holdings.requireNewer(wallet, stored.version);
  // These blobs count from here on, and no others: what does not open would be nobody's wallet.
  if (!keys.seedOpens(blobs.sealedSeed, seedAssociated(wallet, owner))) throw new QvError('sealed_seed_invalid');
  const now = context.time.now();
  // From here on nothing fails. Not before: a freeze under an id of the host's choice could be resumed by an old word.
  // Of a lease of many wallets each brings what stops it alone: another one's may have been resumed here meanwhile.
  context.freeze.carryOver(right.freezes.filter(({ scope }) => touches(scope, wallet)));
  // One of the fleet that came along ends a migration as one that is ordered here.
  if (context.freeze.id !== undefined) context.legacy?.wipe();
  const version = stored.version + 1n;
  const state: WalletState = {
    ...stored,
    version,
    holder: attester.boot,
    logPosition: log.size,
    ...(!right.sumsProven && { spent: unknownSince(stored.spent, now), ...claimedSince(stored, now) }),
  };
  const sealed = { blob: keys.sealState(encodeState(state), stateAssociated(wallet, owner)), version };
  const predecessor = { boot: right.predecessor, checkpoint: right.checkpoint };
  const facts = { kind: right.kind, wallet, stateVersion: version, predecessor };
  const succession = state.succession && successionFacts(owner, state.succession);
  const { receipt } = log.append({ ...facts, ...(right.kind === 'lease' && succession && { succession }) }, now);
  const reply = { state: sealed, receipt };
  holdings.add(state, sealed, blobs, { taken: { predecessor: right.predecessor, at: now, reply } });
  return reply;
}

/** Its cancellation may be what is lost: the owner has the whole delay once more, from a leaf on that he can see. */
function claimedSince({ succession }: WalletState, now: TimeMs): Pick<WalletState, 'succession'> {
  return succession?.claimedAt === undefined ? {} : { succession: { ...succession, claimedAt: now } };
}

/** What a terminated boot signed last nobody knows: windows count as full, and no signal seen before counts again. */
function unknownSince(spent: SpendState, now: TimeMs): SpendState {
  // Signals may be dated a little ahead, and used before their time has come.
  const signalFloor = timeMs(now + LIMITS.requestMaxFutureSeconds * 1000);
  return { ...spent, fullAt: now, signals: [], signalFloor };
}
