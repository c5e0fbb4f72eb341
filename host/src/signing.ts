/**
 * What signing one transaction and signing a batch have in common, in the order of design 6: cheap refusals first, then
 * the row, then the enclave, then the record, then the latch once more, and only then the reply. Everything checked here
 * is checked again by the enclave.
 */
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { codeOf, type ErrorFacts, QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import type { SignalMessage } from '@quantumvault/shared/protocol/message-parts.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { requireFresh, type SignBody, signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { AppDeps } from './app.ts';
import { Deadline } from './deadline.ts';
import { EnclaveRefusal } from './enclave/client.ts';
import { Idempotency, type RequestKey } from './idempotency.ts';
import { type Denial, DeniedError } from './problem.ts';
import { QueueAge } from './queue-age.ts';
import type { RateLimits } from './rate-limits/rate-limits.ts';
import { replyExpiry } from './records.ts';
import { factsOf } from './request-facts.ts';
import { RequesterKeys } from './requester-keys.ts';
import type { ReplyRecord, WalletRow } from './store/store.ts';
import { policyOf, requireLive, verifiedRow } from './wallet-rows.ts';
import { parseWebhookHeaders } from './webhook.ts';
import { type Cited, citedSignal, type SignalJson } from './webhooks/cited.ts';
import { bodyBytes } from './wire-json.ts';

/** A request that a requester of the stored policy signed. */
export interface Authentic {
  readonly row: WalletRow;
  readonly key: RequestKey;
  readonly message: Omit<RequestOf<'sign'>, 'blobs'>;
  readonly deadline: Deadline;
  /** To be called before the enclave is asked, and not for what is decided already. @throws QvError rate_limited */
  readonly count: () => Promise<void>;
}

/** What goes with every question beside the request itself. */
export interface Added {
  readonly timeoutMilliseconds: number;
  /** That the request cites. */
  readonly signal?: SignalMessage;
}

/** Of one question to the enclave. */
export interface Asking<R> {
  readonly timeoutMilliseconds: number;
  /** Gets what comes after the caller was told that it is too late. Without it that is nobody's concern. */
  readonly onLate?: (late: R | EnclaveRefusal) => void;
}

/** With the row as it is when the enclave is asked: a wallet may be re-wrapped at any time. */
type Ask<R> = (row: WalletRow, added: Added, asking: Asking<R>) => Promise<R>;

/** What was asked of the enclave, and how its answer is written down and told. */
export interface Decision<R> {
  readonly ask: Ask<R>;
  /** Stores the decision; the reply as JSON text, or DeniedError. */
  readonly record: (reply: R, cited: SignalJson | undefined) => Promise<string>;
  /** What a refusal that is a decision of its own leaves behind. */
  readonly recordRefusal: (refusal: EnclaveRefusal) => Promise<QvError>;
}

type Citing = Pick<Authentic, 'message'> & { readonly body: Pick<SignBody, 'signal' | 'dryRun'> };

export class Signing {
  readonly #deps: AppDeps;
  readonly #idempotency: Idempotency;
  readonly #keys = new RequesterKeys();
  readonly #queue = new QueueAge();
  readonly #limits: RateLimits;

  constructor(deps: AppDeps, limits: RateLimits) {
    this.#deps = deps;
    this.#limits = limits;
    this.#idempotency = new Idempotency(deps.store, () => deps.session.rowKeys, deps.now);
  }

  /**
   * @throws QvError overloaded, request_*, audience_mismatch, wallet_unknown, row_tampered, wallet_retired, frozen,
   * wallet_without_policy, and what
   * `parse` throws
   */
  async authenticate<B extends Pick<SignBody, 'audience' | 'wallet' | 'dryRun'>>(
    request: FastifyRequest,
    reply: FastifyReply,
    parse: (body: Uint8Array) => B,
    countOf: (body: B) => number = () => 1,
  ): Promise<Authentic & { readonly body: B }> {
    const { deployment, store, session, freezes, metrics, now } = this.#deps;
    if (this.#queue.isOld) {
      metrics.shed('queue_age');
      throw new QvError('overloaded', { path: 'queue' });
    }
    const deadline = new Deadline(request.headers, reply.elapsedTime);
    const bytes = bodyBytes(request.body);
    const { id, timestamp, timestampText, signature } = parseWebhookHeaders(request.headers);
    requireFresh(timestamp, now());
    const body = parse(bytes);
    const { wallet } = body;
    factsOf(request).wallet = wallet;
    if (body.audience !== deployment) throw new QvError('audience_mismatch', { path: 'audience' });
    const row = await metrics.stage('row', () => verifiedRow(store, session, wallet));
    requireLive(row);
    freezes.requireOpen({ wallet });
    if (row.frozen) throw new QvError('frozen', { path: 'wallet' });
    const policy = policyOf(row);
    const content = signedContent(id, timestampText, bytes);
    const signer = () => this.#keys.signerOf(policy.bytes, signature, content);
    const requester = await metrics.stage('authentication', signer);
    factsOf(request).requester = requester;
    freezes.requireOpen({ wallet, requester });
    const contentHash = sha256(content);
    const count = () => this.#limits.bySigner(request, reply, { requester, wallet, contentHash }, countOf(body));
    return {
      row,
      body,
      deadline,
      count,
      key: { wallet, requester, id, bodyHash: sha256(bytes) },
      message: { id, timestamp: timestampText, body: bytes, signature, policy },
    };
  }

  /**
   * The signal that an authentic request names; undefined when it names none. Asked for when the enclave is, not before:
   * the repeat of a request that was decided needs no signal any more.
   * @throws QvError signal_missing, signal_ambiguous, signal_stale, row_tampered, store_*
   */
  async #cited({ message, body }: Citing): Promise<Cited | undefined> {
    const { signals, now } = this.#deps;
    if (body.signal === undefined) return undefined;
    // A dry run judges an old one, too.
    const freshAt = body.dryRun ? undefined : now();
    return await citedSignal(signals, this.#keys.signalRulesOf(message.policy.bytes), body.signal, freshAt);
  }

  /**
   * The reply to this request, once decided: the same for a day. Only what is to be decided counts against rates, so
   * that a repeat is told what was decided also when nothing is left.
   */
  once<R>(authentic: Authentic & Citing, decision: Decision<R>): Promise<string> {
    const { key, count } = authentic;
    return this.#idempotency.once(key, {
      // A stored reply is a released signature: a freeze, or the wallet’s end, holds it back like a new one.
      release: () => {
        this.#deps.records.requireLive(key.wallet);
        this.#deps.freezes.requireOpen(key);
      },
      work: async () => {
        await count();
        return await this.#decide(authentic, decision);
      },
    });
  }

  /** Asks without deciding anything, for a dry run. */
  async advice<R>(authentic: Authentic & Citing, ask: Ask<R>): Promise<R> {
    await authentic.count();
    const cited = await this.#cited(authentic);
    const question = (row: WalletRow): Promise<R> => {
      const timeoutMilliseconds = authentic.deadline.leftMilliseconds();
      const added = { timeoutMilliseconds, ...(cited && { signal: cited.message }) };
      return ask(row, added, { timeoutMilliseconds });
    };
    const { metrics, walletKeys } = this.#deps;
    return metrics.stage('enclave', () => this.#queue.wait(() => walletKeys.ask(authentic.row, question)));
  }

  async #decide<R>(authentic: Authentic & Citing, { ask, record, recordRefusal }: Decision<R>): Promise<string> {
    const { records, session, metrics, walletKeys, log } = this.#deps;
    let cited: Cited | undefined;
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
        const kept: Promise<unknown> = late instanceof EnclaveRefusal ? refuse(late) : record(late, cited?.json);
        kept.catch((error) => {
          if (error instanceof DeniedError) return;
          log.error({ code: codeOf(error) }, 'a late decision is not stored yet');
        });
      };
      const question = async (row: WalletRow): Promise<R> => {
        const timeoutMilliseconds = authentic.deadline.leftMilliseconds();
        cited = await this.#cited(authentic);
        return await ask(
          row,
          { timeoutMilliseconds, ...(cited && { signal: cited.message }) },
          { timeoutMilliseconds, onLate },
        );
      };
      reply = await metrics.stage('enclave', () => this.#queue.wait(() => walletKeys.ask(authentic.row, question)));
    } catch (error) {
      throw error instanceof EnclaveRefusal ? await metrics.stage('store', () => refuse(error)) : error;
    }
    return await metrics.stage('store', () => record(reply, cited?.json));
  }

  /** Stores a denial and its leaves. A denial is told once it is stored. */
  async denied(key: RequestKey, facts: ErrorFacts, denial: Denial, receipts: readonly Receipt[]): Promise<DeniedError> {
    const reply = replyRecord(key, 403, JSON.stringify({ facts, ...denial }), this.#deps.now());
    const { wallet, requester } = key;
    const { path: rule = '', value } = facts;
    this.#deps.incidents.denied({ at: this.#deps.now(), wallet, requester, rule, value });
    await this.#deps.records.denied(receipts, reply);
    return new DeniedError(facts, denial);
  }
}

/** With the MAC that goes with the row's keys. */
export function messageFor({ message }: Pick<Authentic, 'message'>, row: WalletRow): Authentic['message'] {
  return { ...message, policy: policyOf(row) };
}

export function replyRecord(key: RequestKey, status: number, reply: string, now: TimeMs): ReplyRecord {
  return { ...key, status, reply, expiresAt: replyExpiry(now) };
}
