/** Who may follow a wallet's owner: named by him, claiming, cancelled, and at last the owner; each by a statement. */
import { type Address, address, type BootId } from '@quantumvault/shared/brands.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import {
  renderCancelStatement,
  renderClaimStatement,
  renderCompleteStatement,
  renderNameStatement,
  SUCCESSION_PURPOSES,
  type SuccessionAct,
} from '@quantumvault/shared/policy/succession-statement.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { verifyEd25519 } from '../ed25519.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';
import { factsOf } from '../request-facts.ts';
import type { WalletRow } from '../store/store.ts';
import { successorField } from '../successor-json.ts';
import { blobsOf, requireLive, verifiedRow } from '../wallet-rows.ts';
import { bodyBytes, receiptJson, signatureField, signedBytesJson, timeField } from '../wire-json.ts';

type Message = 'successorName' | 'takeoverClaim' | 'takeoverCancel' | 'takeoverComplete';
type Common = Omit<RequestOf<'takeoverClaim'>, 'successor' | 'blobs'>;

const CLAIMS = {
  claim: { message: 'takeoverClaim', render: renderClaimStatement, path: 'takeover' },
  cancel: { message: 'takeoverCancel', render: renderCancelStatement, path: 'takeover/cancel' },
  complete: { message: 'takeoverComplete', render: renderCompleteStatement, path: 'takeover/complete' },
} as const;

/** A statement whose signature holds. */
interface Signed {
  readonly common: Common;
  /** Who else may own the wallet by now. */
  readonly orOwner?: Address;
  /** @throws QvError enclave_*, and what the enclave refuses with */
  readonly ask: (row: WalletRow, onLate: (late: ReplyOf<Message> | Error) => void) => Promise<ReplyOf<Message>>;
}

export function successorRoutes(app: FastifyInstance, deps: AppDeps, limits: RateLimits): void {
  const route = (path: string, read: (fields: JsonFields, common: Common) => Signed, act: SuccessionAct): void => {
    app.post<{ Params: { wallet: string } }>(`/v1/wallets/:wallet/${path}`, async (request, response) => {
      await limits.byAddress(request, response, 'statements');
      const wallet = address(request.params.wallet, 'wallet');
      factsOf(request).wallet = wallet;
      const fields = new JsonFields(parseStrictJson(bodyBytes(request.body)));
      const signed = read(fields, commonFields(deps, fields, act, wallet));
      const row = await verifiedRow(deps.store, deps.session, wallet);
      if (row.owner !== signed.common.owner && row.owner !== signed.orOwner)
        throw new QvError('wallet_owner_mismatch', { path: 'owner' });
      requireLive(row);
      const { ack, receipt } = await change(deps, row, signed);
      return { wallet, ack: signedBytesJson(ack), receipt: receiptJson(receipt), boot: decodeLeaf(receipt.leaf).boot };
    });
  };

  route(
    'successor',
    (fields, common) => {
      const successor = fields.required('successor') === null ? undefined : successorField(fields, 'successor');
      fields.end();
      const text = renderNameStatement({ ...common, successor, beforeMs: common.before });
      requireSigned(common, text, common.owner);
      const statement = { ...common, ...(successor && { successor }) };
      const ask: Signed['ask'] = (row, onLate) =>
        deps.enclave.request('successorName', { ...statement, blobs: blobsOf(row) }, { onLate });
      return { common, ask };
    },
    'name',
  );

  for (const act of ['claim', 'cancel', 'complete'] as const) {
    const { message, render, path } = CLAIMS[act];
    route(
      path,
      (fields, common) => {
        const successor = address(fields.text('successor'), 'successor');
        fields.end();
        const text = render({ ...common, successor, beforeMs: common.before });
        requireSigned(common, text, act === 'cancel' ? common.owner : successor);
        const timeout = act === 'complete' ? { timeoutMilliseconds: LIMITS.walletRewrapMilliseconds } : {};
        const ask: Signed['ask'] = (row, onLate) =>
          deps.enclave.request(message, { ...common, successor, blobs: blobsOf(row) }, { ...timeout, onLate });
        // Done already, and asked again by who lost the answer: the enclave has it, or says that it has not.
        return { common, ask, ...(act === 'complete' && { orOwner: successor }) };
      },
      act,
    );
  }
}

/** @throws QvError store_*, enclave_*, overloaded, and what the enclave refuses with */
async function change(deps: AppDeps, row: WalletRow, { ask }: Signed): Promise<ReplyOf<Message>> {
  const { records, incidents, walletKeys, log } = deps;
  records.requireRoom();
  return await walletKeys.ask(row, async (current) => {
    const store = (answer: ReplyOf<Message>): Promise<void> => {
      const { state, receipt } = answer;
      // Whoever is told need not wait for the database.
      incidents.recorded(receipt);
      const rewrapped = 'rewrapped' in answer ? { rewrapped: answer.rewrapped } : {};
      return records.moved({ row: current, state, ...rewrapped, receipts: [receipt] });
    };
    const reply = await ask(current, (late) => {
      if (late instanceof Error) return;
      store(late).catch((error) => log.error({ code: codeOf(error) }, 'a change of succession is not stored yet'));
    });
    await store(reply);
    return reply;
  });
}

/** @throws QvError statement_signature_invalid */
function requireSigned({ signature }: Common, text: string, signer: Address): void {
  if (!isSignedByOwner(signature, text, signer, verifyEd25519)) throw new QvError('statement_signature_invalid');
}

/** @throws QvError field_malformed, purpose_mismatch, deployment_mismatch, wallet_mismatch, base58_malformed, hex_malformed, … */
function commonFields({ deployment }: AppDeps, fields: JsonFields, act: SuccessionAct, wallet: Address): Common {
  if (fields.text('purpose') !== SUCCESSION_PURPOSES[act]) throw new QvError('purpose_mismatch', { path: 'purpose' });
  const common = {
    deployment: fields.text('deployment'),
    wallet: address(fields.text('wallet'), 'wallet'),
    owner: address(fields.text('owner'), 'owner'),
    change: fields.integer('change', 0xffff_ffff),
    boot: address(fields.text('boot'), 'boot') as string as BootId,
    nonce: fromHex(fields.text('nonce'), 'nonce'),
    before: timeField(fields, 'before'),
    signature: signatureField(fields, 'signature'),
  };
  if (common.nonce.length !== 16) throw fields.fault('nonce', 'not 16 bytes');
  if (common.deployment !== deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
  if (common.wallet !== wallet) throw new QvError('wallet_mismatch', { path: 'wallet' });
  return common;
}
