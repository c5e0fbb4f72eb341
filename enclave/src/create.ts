/**
 * Creating a wallet (design 4): the owner signs a statement; then seed, public key, and a data key of KMS with that
 * public key in its context, in this order, so that no execution key ever fits another wallet. A wallet whose seed was
 * imported (import.ts) comes into being in the same way.
 */
import type { Address, Hash, TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type Successor, walletCertificateCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import { NOTHING_SPENT } from '@quantumvault/shared/policy/state.ts';
import { renderCreationStatement } from '@quantumvault/shared/policy/statement.ts';
import type { NewWallet, WalletBlobs, WalletKeyBlobs } from '@quantumvault/shared/protocol/message-parts.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { Context } from './context.ts';
import { newExecutionKey } from './execution-key.ts';
import { encodeState, stateAssociated, type WalletState } from './state.ts';
import { requireTimely } from './timely.ts';
import { type PendingWallet, verifyEd25519, type WalletKeys } from './vault.ts';

const FIRST_VERSION = 1n;

interface Creation {
  readonly statementHash: Uint8Array;
  readonly reply: Promise<NewWallet>;
  readonly forgetAt: TimeMs;
}

/** What a wallet begins with, by the statement of its owner. */
export interface Beginning {
  readonly deployment: string;
  readonly owner: Address;
  readonly nonce: Uint8Array;
  readonly requesters: readonly Address[];
  readonly statementHash: Hash;
  /** Until when the statement counts, and what it calls that. */
  readonly before: TimeMs;
  readonly beforeName: 'createBefore' | 'importBefore' | 'notAfter';
  readonly kind: 'wallet-created' | 'wallet-imported' | 'wallet-migrated';
  /** The operators who signed for it, where it is not the owner's statement. */
  readonly signers?: readonly Address[];
  /** Who may follow the owner, where he names somebody at once. */
  readonly successor?: Successor | undefined;
  /** Brings its seed into a pending slot. */
  readonly begin: () => PendingWallet;
  /** What is here of it already and may be handed out once more. @throws QvError when it may not */
  readonly standing: (wallet: Address) => WalletBlobs | undefined;
}

/** Creations and imports whose statements have not expired: the same statement gets the same wallet, once. */
export class Creations {
  readonly #byNonce = new Map<string, Creation>();

  /**
   * The wallet of this statement: the one under way or done, or a new one.
   * @throws QvError nonce_reused, request_ids_full, and what `establish` does
   */
  once(context: Context, beginning: Beginning, now: TimeMs): Promise<NewWallet> {
    for (const [key, { forgetAt }] of this.#byNonce) if (forgetAt < now) this.#byNonce.delete(key);
    const { owner, nonce, statementHash, before } = beginning;
    // A nonce is its owner's: nobody can use up another one's.
    const key = `${owner} ${toHex(nonce)}`;
    const known = this.#byNonce.get(key);
    if (known !== undefined) {
      if (!equalBytes(known.statementHash, statementHash)) throw new QvError('nonce_reused', { path: 'nonce' });
      return known.reply;
    }
    // Before anything begins: a creation that nobody remembers could neither be repeated nor fail unnoticed.
    if (this.#byNonce.size >= LIMITS.creationNonces) throw new QvError('request_ids_full', { path: 'creationNonces' });
    const reply = establish(context, beginning);
    this.#byNonce.set(key, { statementHash, reply, forgetAt: before });
    // A failed creation left nothing behind and may be tried again.
    reply.catch(() => {
      // Its time may have run out meanwhile, and the nonce stand for another statement.
      if (this.#byNonce.get(key)?.reply === reply) this.#byNonce.delete(key);
    });
    return reply;
  }
}

/**
 * @throws QvError deployment_mismatch, statement_expired, statement_signature_invalid, nonce_reused, wallets_full,
 * overloaded, request_ids_full, time_untrusted, kms_*
 */
export async function createWallet(
  context: Context,
  creations: Creations,
  request: RequestOf<'walletCreate'>,
): Promise<NewWallet> {
  const { deployment, owner, nonce, requesters, createBefore, signature, successor } = request;
  if (deployment !== context.config.deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
  const now = context.time.now();
  requireTimely(createBefore, now, 'createBefore');
  const statement = renderCreationStatement({
    deployment,
    owner,
    nonce,
    requesters: [...requesters],
    createBeforeMs: createBefore,
    successor,
  });
  if (!isSignedByOwner(signature, statement, owner, verifyEd25519)) throw new QvError('statement_signature_invalid');
  const beginning: Beginning = {
    deployment,
    owner,
    nonce,
    requesters,
    statementHash: sha256(utf8(statement)),
    before: createBefore,
    beforeName: 'createBefore',
    kind: 'wallet-created',
    successor,
    begin: () => context.vault.beginWallet(),
    standing: () => undefined,
  };
  return creations.once(context, beginning, now);
}

/** One wallet of such a beginning. @throws QvError wallets_full, statement_expired, kms_*, and what the beginning throws */
export async function establish(context: Context, beginning: Beginning): Promise<NewWallet> {
  const { owner, before, beforeName, standing } = beginning;
  const { vault, holdings } = context;
  const room = holdings.reserve();
  try {
    const { slot, wallet } = beginning.begin();
    try {
      const known = standing(wallet);
      if (known !== undefined) return certify(context, beginning, wallet, known, context.time.now());
      return await newExecutionKey(context, wallet, owner, slot, (keys, keyBlobs) => {
        const now = context.time.now();
        requireTimely(before, now, beforeName);
        // From here on nothing waits: keys, seals, leaf and certificate come out of one synchronous call.
        const meanwhile = standing(wallet);
        if (meanwhile !== undefined) return certify(context, beginning, wallet, meanwhile, now);
        return complete(context, beginning, wallet, keyBlobs, keys, now);
      });
    } finally {
      vault.endWallet(slot);
    }
  } finally {
    room.release();
  }
}

function complete(
  context: Context,
  beginning: Beginning,
  wallet: Address,
  keyBlobs: WalletKeyBlobs,
  keys: WalletKeys,
  now: TimeMs,
): NewWallet {
  const { attester, holdings, log } = context;
  const { owner, requesters, kind, successor } = beginning;
  const state: WalletState = {
    wallet,
    owner,
    version: FIRST_VERSION,
    holder: attester.boot,
    epoch: 0,
    firstRequesters: requesters,
    logPosition: log.size,
    spent: NOTHING_SPENT,
    ...(successor && { succession: { changes: 0, successor } }),
  };
  const sealed = {
    blob: keys.sealState(encodeState(state), stateAssociated(wallet, owner)),
    version: FIRST_VERSION,
  };
  const blobs = { ...keyBlobs, sealedState: sealed.blob };
  const reply = certify(context, beginning, wallet, blobs, now);
  holdings.add(state, sealed, keyBlobs, kind === 'wallet-created' ? {} : { imported: blobs });
  return reply;
}

/** Puts it on record, and gives the owner the boot's word. */
function certify(
  { attester, config, log, vault }: Context,
  { owner, nonce, requesters, deployment, kind, signers, successor }: Beginning,
  wallet: Address,
  blobs: WalletBlobs,
  now: TimeMs,
): NewWallet {
  const stateVersion = FIRST_VERSION;
  const second = config.kms.keys.find(({ use }) => use === 'second');
  const named = successor && { succession: { change: 0, owner, successor } };
  const leaf = { kind, wallet, actor: owner, stateVersion, ...named, ...(signers && { signers }) };
  const { receipt, hash } = log.append(leaf, now);
  const certificate = encodeAs(walletCertificateCodec, {
    deployment,
    boot: attester.boot,
    wallet,
    owner,
    requesters,
    kmsKeyArn: config.kms.keyArn,
    ...(blobs.second && second && { secondKmsKeyArn: second.keyArn }),
    nonce,
    leafHash: hash,
    ...(kind !== 'wallet-created' && { imported: true }),
    ...(kind === 'wallet-migrated' && { migrated: true }),
    ...(successor && { successor }),
  });
  return {
    wallet,
    blobs,
    stateVersion,
    certificate: { bytes: certificate, signature: vault.signAsBoot(certificate) },
    receipt,
  };
}
