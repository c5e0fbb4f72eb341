/** A trading backend that does not know of any upgrade: it signs, one transfer after the other, and counts. */
import type { Client, Signed } from '@quantumvault/host/client/client.ts';
import type { BootId } from '@quantumvault/shared/brands.ts';
import { codeOf, ERRORS } from '@quantumvault/shared/errors.ts';
import { type Parties, transfer } from '../scenario.ts';
import type { ThrowawayKey } from '../throwaway.ts';

export interface Trader {
  /** Signatures so far, by the boot that made them. */
  readonly signed: ReadonlyMap<BootId, number>;
  /** Codes of requests that failed for good, behind all repeats. */
  readonly failures: readonly string[];
  /**
   * How often the SDK gave up on a refusal that passes, and the same request was asked again: none, unless the machine is
   * busy with other things.
   */
  readonly repeats: () => number;
  /** Until so many more are signed. @throws Error when one fails */
  more(count: number): Promise<void>;
  /** Ends after the request that is under way. */
  stop(): Promise<void>;
}

const PAUSE_MILLISECONDS = 20;
/** Beyond the SDK's own. */
const MAX_REPEATS = 30;

export function startTrader(client: Client, { wallet, destination }: Parties, requester: ThrowawayKey): Trader {
  const signed = new Map<BootId, number>();
  const failures: string[] = [];
  const waiting = new Set<() => void>();
  let isStopped = false;
  let repeats = 0;
  const total = (): number => [...signed.values()].reduce((sum, count) => sum + count, 0);
  /** The same id and transaction: it is signed once, however often it is asked for. */
  const signOnce = async (): Promise<Signed> => {
    const { wire } = transfer(wallet, destination, 1_000n);
    const request = { wallet, transaction: wire, requester: requester.signer, id: crypto.randomUUID() };
    for (;;) {
      try {
        return await client.sign(request);
      } catch (error) {
        if (!ERRORS[codeOf(error)].retryable || repeats >= MAX_REPEATS) throw error;
        repeats++;
      }
    }
  };
  const trade = async (): Promise<void> => {
    while (!isStopped) {
      try {
        const { leaf } = await signOnce();
        signed.set(leaf.boot, (signed.get(leaf.boot) ?? 0) + 1);
      } catch (error) {
        failures.push(codeOf(error));
      }
      for (const wake of waiting) wake();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
    }
  };
  const running = trade();
  return {
    signed,
    failures,
    repeats: () => repeats,
    more: (count) => {
      const enough = total() + count;
      return new Promise((resolve, reject) => {
        const look = (): void => {
          if (failures.length === 0 && total() < enough) return;
          waiting.delete(look);
          if (failures.length === 0) resolve();
          else reject(new Error(`a request failed: ${failures.join(', ')}`));
        };
        waiting.add(look);
        look();
      });
    },
    stop: async () => {
      isStopped = true;
      await running;
    },
  };
}
