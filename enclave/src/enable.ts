/**
 * Enabling a policy (design 7): the owner signed the readable statement, the epoch rises, the statement names the
 * policy it replaces. From the acknowledgement on the old policy counts no more. A freeze stays as it is.
 */
import type { Hash } from '@quantumvault/shared/brands.ts';
import { equalBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { enableReceiptCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import { type Policy, policyFromBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { Context } from './context.ts';
import type { Held } from './holdings.ts';
import { encodeState, policyMacInput, stateAssociated, type WalletState } from './state.ts';
import { requireTimely } from './timely.ts';
import { verifyEd25519, type WalletKeys } from './vault.ts';

type Request = RequestOf<'policyEnable'>;
type Enabled = ReplyOf<'policyEnable'>;

interface Draft {
  readonly policy: Policy;
  readonly hash: Hash;
  readonly statement: Uint8Array;
}

/**
 * @throws QvError policy_*, wallet_owner_mismatch, statement_expired, statement_signature_invalid, kms_*,
 * key_blob_invalid, wallet_keys_replaced, state_invalid, state_ahead, wallet_held_elsewhere, wallet_retired, time_untrusted
 */
export async function enablePolicy(context: Context, request: Request): Promise<Enabled> {
  const policy = policyFromBytes(request.policy);
  const hash = policyHash(request.policy);
  const now = context.time.now();
  requireTimely(request.enableBefore, now, 'enableBefore');
  const text = renderPolicyStatement({
    policy,
    policyHash: hash,
    deployment: context.config.deployment,
    previousHash: request.previousHash,
    enableBeforeMs: request.enableBefore,
  });
  if (!isSignedByOwner(request.signature, text, policy.owner, verifyEd25519)) {
    throw new QvError('statement_signature_invalid');
  }
  // The same statement is the same decision, in whatever envelope it was signed.
  const statement = utf8(text);
  const held = context.holdings.get(policy.wallet);
  if (held !== undefined && held.state.owner !== policy.owner) throw new QvError('wallet_owner_mismatch');
  context.holdings.requireKeys(policy.wallet, request.blobs);
  const draft = { policy, hash, statement };
  return context.unwrapper.withKeys(policy.wallet, policy.owner, request.blobs, (keys) =>
    enable(context, request, draft, keys),
  );
}

function enable(context: Context, request: Request, draft: Draft, keys: WalletKeys): Enabled {
  const { policy, statement } = draft;
  const held = context.holdings.compare(keys, request.blobs, policy.wallet, policy.owner);
  // Before a repeat is answered: what it enabled counts no more.
  context.holdings.requireLive(policy.wallet);
  const last = held.lastEnable;
  // State and MAC as they are now: the wallet may have been re-wrapped since.
  const mac = keys.policyMac(policyMacInput(request.policy));
  if (last !== undefined && equalBytes(last.statement, statement)) return { ...last.reply, mac, state: held.sealed };
  requireSuccession(held, policy, request.previousHash);
  const now = context.time.now();
  requireTimely(request.enableBefore, now, 'enableBefore');
  const version = held.state.version + 1n;
  const { lapsed: _, ...before } = held.state;
  const state: WalletState = {
    ...before,
    version,
    epoch: policy.epoch,
    policyHash: draft.hash,
    // The leaf to come: sealed first, so that nothing is recorded that cannot be kept.
    logPosition: context.log.size,
  };
  const sealed = { blob: keys.sealState(encodeState(state), stateAssociated(policy.wallet, policy.owner)), version };
  const { receipt, hash: leafHash } = context.log.append(
    {
      kind: 'policy-enabled',
      wallet: policy.wallet,
      actor: policy.owner,
      policyHash: draft.hash,
      stateVersion: version,
    },
    now,
  );
  const bytes = encodeAs(enableReceiptCodec, {
    deployment: context.config.deployment,
    boot: context.attester.boot,
    wallet: policy.wallet,
    owner: policy.owner,
    epoch: policy.epoch,
    policyHash: draft.hash,
    leafHash,
    ...(request.previousHash && { previousHash: request.previousHash }),
  });
  const reply: Enabled = {
    mac,
    state: sealed,
    enableReceipt: { bytes, signature: context.vault.signAsBoot(bytes) },
    receipt,
  };
  held.state = state;
  held.sealed = sealed;
  held.lastEnable = { statement, reply };
  if (held.rewrapped !== undefined) held.rewrapped.mac = mac;
  held.imported = undefined;
  return reply;
}

/** @throws QvError policy_previous_mismatch, policy_epoch_not_increasing */
function requireSuccession(held: Held, policy: Policy, previousHash: Hash | undefined): void {
  const current = held.state.policyHash;
  const same =
    current === undefined
      ? previousHash === undefined
      : previousHash !== undefined && equalBytes(current, previousHash);
  if (!same) throw new QvError('policy_previous_mismatch', { path: 'previousHash' });
  if (policy.epoch <= held.state.epoch) {
    throw new QvError('policy_epoch_not_increasing', { path: 'epoch', value: String(policy.epoch) });
  }
}
