/** Enabling a policy, and the statement an owner has to sign for it. */
import { type Address, address, type Hash, type TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes, fromHex, toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import {
  type Policy,
  parsePolicy,
  policyBytes,
  policyFromBytes,
  policyHash,
} from '@quantumvault/shared/policy/policy.ts';
import { renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { verifyEd25519 } from '../ed25519.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';
import { factsOf } from '../request-facts.ts';
import type { WalletRow } from '../store/store.ts';
import { blobsOf, requireLive, verifiedRow } from '../wallet-rows.ts';
import { bodyBytes, receiptJson, signatureField, signedBytesJson, timeField } from '../wire-json.ts';

interface Draft {
  readonly policy: Policy;
  readonly bytes: Uint8Array;
  readonly hash: Hash;
  readonly enableBefore: TimeMs;
}

type WalletRoute = { Params: { wallet: string } };

export function policyRoutes(app: FastifyInstance, deps: AppDeps, limits: RateLimits): void {
  app.put<WalletRoute>('/v1/wallets/:wallet/policy', async (request, response) => {
    await limits.byAddress(request, response, 'statements');
    const wallet = address(request.params.wallet, 'wallet');
    factsOf(request).wallet = wallet;
    const fields = new JsonFields(parseStrictJson(bodyBytes(request.body)));
    const draft = readDraft(fields, wallet);
    const previousHash = previousHashField(fields);
    const signature = signatureField(fields, 'signature');
    fields.end();
    const { policy, bytes, hash, enableBefore } = draft;
    const statement = statementOf(deps, draft, previousHash);
    if (!isSignedByOwner(signature, statement, policy.owner, verifyEd25519)) {
      throw new QvError('statement_signature_invalid');
    }
    await deps.walletKeys.afterRotation(wallet);
    const row = await verifiedRow(deps.store, deps.session, wallet);
    if (row.owner !== policy.owner) throw new QvError('wallet_owner_mismatch', { path: 'policy.owner' });
    requireLive(row);
    deps.records.requireRoom();
    // Before the enclave may decide: should its answer be lost, the leaf names a policy that auditors can still read.
    if (mayCount(row, draft, previousHash)) await deps.store.putPolicy(bytes);
    const enable = async (current: WalletRow): Promise<ReplyOf<'policyEnable'>> => {
      const record = { row: current, policy: bytes, epoch: policy.epoch };
      const enabled = await deps.enclave.request(
        'policyEnable',
        {
          policy: bytes,
          ...(previousHash === undefined ? {} : { previousHash }),
          enableBefore,
          signature,
          blobs: blobsOf(current),
        },
        {
          onLate: (late) => {
            if (late instanceof Error) return;
            deps.records
              .enabled({ ...record, reply: late })
              .catch((error) => request.log.error({ reason: String(error) }, 'a late policy is not stored yet'));
          },
        },
      );
      await deps.records.enabled({ ...record, reply: enabled });
      return enabled;
    };
    const { enabled: reply, code } = await deps.panicCodes.issue(wallet, () => deps.walletKeys.ask(row, enable));
    return {
      policyHash: toHex(hash),
      epoch: policy.epoch,
      enableReceipt: signedBytesJson(reply.enableReceipt),
      receipt: receiptJson(reply.receipt),
      // Here and nowhere else: a lost reply is repeated with the same statement and brings another code.
      panicCode: code,
    };
  });

  /** Gives no authority: it prints what the owner is to read and sign. */
  app.post<WalletRoute>('/v1/wallets/:wallet/policy/statement', async (request, response) => {
    await limits.byAddress(request, response, 'statements');
    const wallet = address(request.params.wallet, 'wallet');
    factsOf(request).wallet = wallet;
    const fields = new JsonFields(parseStrictJson(bodyBytes(request.body)));
    const draft = readDraft(fields, wallet);
    fields.end();
    const row = await verifiedRow(deps.store, deps.session, wallet);
    if (row.owner !== draft.policy.owner) throw new QvError('wallet_owner_mismatch', { path: 'policy.owner' });
    requireLive(row);
    const previousHash = row.policy === undefined ? undefined : policyHash(row.policy);
    return {
      statement: statementOf(deps, draft, previousHash),
      policyHash: toHex(draft.hash),
      previousHash: previousHash === undefined ? null : toHex(previousHash),
    };
  });
}

/** Whether it could follow the one of the row. What cannot is refused by the enclave, and nobody fills the disk with it. */
function mayCount({ policy: current }: WalletRow, { policy }: Draft, previousHash: Hash | undefined): boolean {
  if (current === undefined || previousHash === undefined) return current === previousHash;
  return equalBytes(policyHash(current), previousHash) && policy.epoch > policyFromBytes(current).epoch;
}

/** @throws QvError policy_*, wallet_mismatch, field_malformed */
function readDraft(fields: JsonFields, wallet: Address): Draft {
  const policy = parsePolicy(fields.required('policy'));
  const enableBefore = timeField(fields, 'enableBefore');
  if (policy.wallet !== wallet) throw new QvError('wallet_mismatch', { path: 'policy.wallet' });
  const bytes = policyBytes(policy);
  return { policy, bytes, hash: policyHash(bytes), enableBefore };
}

/** null for a wallet's first policy; never absent, so that nobody forgets it. */
function previousHashField(fields: JsonFields): Hash | undefined {
  const value = fields.required('previousHash');
  if (value === null) return undefined;
  if (typeof value !== 'string') throw fields.fault('previousHash', 'neither hex nor null');
  const bytes = fromHex(value, 'previousHash');
  if (bytes.length !== 32) throw fields.fault('previousHash', 'not 32 bytes');
  return bytes as Hash;
}

function statementOf({ deployment }: AppDeps, draft: Draft, previousHash: Hash | undefined): string {
  const { policy, hash, enableBefore } = draft;
  return renderPolicyStatement({ policy, policyHash: hash, deployment, previousHash, enableBeforeMs: enableBefore });
}
