/**
 * Wallets by their leaves: which boot holds each, its versions, the policy that is enabled, and what was spent. A
 * wallet's leaves are judged in the order of its holders' logs; a boot's right to it is a claim with an end.
 */
import { type Address, type BootId, type Hash, timeMs } from '../../brands.ts';
import type { ErrorCode } from '../../errors.ts';
import type { Leaf, OwnerSuccession, SuccessionKind } from '../leaf.ts';
import type { LeafOf } from './kinds.ts';
import type { Policies, PolicyLimits } from './limits-of-policy.ts';
import type { Checklist, Place, StepName } from './report.ts';
import { sameBytes } from './same-bytes.ts';
import { Spends } from './spends.ts';
import { dueAt, leasedFaults, successionAfter, successionFaults } from './successions.ts';
import type { HeldWallet, RunningClaim } from './types.ts';

/** One boot's right to a wallet, from one version on. */
export interface Claim {
  readonly boot: BootId;
  readonly from: bigint;
  /** The wallet's version by this boot's leaves. */
  version: bigint;
  /** The claim it came from: its place in the list. Absent in the boot that created the wallet. */
  readonly source?: number | undefined;
  /** Changes of who may follow the owner that this boot began with: none of them says which policy counts. */
  quiet?: bigint | undefined;
  /** To whom the boot gave it away, and by which leaf. */
  released?: { readonly to: BootId; readonly at: number };
}

export interface Wallet {
  readonly address: Address;
  /** Unknown of a wallet whose creation is not on record, which is a finding. */
  owner: Address | undefined;
  /** Its key existed outside before. */
  readonly imported: boolean;
  readonly claims: Claim[];
  readonly spends: Spends;
  epoch: number;
  policyHash: Hash | undefined;
  /** Undefined until they are needed. */
  limits: PolicyLimits | 'unavailable' | undefined;
  /** By its owner, for good. */
  retired: boolean;
  /** As the last leaf about it says; undefined of a wallet whose owner never named anybody. */
  succession: OwnerSuccession | undefined;
  /** Its policy is one of an owner who has been followed: until the next one nothing may be signed. */
  lapsed: boolean;
}

export class Wallets {
  readonly all: Map<Address, Wallet>;
  readonly #checklist: Checklist;
  readonly #policies: Policies;

  /** @param kept of earlier audits */
  constructor(checklist: Checklist, policies: Policies, kept = new Map<Address, Wallet>()) {
    this.all = kept;
    this.#checklist = checklist;
    this.#policies = policies;
  }

  created(leaf: LeafOf<'wallet-created'>, place: Place): void {
    const { boot, wallet: address, actor: owner, stateVersion } = leaf;
    const known = this.all.get(address);
    if (known !== undefined) {
      this.#add('wallets', 'log_wallet_forked', place, `it was created by ${known.claims[0]?.boot} already`);
      return;
    }
    if (stateVersion !== 1n) this.#add('wallets', 'log_version_gap', place, `created at version ${stateVersion}`);
    const wallet = this.#insert(address, owner, { boot, from: stateVersion, version: stateVersion });
    this.#begin(wallet, leaf, place);
  }

  /**
   * An import whose reply nobody stored, because a host or a boot died, is repeated by the owner, a migration by the
   * operators: before any policy was enabled that is no fork. Where another boot repeats it, the one before holds the
   * wallet no more.
   */
  imported(leaf: LeafOf<'wallet-imported'> | LeafOf<'wallet-migrated'>, place: Place): void {
    const { boot, kind, wallet: address, actor: owner, stateVersion, sequence } = leaf;
    const how = kind === 'wallet-migrated' ? 'migrated' : 'imported';
    if (stateVersion !== 1n) this.#add('wallets', 'log_version_gap', place, `${how} at version ${stateVersion}`);
    const known = this.all.get(address);
    const claim: Claim = { boot, from: stateVersion, version: stateVersion };
    if (known === undefined) {
      this.#begin(this.#insert(address, owner, claim, true), leaf, place);
      return;
    }
    const last = known.claims.at(-1);
    const isUnused = known.imported && known.owner === owner && known.policyHash === undefined && last?.version === 1n;
    if (!isUnused) this.#add('wallets', 'log_wallet_forked', place, `${last?.boot} had it already`);
    else if (last.boot !== boot) {
      this.#begin(known, leaf, place);
      last.released ??= { to: boot, at: Number(sequence) };
      known.claims.push(claim);
    }
  }

