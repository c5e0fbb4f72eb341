/** What went wrong with requests lately, for whoever watches: transactions denied, and rows that fail their MAC. */
import type { Address, TimeMs } from '@quantumvault/shared/brands.ts';
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
}
