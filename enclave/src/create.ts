/**
 * Creating a wallet (design 4): the owner signs a statement; then seed, public key, and a data key of KMS with that
 * public key in its context, in this order, so that no execution key ever fits another wallet.
 */
import type { Address, TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { walletCertificateCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import { NOTHING_SPENT } from '@quantumvault/shared/policy/state.ts';
import { renderCreationStatement } from '@quantumvault/shared/policy/statement.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { Context } from './context.ts';
import { encodeState, seedAssociated, stateAssociated, type WalletState } from './state.ts';
import { requireTimely } from './timely.ts';
import { executionKeyContext } from './unwrap.ts';
import { randomBytes, verifyEd25519, type WalletKeys } from './vault.ts';

type Request = RequestOf<'walletCreate'>;
type Created = ReplyOf<'walletCreate'>;

interface Creation {
  readonly statementHash: Uint8Array;
  readonly reply: Promise<Created>;
  readonly forgetAt: TimeMs;
}

/** Creations whose statements have not expired: the same statement gets the same wallet, once. */
export class Creations {
  readonly #byNonce = new Map<string, Creation>();

  /**
   * The creation of this statement: the one under way or done, or `begin`'s.
   * @throws QvError nonce_reused, request_ids_full
   */
  once({ owner, nonce, createBefore }: Request, statementHash: Uint8Array, now: TimeMs, begin: () => Promise<Created>) {
    for (const [key, { forgetAt }] of this.#byNonce) if (forgetAt < now) this.#byNonce.delete(key);
    // A nonce is its owner's: nobody can use up another one's.
    const key = `${owner} ${toHex(nonce)}`;
    const known = this.#byNonce.get(key);
    if (known !== undefined) {
      if (!equalBytes(known.statementHash, statementHash)) throw new QvError('nonce_reused', { path: 'nonce' });
      return known.reply;
    }
    // Before anything begins: a creation that nobody remembers could neither be repeated nor fail unnoticed.
    if (this.#byNonce.size >= LIMITS.creationNonces) throw new QvError('request_ids_full', { path: 'creationNonces' });
    const reply = begin();
    this.#byNonce.set(key, { statementHash, reply, forgetAt: createBefore });
    // A failed creation left nothing behind and may be tried again.
    reply.catch(() => this.#byNonce.delete(key));
    return reply;
  }
}

/**
 * @throws QvError deployment_mismatch, statement_expired, statement_signature_invalid, nonce_reused, wallets_full,
 * overloaded, request_ids_full, time_untrusted, kms_*
 */
export async function createWallet(context: Context, creations: Creations, request: Request): Promise<Created> {
  const { deployment, owner, nonce, requesters, createBefore, signature } = request;
  if (deployment !== context.config.deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
  const now = context.time.now();
  requireTimely(createBefore, now, 'createBefore');
  const statement = renderCreationStatement({
    deployment,
    owner,
    nonce,
    requesters: [...requesters],
    createBeforeMs: createBefore,
  });
  if (!isSignedByOwner(signature, statement, owner, verifyEd25519)) throw new QvError('statement_signature_invalid');
  return creations.once(request, sha256(utf8(statement)), now, () => create(context, request));
}

async function create(context: Context, request: Request): Promise<Created> {
  const { owner, createBefore } = request;
  const { vault, kms, holdings } = context;
  const room = holdings.reserve();
  try {
    const { slot, wallet } = vault.beginWallet();
    try {
      const keyContext = executionKeyContext(wallet, owner);
      return await kms.generateDataKey(keyContext, (recipient, envelope, executionKey) => {
        const salt = randomBytes(LIMITS.saltBytes);
        const now = context.time.now();
        requireTimely(createBefore, now, 'createBefore');
        // From here on nothing waits: keys, seals, leaf and certificate come out of one synchronous call.
        return vault.withWalletKeys(recipient, envelope, salt, (keys) => {
          const sealedSeed = keys.sealPendingSeed(slot, seedAssociated(wallet, owner));
          return complete(context, request, wallet, { salt, executionKey, sealedSeed }, keys, now);
        });
      });
    } finally {
      vault.endWallet(slot);
    }
  } finally {
    room.release();
  }
}

function complete(
  { attester, config, holdings, log, vault }: Context,
  { owner, nonce, requesters, deployment }: Request,
  wallet: Address,
  blobs: Omit<Created['blobs'], 'sealedState'>,
  keys: WalletKeys,
  now: TimeMs,
): Created {
  const state: WalletState = {
    wallet,
    owner,
    version: 1n,
    holder: attester.boot,
    epoch: 0,
    firstRequesters: requesters,
    logPosition: log.size,
    spent: NOTHING_SPENT,
  };
  const sealed = { blob: keys.sealState(encodeState(state), stateAssociated(wallet, owner)), version: 1n };
  const { receipt, hash } = log.append({ kind: 'wallet-created', wallet, actor: owner, stateVersion: 1n }, now);
  holdings.add(state, sealed);
  const certificate = encodeAs(walletCertificateCodec, {
    deployment,
    boot: attester.boot,
    wallet,
    owner,
    requesters,
    kmsKeyArn: config.kms.keyArn,
    nonce,
    leafHash: hash,
  });
  return {
    wallet,
    blobs: { ...blobs, sealedState: sealed.blob },
    stateVersion: 1n,
    certificate: { bytes: certificate, signature: vault.signAsBoot(certificate) },
    receipt,
  };
}
