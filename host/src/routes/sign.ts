/**
 * POST /v1/sign, in the order of design 6: cheap refusals first, then the row, then the enclave, then the record, then
 * the latch once more, and only then the signature. Everything checked here is checked again by the enclave.
 */
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import {
  parseSignBody,
  requireFresh,
  type SignBody,
  signedContent,
} from '@quantumvault/shared/protocol/sign-request.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { EnclaveRefusal } from '../enclave/client.ts';
import { Idempotency, type RequestKey } from '../idempotency.ts';
import { DeniedError } from '../problem.ts';
import { replyExpiry } from '../records.ts';
import { factsOf } from '../request-facts.ts';
import { RequesterKeys } from '../requester-keys.ts';
import type { ReplyRecord, WalletRow } from '../store/store.ts';
import { blobsOf, policyOf, verifiedRow } from '../wallet-rows.ts';
import { parseWebhookHeaders, type WebhookHeaders } from '../webhook.ts';
import { bodyBytes, receiptJson } from '../wire-json.ts';

type Reply = ReplyOf<'sign'>;

/** A request that a requester of the stored policy signed. */
interface Authentic {
  readonly row: WalletRow;
  readonly key: RequestKey;
  readonly message: RequestOf<'sign'>;
}

export function signRoute(app: FastifyInstance, deps: AppDeps): void {
  const idempotency = new Idempotency(deps.store, () => deps.session.requireRowMac(), deps.now);
  const keys = new RequesterKeys();

  app.post('/v1/sign', { bodyLimit: LIMITS.requestBodyBytes }, async (request, reply) => {
    const body = bodyBytes(request.body);
    const headers = parseWebhookHeaders(request.headers);
    requireFresh(headers.timestamp, deps.now());
    const parsed = parseSignBody(body);
    factsOf(request).wallet = parsed.wallet;
    if (parsed.audience !== deps.deployment) throw new QvError('audience_mismatch', { path: 'audience' });
    const authentic = await authenticate(deps, keys, headers, body, parsed);
    reply.type('application/json');
    if (parsed.dryRun) return JSON.stringify(verdictJson(await deps.enclave.request('sign', authentic.message)));
    return await idempotency.once(authentic.key, {
      // A stored reply is a released signature: a freeze holds it back like a new one.
      release: () => deps.freezes.requireOpen(authentic.key),
      work: () => decide(deps, authentic),
    });
  });
}

async function authenticate(
  deps: AppDeps,
  keys: RequesterKeys,
  headers: WebhookHeaders,
  body: Uint8Array,
  { wallet }: SignBody,
): Promise<Authentic> {
  const row = await verifiedRow(deps.store, deps.session, wallet);
  deps.freezes.requireOpen({ wallet });
  if (row.frozen) throw new QvError('frozen', { path: 'wallet' });
  const policy = policyOf(row);
  const content = signedContent(headers.id, headers.timestampText, body);
  const requester = await keys.signerOf(policy.bytes, headers.signature, content);
  deps.freezes.requireOpen({ wallet, requester });
  return {
    row,
    key: { wallet, requester, id: headers.id, bodyHash: sha256(body) },
    message: {
      id: headers.id,
      timestamp: headers.timestampText,
      body,
      signature: headers.signature,
      policy,
      blobs: blobsOf(row),
    },
  };
}

/** Asks the enclave and writes down what it decided. The JSON text of the reply; a denial throws. */
async function decide(deps: AppDeps, authentic: Authentic): Promise<string> {
  deps.records.requireRoom();
  let reply: Reply;
  try {
    reply = await deps.enclave.request('sign', authentic.message, {
      // The caller is gone; the decision was made, and a repeat of the same id finds it.
      onLate: (late) => {
        const kept =
          late instanceof EnclaveRefusal ? recordRefusal(deps, authentic, late) : record(deps, authentic, late);
        kept.catch((error) => deps.log.error({ code: codeOf(error) }, 'a late decision is not stored yet'));
      },
    });
  } catch (error) {
    throw error instanceof EnclaveRefusal ? await recordRefusal(deps, authentic, error) : error;
  }
  return await record(deps, authentic, reply);
}

async function record(deps: AppDeps, { row, key }: Authentic, reply: Reply): Promise<string> {
  const { signature, state, receipt } = reply;
  if (signature === undefined || state === undefined || receipt === undefined) {
    throw new QvError('internal', {}, { cause: 'the enclave answered a signing request as a dry run' });
  }
  const json = JSON.stringify({
    signature: toBase58(signature),
    ...amountsJson(reply),
    receipt: receiptJson(receipt),
  });
  await deps.records.signed({ row, state, receipt, reply: replyRecord(deps, key, 200, json) });
  return json;
}

/** What to tell the caller. A denial is told once it is stored. */
async function recordRefusal(deps: AppDeps, { key }: Authentic, refusal: EnclaveRefusal): Promise<QvError> {
  // By somebody else: the next round tells which freeze it is, and then it holds for stored replies as well.
  if (refusal.code === 'frozen') void deps.session.refresh();
  const { receipt, facts } = refusal;
  if (refusal.code !== 'policy_denied' || receipt === undefined) return refusal;
  const denial = { facts, receipt: receiptJson(receipt) };
  await deps.records.denied(receipt, replyRecord(deps, key, 403, JSON.stringify(denial)));
  return new DeniedError(denial.facts, denial.receipt);
}

function replyRecord(deps: AppDeps, key: RequestKey, status: number, reply: string): ReplyRecord {
  return { ...key, status, reply, expiresAt: replyExpiry(deps.now()) };
}

function amountsJson({ messageHash, amounts }: Reply) {
  return {
    messageHash: toHex(messageHash),
    lamportsOut: String(amounts.lamportsOut),
    feeLamports: String(amounts.feeLamports),
    // By mint, in base units; empty when only lamports leave.
    tokens: Object.fromEntries((amounts.tokens ?? []).map(({ mint, amount }) => [mint, String(amount)])),
  };
}

/** Only verdict and sums: whatever else an answer to a dry run might hold is not for the caller. */
function verdictJson(reply: Reply) {
  if (reply.allow === undefined) throw new QvError('internal', {}, { cause: 'a dry run without verdict' });
  return { verdict: reply.allow ? 'allow' : 'deny', rules: reply.rules ?? [], ...amountsJson(reply) };
}
