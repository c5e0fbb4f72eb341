/**
 * How much one caller may ask in a minute: by address before anything is done for a request, by requester and wallet
 * once the requester's signature holds, so that strangers use up nobody's share. Counted by @fastify/rate-limit in fixed
 * windows; what each reply says of it is in the `RateLimit` and `RateLimit-Policy` fields of the IETF draft
 * (draft-ietf-httpapi-ratelimit-headers-10).
 *
 * The counts are of this process. A restart forgets them, and each host of several has its own.
 */
import rateLimit from '@fastify/rate-limit';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { clientOf, type Network } from '../client-address.ts';
import { sourceOf } from '../remote-freeze/source.ts';
import type { RateLimitName, RateLimitsConfig } from './config.ts';

/** One too many. */
export class RateLimited extends QvError {
  readonly retryAfterSeconds: number;

  constructor(name: RateLimitName, perMinute: number, retryAfterSeconds: number) {
    super('rate_limited', { path: name, value: `${perMinute} per minute` });
    this.name = 'RateLimited';
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

const WINDOW_MILLISECONDS = 60_000;

interface Subjects {
  requester?: string;
  wallet?: string;
}

export class RateLimits {
  readonly #limits: RateLimitsConfig;
  readonly #trustedProxies: readonly Network[];
  readonly #subjects = new WeakMap<FastifyRequest, Subjects>();
  readonly #checks = new Map<RateLimitName, ReturnType<FastifyInstance['createRateLimit']>>();
  readonly #onRefused: (name: RateLimitName) => void;

  constructor(
    app: FastifyInstance,
    limits: RateLimitsConfig,
    trustedProxies: readonly Network[],
    onRefused: (name: RateLimitName) => void = () => undefined,
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

  /** Counts transactions of a request whose signature holds. @throws RateLimited; then nothing was counted further */
  async bySigner(
    request: FastifyRequest,
    reply: FastifyReply,
    { requester, wallet }: { readonly requester: string; readonly wallet: string },
    transactions: number,
  ): Promise<void> {
    this.#subjects.set(request, { requester, wallet });
    await this.#count('requester', request, reply, transactions);
    await this.#count('wallet', request, reply, transactions);
  }

  #keyOf(name: RateLimitName, request: FastifyRequest): string {
    if (name === 'requester' || name === 'wallet') return this.#subjects.get(request)?.[name] ?? '';
    return sourceOf(clientOf(request.raw, this.#trustedProxies).address);
  }

  async #count(name: RateLimitName, request: FastifyRequest, reply: FastifyReply, times: number): Promise<void> {
    const check = this.#checks.get(name);
    if (check === undefined) throw new Error(`the rate limit ${name} is not there yet`);
    let outcome = await check(request);
    for (let time = 1; time < times; time++) outcome = await check(request);
    if (outcome.isAllowed) return;
    const perMinute = this.#limits[name];
    // A list of both fields: each limit that was asked adds its member.
    append(reply, 'ratelimit-policy', `"${name}";q=${perMinute};w=${WINDOW_MILLISECONDS / 1000}`);
    append(reply, 'ratelimit', `"${name}";r=${outcome.remaining};t=${outcome.ttlInSeconds}`);
    if (!outcome.isExceeded) return;
    this.#onRefused(name);
    throw new RateLimited(name, perMinute, Math.max(1, outcome.ttlInSeconds));
  }
}

function append(reply: FastifyReply, field: string, member: string): void {
  const before = reply.getHeader(field);
  reply.header(field, before === undefined ? member : `${String(before)}, ${member}`);
}
