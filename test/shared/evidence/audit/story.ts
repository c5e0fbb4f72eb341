/** Random histories of a deployment, honest but for the steps that say otherwise. */
import { touches } from '@quantumvault/shared/evidence/freeze-scope.ts';
import type { Leaf } from '@quantumvault/shared/evidence/leaf.ts';
import fc from 'fast-check';
import { type BuiltLog, type BuiltWallet, Deployment } from '../../../support/log-builder.ts';

export interface Step {
  readonly what: (typeof HONEST)[number] | (typeof DISHONEST)[number];
  readonly pick: number;
  readonly lamports: bigint;
  readonly advanceMs: number;
}

const HONEST = [
  ...['sign', 'sign', 'sign', 'sign', 'repeat', 'deny', 'enable', 'create', 'freeze', 'resume', 'wait'],
  ...['boot', 'release', 'lease'],
] as const;
const DISHONEST = ['skip', 'overspend', 'falseRepeat', 'oldBoot', 'signFrozen'] as const;

const step = (names: readonly Step['what'][]): fc.Arbitrary<Step> =>
  fc.record({
    what: fc.constantFrom(...names),
    pick: fc.nat(1000),
    lamports: fc.bigInt(0n, 60n),
    advanceMs: fc.integer({ min: 0, max: 30_000 }),
  });

export const honestSteps = (maxLength: number): fc.Arbitrary<Step[]> =>
  fc.array(step(HONEST), { minLength: 5, maxLength });
export const dishonestStep: fc.Arbitrary<Step> = step(DISHONEST);

interface Open {
  readonly id: Uint8Array;
  readonly scope: string;
}

export class Story {
  readonly deployment = new Deployment();
  readonly wallets: BuiltWallet[] = [];
  /** The newest boot, which holds or is given everything. */
  #log: BuiltLog | undefined;
  #signed: { readonly leaf: Leaf; readonly wallet: BuiltWallet }[] = [];
  #open: Open[] = [];
  /** What held in the log of an earlier boot when the next one began. */
  readonly #left = new Map<BuiltLog, readonly Open[]>();

  get log(): BuiltLog {
    if (this.#log === undefined) throw new Error('begin first');
    return this.#log;
  }

  async begin(): Promise<void> {
    this.#log = await this.deployment.start();
    this.#create();
  }

  async tell({ what, pick, lamports, advanceMs }: Step): Promise<void> {
    const wallet = this.wallets[pick % this.wallets.length] as BuiltWallet;
    const isHere = wallet.log === this.log;
    const isFrozen = this.#open.some(
      ({ scope }) => scope === 'fleet' || scope.endsWith(wallet.address) || scope.endsWith(wallet.requester),
    );
    switch (what) {
      case 'sign':
        if (isHere && !isFrozen) this.#sign(wallet, lamports, advanceMs);
        return;
      case 'repeat': {
        const known = this.#signed[pick % Math.max(this.#signed.length, 1)];
        const isRecent = known !== undefined && this.deployment.now - known.leaf.time <= 330_000;
        const isSame = known?.leaf.policyHash === known?.wallet.policyHash && known?.wallet === wallet;
        if (isHere && !isFrozen && isRecent && isSame) wallet.repeat(known.leaf);
        return;
      }
      case 'deny':
        if (isHere) wallet.deny();
        return;
      case 'enable':
        if (isHere) wallet.enable(policyOf(pick));
        return;
      case 'create':
        this.#create();
        return;
      case 'freeze': {
        const scope = ['fleet', `wallet:${wallet.address}`, `requester:${wallet.requester}`][pick % 3] as string;
        this.#open = [...this.#open.filter((open) => open.scope !== scope), { id: this.log.freeze(scope), scope }];
        return;
      }
      case 'resume': {
        const [open] = this.#open.splice(pick % Math.max(this.#open.length, 1), 1);
        if (open !== undefined) this.log.resume(open.id, open.scope);
        return;
      }
      case 'wait':
        this.deployment.now += pick * 1000;
        return;
      case 'boot':
        if (this.deployment.logs.length >= 4) return;
        this.#left.set(this.log, [...this.#open]);
        this.#open = this.#open.filter(({ scope }) => !scope.startsWith('wallet:'));
        this.#log = await this.deployment.start({ follows: this.log.predecessor() });
        this.#signed = [];
        return;
      case 'release':
        if (!isHere) this.#bring(wallet, () => wallet.moveTo(this.log));
        return;
      case 'lease':
        if (!isHere) this.#bring(wallet, () => wallet.leaseTo(this.log, wallet.version + BigInt(pick % 2)));
        return;
      case 'skip':
        wallet.version++;
        this.#sign(wallet, 0n, advanceMs);
        return;
      case 'overspend':
        this.#sign(wallet, 101n, advanceMs);
        return;
      case 'falseRepeat':
        wallet.repeat(wallet.sign({ lamports: 0n, advanceMs: 500_000 }));
        return;
      case 'oldBoot':
        wallet.version++;
        this.deployment.logs[0]?.record({
          kind: 'policy-enabled',
          wallet: wallet.address,
          actor: wallet.requester,
          stateVersion: wallet.version,
          policyHash: wallet.policyHash as NonNullable<typeof wallet.policyHash>,
        });
        return;
      case 'signFrozen':
        this.log.freeze();
        wallet.sign({ lamports: 0n });
    }
  }

  /** With what stops it where it comes from. */
  #bring(wallet: BuiltWallet, move: () => void): void {
    const held = this.#left.get(wallet.log) ?? [];
    move();
    for (const open of held)
      if (touches(open.scope, wallet.address) && !this.#open.some(({ id }) => id === open.id)) this.#open.push(open);
  }

  #create(): void {
    this.wallets.push(this.log.wallet(policyOf(0)));
  }

  /** Within the window: the sum of all signatures of the last hundred seconds stays below its limit. */
  #sign(wallet: BuiltWallet, lamports: bigint, advanceMs: number): void {
    const leaf = wallet.sign({ lamports, advanceMs });
    if (wallet.log === this.log) this.#signed.push({ leaf, wallet });
  }
}

/** Limits that random signatures stay below now and then, so that some stories are dishonest by chance. */
function policyOf(pick: number): Record<string, unknown> {
  const window = { seconds: 1 + (pick % 100), max: '2000' };
  return { sol: { maxPerTransaction: '100', window, destinations: [] }, rate: { perMinute: 50, perDay: 1_000 } };
}
