/**
 * Retiring a wallet: its owner ends it for good. The sealed state says so from then on, to whichever boot holds it, and
 * nothing takes that back: no policy, no resume, no hand-over. The seed stays sealed; copies of its ciphertext cannot be
 * destroyed from here, only that no enclave of ours ever opens it again to sign.
 */
import { equalBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { retireAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import { renderRetireStatement } from '@quantumvault/shared/policy/statement.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { Context } from './context.ts';
import type { Held } from './holdings.ts';
import { encodeState, stateAssociated, type WalletState } from './state.ts';
import { requireTimely } from './timely.ts';
import { verifyEd25519, type WalletKeys } from './vault.ts';

type Request = RequestOf<'walletRetire'>;
type Retired = ReplyOf<'walletRetire'>;

/**
 * Legal while a freeze holds: it stops signing, and so does this.
 * @throws QvError deployment_mismatch, statement_expired, statement_signature_invalid, wallet_held_elsewhere,
 * wallet_owner_mismatch, wallet_keys_replaced, wallet_retired (by another statement), policy_not_current, kms_*,
 * key_blob_invalid, state_invalid, state_ahead, time_untrusted
 */
export async function retireWallet(context: Context, request: Request): Promise<Retired> {
  const { attester, config, holdings, kept, time, unwrapper } = context;
  const { deployment, wallet, owner, policyHash, boot, nonce, retireBefore, signature } = request;
  if (deployment !== config.deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
  const text = renderRetireStatement({
    deployment,
    wallet,
    owner,
    policyHash,
    boot,
    nonce,
    retireBeforeMs: retireBefore,
  });
  if (!isSignedByOwner(signature, text, owner, verifyEd25519)) throw new QvError('statement_signature_invalid');
  if (boot !== attester.boot) throw new QvError('wallet_held_elsewhere', { path: 'boot' });
  requireTimely(retireBefore, time.now(), 'retireBefore');
  const held = holdings.get(wallet);
  if (held !== undefined && held.state.owner !== owner) throw new QvError('wallet_owner_mismatch');
  holdings.requireKeys(wallet, request.blobs);
  const statement = utf8(text);
  const reply = await unwrapper.withKeys(wallet, owner, request.blobs, (keys) =>
    retire(context, request, statement, keys),
  );
  // The key just used may be one that is kept.
  kept.forget(wallet);
  return reply;
}

/** Synchronous: a signature is made before it, and recorded before it, or not at all. */
function retire(context: Context, request: Request, statement: Uint8Array, keys: WalletKeys): Retired {
  const { attester, config, holdings, log, vault, witnesses } = context;
  const { wallet, owner, nonce, retireBefore } = request;
  const held = holdings.compare(keys, request.blobs, wallet, owner);
  const last = held.lastRetire;
  if (last !== undefined && equalBytes(last.statement, statement)) return last.reply;
  holdings.requireLive(wallet);
  const policy = requirePolicy(held, request);
  const now = context.time.now();
  // KMS may have been slow.
  requireTimely(retireBefore, now, 'retireBefore');
  const version = held.state.version + 1n;
  const state: WalletState = { ...held.state, version, retiredAt: now, logPosition: log.size };
  const sealed = { blob: keys.sealState(encodeState(state), stateAssociated(wallet, owner)), version };
  const { receipt, hash: leafHash } = log.append(
    { kind: 'retired', wallet, actor: owner, stateVersion: version, ...policy },
    now,
  );
  const { deployment } = config;
  const facts = { deployment, boot: attester.boot, wallet, owner, nonce, time: now, ...policy, leafHash };
  const bytes = encodeAs(retireAckCodec, facts);
  const reply: Retired = { state: sealed, ack: { bytes, signature: vault.signAsBoot(bytes) }, receipt };
  held.state = state;
  held.sealed = sealed;
  held.lastRetire = { statement, reply };
  held.imported = undefined;
  // What is held back, or on its way out, must not leave after the acknowledgement; as with a freeze.
  for (const outbox of context.outboxes) outbox.purge();
  witnesses.refuse((subject) => subject.wallet === wallet, new QvError('wallet_retired', { path: 'wallet' }));
  return reply;
}

/** What the owner read is what he ends. @throws QvError policy_not_current */
function requirePolicy({ state: { policyHash } }: Held, request: Request): Pick<Request, 'policyHash'> {
  const named = request.policyHash;
  const agrees = policyHash && named ? equalBytes(policyHash, named) : policyHash === named;
  if (!agrees) throw new QvError('policy_not_current', { path: 'policyHash' });
  return policyHash === undefined ? {} : { policyHash };
}
