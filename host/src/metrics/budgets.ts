/**
 * What the wallets named in the configuration may still spend. A scrape never waits for it: it starts the next round of
 * questions, one wallet after the other, and shows what the last round found. The enclave parses a policy for each, on
 * the thread that signs.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { Gauge } from 'prom-client';
import type { EnclaveClient } from '../enclave/client.ts';
import type { EnclaveSession } from '../enclave/session.ts';
import type { Log } from '../log.ts';
import type { Store } from '../store/store.ts';
import { policyOf, verifiedRow } from '../wallet-rows.ts';
import type { HostMetrics } from './metrics.ts';

export interface BudgetDeps {
  readonly store: Store;
  readonly session: EnclaveSession;
  readonly enclave: EnclaveClient;
  readonly log: Log;
}

type Budgets = ReplyOf<'budgets'>['budgets'];

export class BudgetMetrics {
  readonly #deps: BudgetDeps;
  readonly #wallets: readonly Address[];
  /** A wallet that the enclave does not speak of has none. */
  readonly #everyMilliseconds: number;
  readonly #found = new Map<Address, Budgets>();
  #notBefore = 0;
  #running: Promise<void> | undefined;

  /** Adds the metrics. Once per HostMetrics. */
  constructor(
    { registry }: Pick<HostMetrics, 'registry'>,
    wallets: readonly Address[],
    deps: BudgetDeps,
    everyMilliseconds: number = LIMITS.metricsBudgetsMilliseconds,
  ) {
    this.#deps = deps;
    this.#everyMilliseconds = everyMilliseconds;
    this.#wallets = wallets;
    const [found, refresh] = [this.#found, () => this.#refreshIfDue()];
    const gauge = (name: string, help: string, value: (budget: Budgets[number]) => bigint): void => {
      new Gauge({
        name,
        help,
        labelNames: ['wallet', 'rule'],
        registers: [registry],
        collect() {
          refresh();
          this.reset();
          for (const [wallet, budgets] of found)
            for (const budget of budgets) this.set({ wallet, rule: budget.rule }, Number(value(budget)));
        },
      });
    };
    const unit = 'In lamports, base units of the token, or signatures, as the rule has it; above 2^53 rounded.';
    gauge('qv_budget_limit', `What a window or a rate of a wallet's policy allows. ${unit}`, ({ limit }) => limit);
    gauge('qv_budget_remaining', `What is left of it. ${unit}`, ({ limit, spent }) =>
      limit > spent ? limit - spent : 0n,
    );
  }

  #refreshIfDue(): void {
    if (this.#running !== undefined || performance.now() < this.#notBefore) return;
    this.#notBefore = performance.now() + this.#everyMilliseconds;
    this.#running = this.#round().finally(() => {
      this.#running = undefined;
    });
  }

  async #round(): Promise<void> {
    for (const wallet of this.#wallets) {
      try {
        this.#found.set(wallet, await this.#ask(wallet));
      } catch (error) {
        // Nothing is better than what was true a while ago.
        this.#found.delete(wallet);
        this.#deps.log.debug({ wallet, code: codeOf(error) }, 'budgets for metrics');
      }
    }
  }

  async #ask(wallet: Address): Promise<Budgets> {
    const { store, session, enclave } = this.#deps;
    const { bytes: policy } = policyOf(await verifiedRow(store, session, wallet));
    return (await enclave.request('budgets', { wallet, policy })).budgets;
  }
}