  async enabled(leaf: LeafOf<'policy-enabled'>, place: Place): Promise<void> {
    const { policyHash, actor } = leaf;
    const wallet = this.#advance(leaf, leaf.stateVersion, place);
    this.#requireLive(wallet, place);
    if (wallet.owner !== undefined && wallet.owner !== actor)
      this.#add('policies', 'log_policy_mismatch', place, `enabled by ${actor}, who is not its owner`);
    wallet.policyHash = policyHash;
    wallet.lapsed = false;
    wallet.spends.forgetWindows();
    const limits = await this.#readLimits(wallet, policyHash, place);
    if (limits === 'unavailable') return;
    const isOurs = limits.wallet === wallet.address && (wallet.owner === undefined || limits.owner === wallet.owner);
    if (!isOurs) this.#add('policies', 'log_policy_mismatch', place, 'the policy is one of another wallet or owner');
    if (limits.epoch <= wallet.epoch)
      this.#add('policies', 'log_policy_mismatch', place, `epoch ${limits.epoch} after ${wallet.epoch}`);
    wallet.epoch = limits.epoch;
  }

  /** A signature, the first for its request or a repeat. A promise only where the policy has to be read first. */
  signed(leaf: LeafOf<'signed'>, place: Place): void | Promise<void> {
    const isRepeat = leaf.repeats !== undefined;
    const wallet = this.#advance(leaf, leaf.stateVersion, place, isRepeat);
    this.#requireLive(wallet, place);
    if (!isRepeat && this.#isAfterLoss(wallet, leaf)) wallet.policyHash = this.#lostPolicy(wallet, leaf);
    const { policyHash } = wallet;
    if (policyHash === undefined || wallet.lapsed || !sameBytes(policyHash, leaf.policyHash)) {
      const isOurs = policyHash !== undefined && !wallet.lapsed;
      const what = isOurs ? 'not under the policy that is enabled' : 'no policy is enabled';
      this.#add('policies', 'log_policy_mismatch', place, what);
      if (!isRepeat) wallet.spends.add(leaf.time, leaf.amounts);
      return;
    }
    if (wallet.limits !== undefined) return this.#judge(wallet, wallet.limits, leaf, place);
    // Of a wallet kept from an earlier audit.
    return this.#readLimits(wallet, policyHash, place).then((limits) => this.#judge(wallet, limits, leaf, place));
  }

  /** Ended by its owner. Whoever holds it later goes on from a state that says so. */
  retired(leaf: LeafOf<'retired'>, place: Place): void {
    const { actor, policyHash } = leaf;
    const wallet = this.#advance(leaf, leaf.stateVersion, place);
    this.#requireLive(wallet, place);
    if (wallet.owner !== undefined && wallet.owner !== actor)
      this.#add('policies', 'log_policy_mismatch', place, `retired by ${actor}, who is not its owner`);
    wallet.retired = true;
    // Of a wallet whose leaves were lost before a lease nobody else says which policy it had.
    if (this.#isAfterLoss(wallet, leaf)) return;
    this.#requirePolicy(wallet, policyHash, place);
  }

  /** Under a fresh key and salt: nobody's decision, and nothing but the version changes. */
  rewrapped(leaf: LeafOf<'rewrapped'>, place: Place): void {
    const wallet = this.#advance(leaf, leaf.stateVersion, place);
    this.#requireLive(wallet, place);
    if (this.#isAfterLoss(wallet, leaf)) wallet.policyHash = this.#lostPolicy(wallet, leaf);
    else this.#requirePolicy(wallet, leaf.policyHash, place);
  }

  #requirePolicy({ policyHash: known }: Wallet, named: Hash | undefined, place: Place): void {
    const agrees = known && named ? sameBytes(known, named) : known === named;
    if (!agrees) this.#add('policies', 'log_policy_mismatch', place, 'not with the policy that is enabled');
  }

  /** Named by the statement with which its owner began it. */
  #begin(wallet: Wallet, { actor, succession }: Pick<Leaf, 'actor' | 'succession'>, place: Place): void {
    wallet.succession = succession;
    if (succession === undefined) return;
    const { change, owner, claimedAt } = succession;
    if (change !== 0 || owner !== actor || claimedAt !== undefined)
      this.#add('wallets', 'log_succession_invalid', place, 'more than a successor with the first leaf');
  }

  /** Who may follow the owner, and when. */
  succeeded(leaf: LeafOf<SuccessionKind>, place: Place): void {
    const wallet = this.#advance(leaf, leaf.stateVersion, place);
    this.#requireLive(wallet, place);
    const claim = wallet.claims.findLast(({ boot }) => boot === leaf.boot);
    if (leaf.kind !== 'owner-changed' && claim !== undefined && leaf.stateVersion === firstAfter(claim))
      claim.quiet = (claim.quiet ?? 0n) + 1n;
    for (const fault of successionFaults(wallet.owner, wallet.succession, leaf))
      this.#add('wallets', 'log_succession_invalid', place, fault);
    wallet.succession = successionAfter(leaf);
    wallet.owner = wallet.succession.owner;
    // The policy of the owner before counts no more, whatever it says.
    if (leaf.kind === 'owner-changed') wallet.lapsed = true;
  }

  #leased(wallet: Wallet, { succession, time }: LeafOf<'lease'>, isLost: boolean, place: Place): void {
    for (const fault of leasedFaults(wallet.succession, succession, time, isLost))
      this.#add('wallets', 'log_succession_invalid', place, fault);
    wallet.succession = succession;
    if (succession !== undefined) wallet.owner = succession.owner;
  }

