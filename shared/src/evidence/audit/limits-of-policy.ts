/** What of a policy an auditor can check against leaves: who may ask, when, and every limit of amounts and rates. */
import type { Address, Hash } from '../../brands.ts';
import { toHex } from '../../bytes.ts';
import { QvError } from '../../errors.ts';
import { type Policy, policyFromBytes, type Window } from '../../policy/policy.ts';
import { sameBytes } from './same-bytes.ts';
import type { Sha256 } from './tree.ts';
import type { LogSource } from './types.ts';

export interface PolicyLimits {
  readonly hash: Hash;
  readonly wallet: Address;
  readonly owner: Address;
  readonly epoch: number;
  readonly validFrom: number;
  readonly validUntil: number;
  readonly requesters: ReadonlySet<Address>;
  readonly fee: Limit;
  readonly lamports: Limit;
  readonly tokens: ReadonlyMap<Address, Limit>;
  readonly perMinute?: number;
  readonly perDay?: number;
}

export interface Limit {
  /** A path into the policy. */
  readonly rule: string;
  readonly perTransaction: bigint;
  readonly window?: Window;
}

/** Reads policies from the source. Wallets keep the limits of theirs, so each is read about once per enabling. */
export class Policies {
  readonly #source: LogSource;
  readonly #sha256: Sha256;

  constructor(source: LogSource, sha256: Sha256) {
    this.#source = source;
    this.#sha256 = sha256;
  }

  /** @throws QvError log_policy_unknown, and those of policyFromBytes */
  limits(bytes: Uint8Array | undefined, hash: Hash): PolicyLimits {
    if (bytes === undefined || !sameBytes(this.#sha256(bytes), hash))
      throw new QvError('log_policy_unknown', { value: toHex(hash) });
    return limitsOf(policyFromBytes(bytes), hash);
  }

  /** Nothing of it is believed yet. @throws whatever the source throws */
  async read(hash: Hash): Promise<Uint8Array | undefined> {
    try {
      return await this.#source.policy(hash);
    } catch (error) {
      if (error instanceof QvError && error.code === 'log_unknown') return undefined;
      throw error;
    }
  }
}

export function limitsOf(policy: Policy, hash: Hash): PolicyLimits {
  const { wallet, owner, epoch, validFrom, validUntil, fees, sol, rate } = policy;
  const limit = (path: string, perTransaction: bigint, window: Window | undefined): Limit => ({
    rule: path,
    perTransaction,
    ...(window && { window }),
  });
  return {
    hash,
    wallet,
    owner,
    epoch,
    validFrom,
    validUntil,
    requesters: new Set(policy.requesters),
    fee: limit('fees', fees.maxLamports, fees.window),
    lamports: limit('sol', sol.maxPerTransaction, sol.window),
    tokens: new Map(
      policy.tokens.map(({ mint, maxPerTransaction, window }, index) => [
        mint,
        limit(`tokens[${index}]`, maxPerTransaction, window),
      ]),
    ),
    ...(rate && { perMinute: rate.perMinute, perDay: rate.perDay }),
  };
}
