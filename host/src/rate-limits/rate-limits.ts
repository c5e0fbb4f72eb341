/**
 * How much one caller may ask in a minute: by address before anything is done for a request, by requester and wallet
 * once the requester's signature holds, and once for each signature, so that strangers use up nobody's share. Counted by @fastify/rate-limit in fixed
 * windows; what each reply says of it is in the `RateLimit` and `RateLimit-Policy` fields of the IETF draft
 * (draft-ietf-httpapi-ratelimit-headers-10).
 *
 * The counts are of this process. A restart forgets them, and each host of several has its own.
 */
import rateLimit from '@fastify/rate-limit';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { clientOf, type Network } from '../client-address.ts';
import { sourceOf } from '../remote-freeze/source.ts';
import type { RateLimitName, RateLimitsConfig } from './config.ts';
import { CountedRequests } from './counted-requests.ts';
import { RateLimited } from './rate-limited.ts';

const WINDOW_MILLISECONDS = 60_000;

type Check = ReturnType<FastifyInstance['createRateLimit']>;
type Standing = Pick<Exclude<Awaited<ReturnType<Check>>, { isAllowed: true }>, 'remaining' | 'ttlInSeconds'>;

interface Subjects {
  readonly requester: string;
  readonly wallet: string;
}

const SIGNER = ['requester', 'wallet'] as const satisfies readonly RateLimitName[];

/** A request that a requester signed. */
interface Signed extends Subjects {
  /** SHA-256 of what was signed. */
  readonly contentHash: Uint8Array;
}

export class RateLimits {
  readonly #limits: RateLimitsConfig;
  readonly #trustedProxies: readonly Network[];
  readonly #subjects = new WeakMap<FastifyRequest, Subjects>();
  readonly #checks = new Map<RateLimitName, Check>();
  readonly #counted = new CountedRequests();
  readonly #onRefused: (name: RateLimitName | 'repeats') => void;

  constructor(
    app: FastifyInstance,
    limits: RateLimitsConfig,
    trustedProxies: readonly Network[],
    onRefused: (name: RateLimitName | 'repeats') => void = () => undefined,
  ) {
    this.#limits = limits;
    this.#trustedProxies = trustedProxies;
    this.#onRefused = onRefused;
    // Its own hook and headers are not used: it counts, and this class says when.
    app.register(rateLimit, { global: false });
    app.after(() => {
      for (const name of Object.keys(limits) as RateLimitName[]) {
        const keyGenerator = (request: FastifyRequest): string => this.#keyOf(name, request);
        // Named here: the plugin does not hand its own `cache` on, and would remember 5000 callers.
        const options = {
          max: limits[name],
          timeWindow: WINDOW_MILLISECONDS,
          keyGenerator,
          cache: LIMITS.rateLimitKeys,
        };
        this.#checks.set(name, app.createRateLimit(options));
      }
    });
  }

  /** Counts the request by its address. @throws RateLimited */
  byAddress(request: FastifyRequest, reply: FastifyReply, name: 'address' | 'attestations' | 'statements') {
    return this.#count(name, request, reply, 1);
  }

  /** Counts transactions of a request whose signature holds, once. @throws RateLimited; then nothing was counted */
  async bySigner(
    request: FastifyRequest,
    reply: FastifyReply,
    { requester, wallet, contentHash }: Signed,
    transactions: number,
  ): Promise<void> {
    this.#subjects.set(request, { requester, wallet });
    try {
      await this.#counted.once(`${requester} ${toHex(contentHash)}`, async () => {
        // Of both, before either is counted: what one refuses must not use up the other.
        for (const name of SIGNER) await this.#requireRoom(name, request, reply, transactions);
        for (const name of SIGNER) await this.#count(name, request, reply, transactions);
      });
    } catch (error) {
      if (error instanceof RateLimited && error.facts.path === 'repeats') this.#onRefused('repeats');
      throw error;
    }
  }

  #keyOf(name: RateLimitName, request: FastifyRequest): string {
    if (name === 'requester' || name === 'wallet') return this.#subjects.get(request)?.[name] ?? '';
    return sourceOf(clientOf(request.raw, this.#trustedProxies).address);
  }

  async #requireRoom(name: RateLimitName, request: FastifyRequest, reply: FastifyReply, times: number): Promise<void> {
    const outcome = await this.#check(name)(request, { increment: false });
    if (!outcome.isAllowed && outcome.remaining < times) this.#refuse(name, reply, outcome);
  }

  async #count(name: RateLimitName, request: FastifyRequest, reply: FastifyReply, times: number): Promise<void> {
    const check = this.#check(name);
    let outcome = await check(request);
    for (let time = 1; time < times; time++) outcome = await check(request);
    if (outcome.isAllowed) return;
    if (outcome.isExceeded) this.#refuse(name, reply, outcome);
    this.#tell(name, reply, outcome);
  }

  #check(name: RateLimitName): Check {
    const check = this.#checks.get(name);
    if (check === undefined) throw new Error(`the rate limit ${name} is not there yet`);
    return check;
  }

  #refuse(name: RateLimitName, reply: FastifyReply, state: Standing): never {
    this.#tell(name, reply, state);
    this.#onRefused(name);
    // A window that has not begun has nothing left to wait for; then it is the request that is larger than the limit.
    throw new RateLimited(name, `${this.#limits[name]} per minute`, Math.max(1, state.ttlInSeconds));
  }

  #tell(name: RateLimitName, reply: FastifyReply, { remaining, ttlInSeconds }: Standing): void {
    // A list of both fields: each limit that was asked adds its member.
    append(reply, 'ratelimit-policy', `"${name}";q=${this.#limits[name]};w=${WINDOW_MILLISECONDS / 1000}`);
    append(reply, 'ratelimit', `"${name}";r=${remaining};t=${ttlInSeconds}`);
  }
}

function append(reply: FastifyReply, field: string, member: string): void {
  const before = reply.getHeader(field);
  reply.header(field, before === undefined ? member : `${String(before)}, ${member}`);
}