  #requireLive(wallet: Wallet, place: Place): void {
    if (wallet.retired) this.#add('wallets', 'log_signed_retired', place, 'its owner had retired it');
  }

  /** Given away: the boot has no right to it from here on. */
  released(leaf: LeafOf<'release'>, successor: BootId, place: Place): void {
    const { claim } = this.#held(leaf, place);
    if (leaf.stateVersion !== claim.version)
      this.#add('wallets', 'log_version_gap', place, `released at ${leaf.stateVersion}, it is at ${claim.version}`);
    claim.released ??= { to: successor, at: Number(leaf.sequence) };
  }

  /**
   * Received from a boot that gave it away, or taken from one that is gone.
   * @param size of the predecessor's log, as the leaf names it: a release has to be in there
   */
  received(leaf: LeafOf<'lease'> | LeafOf<'release'>, predecessor: BootId, size: number, place: Place): void {
    const { boot, wallet: address, stateVersion } = leaf;
    const wallet = this.all.get(address);
    const source = wallet?.claims.findLastIndex((claim) => claim.boot === predecessor) ?? -1;
    const before = wallet?.claims[source];
    const next: Claim = { boot, from: stateVersion, version: stateVersion, ...(source >= 0 && { source }) };
    if (wallet === undefined || before === undefined) {
      this.#add('wallets', 'log_wallet_not_held', place, `${predecessor}, from which it comes, did not hold it`);
      if (wallet === undefined) this.#insert(address, undefined, next);
      else wallet.claims.push(next);
      return;
    }
    if (wallet.claims.some((claim) => claim.source === source))
      this.#add('wallets', 'log_wallet_forked', place, `it was taken over from ${predecessor} before`);
    const { released } = before;
    if (leaf.kind === 'release' && (released?.to !== boot || released.at >= size))
      this.#add('wallets', 'log_wallet_not_held', place, `${predecessor} did not release it to this boot`);
    // Taking over is a change of its own. A lease may know of versions whose leaves were lost with their boot; a
    // release may not.
    const least = before.version + 1n;
    if (stateVersion < least || (leaf.kind === 'release' && stateVersion !== least))
      this.#add('wallets', 'log_version_gap', place, `taken over at ${stateVersion}, it was at ${before.version}`);
    if (leaf.kind === 'lease') this.#leased(wallet, leaf, stateVersion > least, place);
    wallet.claims.push(next);
  }

  /** When everything was read: nobody may have gone on beyond what the next holder began with. */
  finish(): void {
    for (const wallet of this.all.values())
      for (const { boot, from, source } of wallet.claims) {
        const before = source === undefined ? undefined : wallet.claims[source];
        if (before === undefined || before.version < from) continue;
        const detail = `${before.boot} went on to version ${before.version}, ${boot} began at ${from}`;
        this.#add('wallets', 'log_wallet_forked', { boot: before.boot, wallet: wallet.address }, detail);
      }
  }

  /** The first signature, or the end, after a lease that knows of versions whose leaves were lost: a policy may be among them. */
  #isAfterLoss({ claims }: Wallet, { boot, stateVersion }: LeafOf<'signed' | 'rewrapped' | 'retired'>): boolean {
    const claim = claims.findLast((known) => known.boot === boot);
    const before = claim?.source === undefined ? undefined : claims[claim.source];
    return (
      claim !== undefined &&
      before !== undefined &&
      before.version + 1n < claim.from &&
      stateVersion === firstAfter(claim)
    );
  }

  /** The policy that this leaf names is the one enabled then: of its enabling there is nothing else. */
  #lostPolicy(wallet: Wallet, { policyHash }: LeafOf<'signed' | 'rewrapped'>): Hash | undefined {
    const isKnown = wallet.policyHash && policyHash && sameBytes(wallet.policyHash, policyHash);
    if (isKnown !== true) {
      wallet.limits = undefined;
      // Enabled by the owner who was found with it.
      wallet.lapsed = false;
    }
    return policyHash;
  }

  /** Of whom an owner should hear, whoever else has told him. */
  runningClaims(): readonly RunningClaim[] {
    const claims = [...this.all.values()].flatMap(({ address: wallet, owner, retired, succession }) => {
      const { successor, claimedAt } = succession ?? {};
      const due = succession && dueAt(succession);
      if (retired || !owner || !successor || claimedAt === undefined || due === undefined) return [];
      return [{ wallet, owner, successor: successor.key, claimedAt, dueAt: timeMs(due) }];
    });
    return claims.toSorted((a, b) => (a.wallet < b.wallet ? -1 : 1));
  }

  /** What each boot holds by its leaves, or gave away to somebody who has not taken it. */
  heldBy(boot: BootId): readonly HeldWallet[] {
    const held: HeldWallet[] = [];
    for (const { address: wallet, claims } of this.all.values()) {
      const at = claims.findLastIndex((claim) => claim.boot === boot);
      const claim = claims[at];
      if (claim === undefined || claims.some(({ source }) => source === at)) continue;
      held.push({ wallet, version: claim.version, ...(claim.released && { releasedTo: claim.released.to }) });
    }
    return held;
  }

  #insert(address: Address, owner: Address | undefined, claim: Claim, imported = false): Wallet {
    const wallet: Wallet = {
      address,
      owner,
      imported,
      claims: [claim],
      spends: new Spends(),
      epoch: 0,
      policyHash: undefined,
      limits: undefined,
      retired: false,
      succession: undefined,
      lapsed: false,
    };
    this.all.set(address, wallet);
    return wallet;
  }

  /** The wallet and this boot's right to it, which is a finding where there is none. */
  #held(
    leaf: LeafOf<'signed' | 'policy-enabled' | 'rewrapped' | 'retired' | 'release' | SuccessionKind>,
    place: Place,
  ): { wallet: Wallet; claim: Claim } {
    const { boot, stateVersion: version } = leaf;
    const claim: Claim = { boot, from: version, version };
    const wallet = this.all.get(leaf.wallet);
    if (wallet === undefined) {
      this.#add('wallets', 'log_wallet_not_held', place, 'its creation is not on record');
      // From here on as if it were: one finding is enough.
      return { wallet: this.#insert(leaf.wallet, undefined, claim), claim };
    }
    const held = wallet.claims.findLast((known) => known.boot === boot);
    if (held === undefined) {
      this.#add('wallets', 'log_wallet_not_held', place, `${wallet.claims.at(-1)?.boot} holds it`);
      return { wallet, claim };
    }
    if (held.released !== undefined)
      this.#add('wallets', 'log_wallet_not_held', place, `it was released to ${held.released.to}`);
    return { wallet, claim: held };
  }

  /** Raises the version by one, or finds that a leaf does not. */
  #advance(
    leaf: LeafOf<'signed' | 'policy-enabled' | 'rewrapped' | 'retired' | SuccessionKind>,
    version: bigint,
    place: Place,
    isRepeat = false,
  ): Wallet {
    const isNew = !this.all.has(leaf.wallet);
    const { wallet, claim } = this.#held(leaf, place);
    const expected = isNew || !wallet.claims.includes(claim) || isRepeat ? claim.version : claim.version + 1n;
    if (version !== expected)
      this.#add('wallets', 'log_version_gap', place, `version ${version}, where ${expected} had to follow`);
    if (!isRepeat) claim.version = version;
    return wallet;
  }

  #judge(wallet: Wallet, limits: PolicyLimits | 'unavailable', leaf: LeafOf<'signed'>, place: Place): void {
    const { actor, amounts, time, repeats } = leaf;
    const isRepeat = repeats !== undefined;
    // That the policy is missing was found when it was asked for.
    if (limits !== 'unavailable') {
      if (!limits.requesters.has(actor))
        this.#add('policies', 'log_requester_unknown', place, `the policy does not name ${actor}`);
      if (time < limits.validFrom || time >= limits.validUntil)
        this.#add('policies', 'log_policy_not_valid', place, 'the policy is not valid at that time');
      for (const { code, detail } of wallet.spends.judge(limits, amounts, time, isRepeat))
        this.#add(code === 'log_limit_exceeded' ? 'policies' : 'windows', code, place, detail);
    }
    if (!isRepeat) wallet.spends.add(time, amounts);
  }

  async #readLimits(wallet: Wallet, hash: Hash, place: Place): Promise<PolicyLimits | 'unavailable'> {
    wallet.limits = 'unavailable';
    // A source that fails is no finding.
    const bytes = await this.#policies.read(hash);
    try {
      wallet.limits = this.#policies.limits(bytes, hash);
    } catch (error) {
      this.#checklist.refusal('policies', error, place, 'the policy cannot be checked');
    }
    return wallet.limits;
  }

  #add(step: StepName, code: ErrorCode, place: Place, detail: string): void {
    this.#checklist.add(step, code, place, detail);
  }
}

/** The version of its first leaf that says which policy counts. */
function firstAfter({ from, quiet = 0n }: Claim): bigint {
  return from + 1n + quiet;
}
