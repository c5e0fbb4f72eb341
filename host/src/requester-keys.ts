/**
 * Who of a policy signed a request, for little of the event loop: anybody can send a forged request for a wallet whose
 * address is public, and parsing its policy (1.7 ms at the limit) and 16 verifications (1.4 ms) stood in the way of
 * everybody else. So a policy is parsed once, its keys are kept ready, and OpenSSL verifies on Node's thread pool.
 */
import { createHash, type KeyObject, verify } from 'node:crypto';
import { type Address, addressBytes, type Signature } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { SignalRule } from '@quantumvault/shared/policy/parse.ts';
import { policyFromBytes } from '@quantumvault/shared/policy/policy.ts';
import { ed25519Key } from './ed25519.ts';

interface Requester {
  readonly address: Address;
  readonly key: KeyObject;
}

/** What of a policy every request needs. */
interface Kept {
  readonly requesters: readonly Requester[];
  readonly signals: SignalRule | undefined;
}

export interface RequesterKeysLimits {
  /** Policies kept. */
  readonly policies: number;
  /** Authentications under way; one more is refused. */
  readonly concurrent: number;
}

const DEFAULTS: RequesterKeysLimits = { policies: LIMITS.requesterKeyPolicies, concurrent: LIMITS.authentications };

export class RequesterKeys {
  readonly #limits: RequesterKeysLimits;
  /** By the hash of the policy, the one used last at the end. */
  readonly #kept = new Map<string, Kept>();
  #underWay = 0;

  constructor(limits: RequesterKeysLimits = DEFAULTS) {
    this.#limits = limits;
  }

  /** Policies whose keys are kept. */
  get size(): number {
    return this.#kept.size;
  }

  /** The requester who signed. @throws QvError request_signature_invalid, overloaded */
  async signerOf(policy: Uint8Array, signature: Signature, content: Uint8Array): Promise<Address> {
    if (this.#underWay >= this.#limits.concurrent) throw new QvError('overloaded');
    this.#underWay++;
    try {
      for (const { address, key } of this.#read(policy).requesters) {
        if (await verifies(content, key, signature)) return address;
      }
    } finally {
      this.#underWay--;
    }
    throw new QvError('request_signature_invalid');
  }

  /** The sources of signals that the policy names; undefined where it has none. */
  signalRulesOf(policy: Uint8Array): SignalRule | undefined {
    return this.#read(policy).signals;
  }

  #read(policy: Uint8Array): Kept {
    const hash = createHash('sha256').update(policy).digest('base64');
    const kept = this.#kept.get(hash) ?? parse(policy);
    this.#kept.delete(hash);
    this.#kept.set(hash, kept);
    if (this.#kept.size > this.#limits.policies) {
      const [oldest] = this.#kept.keys();
      if (oldest !== undefined) this.#kept.delete(oldest);
    }
    return kept;
  }
}

/** A requester that is no point of the curve signs nothing, and keeps nobody else from signing. */
function parse(policy: Uint8Array): Kept {
  const { requesters, signals } = policyFromBytes(policy);
  const usable = requesters.flatMap((address) => {
    try {
      return [{ address, key: ed25519Key(addressBytes(address)) }];
    } catch {
      return [];
    }
  });
  return { requesters: usable, signals };
}

function verifies(content: Uint8Array, key: KeyObject, signature: Uint8Array): Promise<boolean> {
  return new Promise((resolve) => {
    verify(null, content, key, signature, (error, holds) => resolve(error === null && holds));
  });
}
