/** A host whose freezes a test orders, ends and looks at. */
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { until } from '../support/temporary.ts';
import { Harness, person } from './harness.ts';

export const SIGNATURES = [{ key: person().address, signature: toBase64(new Uint8Array(64)) }];

export class FreezeHarness extends Harness {
  /** With a wallet whose policy is enabled. */
  override async start(): Promise<this> {
    await super.start();
    await this.createWallet();
    await this.enablePolicy();
    return this;
  }

  readonly walletScope = () => `wallet:${this.wallet}`;
  readonly requesterScope = () => `requester:${this.requester.address}`;
  readonly freeze = (scope: string, reason = 'a test') => this.admin('freeze', { scope, reason });
  readonly resume = (scope: string, freezeId: string) =>
    this.admin('resume', { scope, freezeId, signatures: SIGNATURES });
  readonly held = async () => (await this.admin('status', {})).freezes;

  async idOf(scope: string): Promise<string> {
    await until('its id is known', async () =>
      (await this.held()).some((each) => each.scope === scope && each.freezeId !== null),
    );
    return String((await this.held()).find((each) => each.scope === scope)?.freezeId);
  }

  readonly rowIds = () =>
    this.rows('freezes').map((row) => [row['scope'], row['freeze_id'] && toHex(row['freeze_id'] as Uint8Array)]);
  readonly frozenFlag = async (wallet = this.wallet) =>
    ((await (await this.get(`/v1/wallets/${wallet}`)).json()) as { frozen: boolean }).frozen;
}

/** A latch that a handler waits at. */
export function gate(): { open: () => void; wait: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { open: resolve, wait: promise };
}
