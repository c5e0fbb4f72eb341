/** POST /v1/sign: one transaction. */
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Amounts } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { parseSignBody } from '@quantumvault/shared/protocol/sign-request.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { type Added, type Asking, type Authentic, messageFor, replyRecord, type Signing } from '../signing.ts';
import type { WalletRow } from '../store/store.ts';
import { blobsOf } from '../wallet-rows.ts';
import type { SignalJson } from '../webhooks/cited.ts';
import { receiptJson } from '../wire-json.ts';

type Reply = ReplyOf<'sign'>;

export function signRoute(app: FastifyInstance, deps: AppDeps, signing: Signing): void {
  app.post('/v1/sign', { bodyLimit: LIMITS.requestBodyBytes }, async (request, reply) => {
    const authentic = await signing.authenticate(request, reply, parseSignBody);
    const { key, body } = authentic;
    const ask = (row: WalletRow, added: Added, asking: Asking<Reply>): Promise<Reply> =>
      deps.enclave.request('sign', { ...messageFor(authentic, row), blobs: blobsOf(row), ...added }, asking);
    reply.type('application/json');
    if (body.dryRun) {
      const verdict = verdictJson(await signing.advice(authentic, ask));
      deps.metrics.verdict('dry_run', verdict.verdict);
      return JSON.stringify(verdict);
    }
    return await signing.once<Reply>(authentic, {
      ask,
      record: (signed, cited) => record(deps, authentic, signed, cited),
      recordRefusal: async (refusal) => {
        const { code, receipt, facts } = refusal;
        if (code !== 'policy_denied' || receipt === undefined) return refusal;
        deps.metrics.verdict('sign', 'deny', facts.path);
        return await signing.denied(key, facts, { receipt: receiptJson(receipt) }, [receipt]);
      },
    });
  });
}

async function record(
  deps: AppDeps,
  { row, key }: Authentic,
  reply: Reply,
  cited: SignalJson | undefined,
): Promise<string> {
  const { signature, state, receipt } = reply;
  if (signature === undefined || state === undefined || receipt === undefined) {
    throw new QvError('internal', {}, { cause: 'the enclave answered a signing request as a dry run' });
  }
  deps.metrics.verdict('sign', 'allow');
  if (cited !== undefined) deps.metrics.signalSpent(cited.source);
  const json = JSON.stringify({
    signature: toBase58(signature),
    messageHash: toHex(reply.messageHash),
    ...amountsJson(reply.amounts),
    ...(cited && { signal: cited }),
    receipt: receiptJson(receipt),
  });
  await deps.records.signed({ row, state, receipts: [receipt], reply: replyRecord(key, 200, json, deps.now()) });
  return json;
}

export function amountsJson({ lamportsOut, feeLamports, tokens }: Amounts) {
  return {
    lamportsOut: String(lamportsOut),
    feeLamports: String(feeLamports),
    // By mint, in base units; empty when only lamports leave.
    tokens: Object.fromEntries((tokens ?? []).map(({ mint, amount }) => [mint, String(amount)])),
  };
}

/** Only verdict and sums: whatever else an answer to a dry run might hold is not for the caller. */
function verdictJson({ allow, rules, messageHash, amounts }: Reply) {
  if (allow === undefined) throw new QvError('internal', {}, { cause: 'a dry run without verdict' });
  return {
    verdict: allow ? ('allow' as const) : ('deny' as const),
    rules: rules ?? [],
    messageHash: toHex(messageHash),
    ...amountsJson(amounts),
  };
}
