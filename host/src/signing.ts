/**
 * What signing one transaction and signing a batch have in common, in the order of design 6: cheap refusals first, then
 * the row, then the enclave, then the record, then the latch once more, and only then the reply. Everything checked here
 * is checked again by the enclave.
 */
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { codeOf, type ErrorFacts, QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { requireFresh, type SignBody, signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { FastifyRequest } from 'fastify';
import type { AppDeps } from './app.ts';
import { EnclaveRefusal } from './enclave/client.ts';
import { Idempotency, type RequestKey } from './idempotency.ts';
import { type Denial, DeniedError } from './problem.ts';
import { replyExpiry } from './records.ts';
import { factsOf } from './request-facts.ts';
import { RequesterKeys } from './requester-keys.ts';
import type { ReplyRecord, WalletRow } from './store/store.ts';
import { policyOf, verifiedRow } from './wallet-rows.ts';
import { parseWebhookHeaders } from './webhook.ts';
import { bodyBytes } from './wire-json.ts';

/** A request that a requester of the stored policy signed. */
export interface Authentic {
  readonly row: WalletRow;
  readonly key: RequestKey;
  readonly message: Omit<RequestOf<'sign'>, 'blobs'>;
}

/** What was asked of the enclave, and how its answer is written down and told. */
export interface Decision<R> {
  /** Asks. `onLate` gets what comes after the caller was told that it is too late. */
  readonly ask: (onLate: (late: R | EnclaveRefusal) => void) => Promise<R>;
  /** Stores the decision; the reply as JSON text, or DeniedError. */
  readonly record: (reply: R) => Promise<string>;
  /** What a refusal that is a decision of its own leaves behind. */
  readonly recordRefusal: (refusal: EnclaveRefusal) => Promise<QvError>;
}

export class Signing {
  readonly #deps: AppDeps;
  readonly #idempotency: Idempotency;
  readonly #keys = new RequesterKeys();

  constructor(deps: AppDeps) {
    this.#deps = deps;
    this.#idempotency = new Idempotency(deps.store, () => deps.session.requireRowMac(), deps.now);
  }

  /**
   * @throws QvError request_*, audience_mismatch, wallet_unknown, row_tampered, frozen, wallet_without_policy, and what
   * `parse` throws
   */
  async authenticate<B extends Pick<SignBody, 'audience' | 'wallet' | 'dryRun'>>(
    request: FastifyRequest,
    parse: (body: Uint8Array) => B,
  ): Promise<Authentic & { readonly body: B }> {
    const { deployment, store, session, freezes, metrics, now } = this.#deps;
    const bytes = bodyBytes(request.body);
    const { id, timestamp, timestampText, signature } = parseWebhookHeaders(request.headers);
    requireFresh(timestamp, now());
    const body = parse(bytes);
    const { wallet } = body;
    factsOf(request).wallet = wallet;
    if (body.audience !== deployment) throw new QvError('audience_mismatch', { path: 'audience' });
    const row = await metrics.stage('row', () => verifiedRow(store, session, wallet));
    freezes.requireOpen({ wallet });
    if (row.frozen) throw new QvError('frozen', { path: 'wallet' });
    const policy = policyOf(row);
    const content = signedContent(id, timestampText, bytes);
    const signer = () => this.#keys.signerOf(policy.bytes, signature, content);
    const requester = await metrics.stage('authentication', signer);
    freezes.requireOpen({ wallet, requester });
    return {
      row,
      body,
      key: { wallet, requester, id, bodyHash: sha256(bytes) },
      message: { id, timestamp: timestampText, body: bytes, signature, policy },
    };
  }

  /** The reply to this request, once decided: the same for a day. */
  once<R>(key: RequestKey, decision: Decision<R>): Promise<string> {
    return this.#idempotency.once(key, {
      // A stored reply is a released signature: a freeze holds it back like a new one.
      release: () => this.#deps.freezes.requireOpen(key),
      work: () => this.#decide(decision),
    });
  }

  async #decide<R>({ ask, record, recordRefusal }: Decision<R>): Promise<string> {
    const { records, session, metrics, log } = this.#deps;
    const refuse = async (refusal: EnclaveRefusal): Promise<QvError> => {
      // By somebody else: the next round tells which freeze it is, and then it holds for stored replies as well.
      if (refusal.code === 'frozen') void session.refresh();
      return await recordRefusal(refusal);
    };
    records.requireRoom();
    let reply: R;
    try {
      const onLate = (late: R | EnclaveRefusal): void => {
        // The caller is gone; the decision was made, and a repeat of the same id finds it.
        const kept: Promise<unknown> = late instanceof EnclaveRefusal ? refuse(late) : record(late);
        kept.catch((error) => {
          if (error instanceof DeniedError) return;
          log.error({ code: codeOf(error) }, 'a late decision is not stored yet');
        });
      };
      reply = await metrics.stage('enclave', () => ask(onLate));
    } catch (error) {
      throw error instanceof EnclaveRefusal ? await metrics.stage('store', () => refuse(error)) : error;
    }
    return await metrics.stage('store', () => record(reply));
  }

  /** Stores a denial and its leaves. A denial is told once it is stored. */
  async denied(key: RequestKey, facts: ErrorFacts, denial: Denial, receipts: readonly Receipt[]): Promise<DeniedError> {
    const reply = replyRecord(key, 403, JSON.stringify({ facts, ...denial }), this.#deps.now());
    await this.#deps.records.denied(receipts, reply);
    return new DeniedError(facts, denial);
  }
}

export function replyRecord(key: RequestKey, status: number, reply: string, now: TimeMs): ReplyRecord {
  return { ...key, status, reply, expiresAt: replyExpiry(now) };
}
