/**
 * What whoever watches is told: transactions denied, rows that fail their MAC, and what becomes of who may follow a
 * wallet's owner.
 */
import type { Address, TimeMs } from '@quantumvault/shared/brands.ts';
import { decodeLeaf, type Leaf, type Receipt, SUCCESSION_KINDS } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

export interface Denial {
  readonly at: TimeMs;
  readonly wallet: Address;
  readonly requester: Address;
  /** As the enclave names them. */
  readonly rule: string;
  readonly value: string | undefined;
}

export interface IncidentListener {
  readonly denied: (denial: Denial) => void;
  /** The wallet, where the request was about one. */
  readonly tampered: (wallet: string | undefined) => void;
  /** May come twice. */
  readonly succession: (leaf: Leaf) => void;
}

export class Incidents {
  readonly #denials: Denial[] = [];
  readonly #listeners: IncidentListener[] = [];

  /** The newest first; at most LIMITS.recentDenials. */
  get denials(): readonly Denial[] {
    return this.#denials.toReversed();
  }

  listen(listener: IncidentListener): void {
    this.#listeners.push(listener);
  }

  denied(denial: Denial): void {
    this.#denials.push(denial);
    if (this.#denials.length > LIMITS.recentDenials) this.#denials.shift();
    for (const listener of this.#listeners) listener.denied(denial);
  }

  tampered(wallet: string | undefined): void {
    for (const listener of this.#listeners) listener.tampered(wallet);
  }

  /** A decision of the enclave that this host wrote down, or is about to; most are nobody's incident. */
  recorded({ leaf: bytes }: Receipt): void {
    const leaf = decodeLeaf(bytes);
    if (!SUCCESSION_KINDS.some((kind) => kind === leaf.kind)) return;
    for (const listener of this.#listeners) listener.succession(leaf);
  }
}
