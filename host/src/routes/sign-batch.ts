/** POST /v1/sign/batch: several transactions of one wallet. All are signed, or none. */
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { type BatchBody, parseBatchBody } from '@quantumvault/shared/protocol/sign-request.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import type { VerdictJson } from '../problem.ts';
import { type Added, type Asking, type Authentic, messageFor, replyRecord, type Signing } from '../signing.ts';
import type { WalletRow } from '../store/store.ts';
import { blobsOf } from '../wallet-rows.ts';
import type { SignalJson } from '../webhooks/cited.ts';
import { receiptJson } from '../wire-json.ts';
import { amountsJson } from './sign.ts';

type Reply = ReplyOf<'signBatch'>;
type Verdict = Reply['verdicts'][number];

export function signBatchRoute(app: FastifyInstance, deps: AppDeps, signing: Signing): void {
  app.post('/v1/sign/batch', { bodyLimit: LIMITS.batchBodyBytes }, async (request, reply) => {
    const authentic = await signing.authenticate(request, reply, parseBatchBody, countOf);
    const { body } = authentic;
    const ask = (row: WalletRow, added: Added, asking: Asking<Reply>): Promise<Reply> => {
      const { sealedState: _, ...blobs } = blobsOf(row);
      return deps.enclave.request('signBatch', { ...messageFor(authentic, row), blobs, ...added }, asking);
    };
    reply.type('application/json');
    if (body.dryRun) {
      const { verdicts } = await signing.advice(authentic, ask);
      for (const { allow } of verdicts) deps.metrics.verdict('dry_run', allow ? 'allow' : 'deny');
      const verdict = verdicts.every(({ allow }) => allow) ? 'allow' : 'deny';
      return JSON.stringify({ verdict, verdicts: verdicts.map(verdictJson) });
    }
    return await signing.once<Reply>(authentic, {
      ask,
      record: (decided, cited) => record(deps, signing, authentic, decided, cited),
      recordRefusal: async (refusal) => refusal,
    });
  });
}

const countOf = ({ transactions }: BatchBody): number => transactions.length;

/** @throws DeniedError; QvError store_* */
async function record(
  deps: AppDeps,
  signing: Signing,
  { row, key }: Authentic,
  reply: Reply,
  cited: SignalJson | undefined,
): Promise<string> {
  const { verdicts, state } = reply;
  const receipts = verdicts.flatMap(({ receipt }) => (receipt === undefined ? [] : [receipt]));
  const index = verdicts.findIndex(({ allow }) => !allow);
  for (const { allow, rule } of verdicts) deps.metrics.verdict('batch', allow ? 'allow' : 'deny', rule);
  const denied = verdicts[index];
  if (denied !== undefined) {
    const { rule, value, receipt } = denied;
    if (receipt === undefined) throw new QvError('internal', {}, { cause: 'a denial without its leaf' });
    const facts = { ...(rule !== undefined && { path: rule }), ...(value !== undefined && { value }) };
    const denial = { receipt: receiptJson(receipt), index, verdicts: verdicts.map(verdictJson) };
    throw await signing.denied(key, facts, denial, receipts);
  }
  if (state === undefined) throw new QvError('internal', {}, { cause: 'the enclave answered a batch as a dry run' });
  if (cited !== undefined) deps.metrics.signalSpent(cited.source);
  const json = JSON.stringify({ signed: verdicts.map(signedJson), ...(cited && { signal: cited }) });
  await deps.records.signed({ row, state, receipts, reply: replyRecord(key, 200, json, deps.now()) });
  return json;
}

function signedJson({ messageHash, signature, receipt }: Verdict) {
  const amounts = receipt && decodeLeaf(receipt.leaf).amounts;
  if (signature === undefined || receipt === undefined || amounts === undefined) {
    throw new QvError('internal', {}, { cause: 'a signed batch lacks a signature' });
  }
  return {
    signature: toBase58(signature),
    messageHash: toHex(messageHash),
    ...amountsJson(amounts),
    receipt: receiptJson(receipt),
  };
}

function verdictJson({ messageHash, allow, rule, value, receipt }: Verdict): VerdictJson {
  return {
    verdict: allow ? 'allow' : 'deny',
    messageHash: toHex(messageHash),
    ...(rule !== undefined && { rule }),
    ...(value !== undefined && { value }),
    ...(receipt && { receipt: receiptJson(receipt) }),
  };
}
