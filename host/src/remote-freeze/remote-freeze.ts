/**
 * The stop button from afar: support staff with a login and a TOTP code, an owner with a panic code. Who is right
 * freezes one wallet or requester; nothing here, and nobody who guesses, can resume or sign.
 */
import type { Address, TimeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Freezes } from '../freeze.ts';
import type { FreezeReport } from '../freeze-report.ts';
import type { Store } from '../store/store.ts';
import { within } from '../within.ts';
import type { OperatorsFile } from './operators-file.ts';
import type { PanicCodes } from './panic-codes.ts';
import type { SlowSources } from './slow-sources.ts';
import type { UsedSteps } from './used-steps.ts';

export interface SupportOrder {
  readonly login: string;
  readonly code: string;
  readonly scope: { readonly wallet: Address } | { readonly requester: Address };
  readonly reason: string;
}

export interface PanicOrder {
  readonly code: Uint8Array;
  readonly reason: string;
}

export interface RemoteFreezeDeps {
  readonly store: Pick<Store, 'getWallet'>;
  readonly freezes: Pick<Freezes, 'freeze'>;
  /** Undefined: nobody has a login here. */
  readonly operators: OperatorsFile | undefined;
  readonly usedSteps: UsedSteps;
  readonly panicCodes: PanicCodes;
  readonly sources: SlowSources;
  readonly now: () => TimeMs;
}

const refused = (): QvError => new QvError('freeze_credentials_invalid');

export class RemoteFreeze {
  readonly #deps: RemoteFreezeDeps;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #lookups = 0;

  constructor(deps: RemoteFreezeDeps) {
    this.#deps = deps;
  }

  /**
   * @param source as sourceOf says
   * @throws QvError operators_unconfigured, wallet_unknown, source_slowed; freeze_credentials_invalid, whatever it was
   */
  async bySupport(source: string, { login, code, scope, reason }: SupportOrder): Promise<FreezeReport> {
    const { operators, usedSteps, sources, now } = this.#deps;
    if (operators === undefined) throw new QvError('operators_unconfigured');
    // Of arrival: a code does not go out of date while it waits for its turn.
    const arrived = now();
    if ('wallet' in scope) await this.#requireWallet(scope.wallet);
    await sources.attempt(source, async () => {
      const step = operators.stepOf(login, code, arrived);
      if (step === undefined || !(await usedSteps.use(login, step))) throw refused();
    });
    return this.#freeze(scopeOf(scope), reason, `support ${login}`);
  }

  /** @throws QvError source_slowed, freeze_credentials_invalid; store_unavailable: whose code it is nobody else knows */
  async byPanicCode(source: string, { code, reason }: PanicOrder): Promise<FreezeReport> {
    const { panicCodes, sources } = this.#deps;
    const wallet = await sources.attempt(source, async () => {
      const found = await panicCodes.walletOf(code);
      if (found === undefined) throw refused();
      return found;
    });
    return this.#freeze(scopeOf({ wallet }), reason, 'panic code');
  }

  /** Never refused any more, but not all at once: these orders share the enclave's stop line with `qv kill`. */
  async #freeze(scope: string, reason: string, by: string): Promise<FreezeReport> {
    if (this.#running < LIMITS.remoteFreezes) this.#running++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await this.#deps.freezes.freeze(scope, reason, by);
    } finally {
      // Whoever has waited longest takes the place over.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  /**
   * An address with a typing error would be frozen, too, and everybody would take the right one to be. Which wallets
   * there are is public, so this comes first and uses up no code. A database that does not say stops nothing. Anybody may
   * ask, and no rate holds the stop button back: so only a few lookups are under way, and orders beyond go on without,
   * or a stranger could fill the store's queue and keep panic codes from being found.
   */
  async #requireWallet(wallet: Address): Promise<void> {
    if (this.#lookups >= LIMITS.remoteFreezeLookups) return;
    this.#lookups++;
    // Until the store is done with it, and not just until nobody waits for it any more.
    const lookup = this.#deps.store.getWallet(wallet).finally(() => {
      this.#lookups--;
    });
    const exists = await within(LIMITS.freezeLookupMilliseconds, lookup).then(
      (row) => row !== undefined,
      () => true,
    );
    if (!exists) throw new QvError('wallet_unknown', { path: 'scope' });
  }
}

function scopeOf(scope: { readonly wallet: Address } | { readonly requester: Address }): string {
  return 'wallet' in scope ? `wallet:${scope.wallet}` : `requester:${scope.requester}`;
}
