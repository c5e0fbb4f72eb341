/** Who may follow an owner, by the log: whoever goes on against what it says leaves evidence. */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import type { OwnerSuccession, SuccessionKind } from '@quantumvault/shared/evidence/leaf.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { type BuiltLog, BuiltWallet, Deployment, type LeafFacts, recordRetired } from '../../../support/log-builder.ts';
import { auditOf, codesOf, findingOf } from './audits.ts';

const DAY_MS = 86_400_000;
let deployment: Deployment;
let log: BuiltLog;
let wallet: BuiltWallet;
let heir: BuiltWallet['owner'];
let change: number;

beforeEach(async () => {
  deployment = new Deployment();
  log = await deployment.start();
  wallet = log.wallet();
  heir = new BuiltWallet(log).owner;
  change = 0;
});

async function expectHonest(): Promise<Uint8Array | undefined> {
  const report = await auditOf(deployment);
  expect(report.findings).toEqual([]);
  return report.seen;
}

/** In an audit from the beginning, and in one that goes on from `seen`. */
async function expectFound(seen?: Uint8Array, code: ErrorCode = 'log_succession_invalid'): Promise<void> {
  for (const from of [undefined, seen]) {
    const report = await auditOf(deployment, from && { seen: from });
    findingOf(report, code);
    expect(new Set(codesOf(report))).toEqual(new Set([code]));
  }
}

function record(
  kind: SuccessionKind,
  actor: LeafFacts['actor'],
  says: Partial<OwnerSuccession>,
  facts: Partial<LeafFacts> = {},
) {
  wallet.version++;
  change++;
  return wallet.log.record({
    kind,
    wallet: wallet.address,
    ...(actor && { actor }),
    stateVersion: wallet.version,
    succession: { change, owner: wallet.owner, ...says },
    ...facts,
  });
}

const successor = () => ({ key: heir, delayDays: 2 });
const name = (says: Partial<OwnerSuccession> = { successor: successor() }, actor = wallet.owner) =>
  record('successor-named', actor, says);
const claim = (says: Partial<OwnerSuccession> = {}, actor = heir) =>
  record('takeover-claimed', actor, { successor: successor(), claimedAt: deployment.now as never, ...says });
const cancel = (says: Partial<OwnerSuccession> = {}, actor = wallet.owner) =>
  record('takeover-cancelled', actor, { successor: successor(), ...says });
function twoDays(): void {
  deployment.now += 2 * DAY_MS;
}

const takeOver = (says: Partial<OwnerSuccession> = {}, actor = heir) =>
  record('owner-changed', actor, { successor: successor(), ...says });

/** Claimed at this time, and the delay has passed. */
function due(): number {
  name();
  const { time } = claim();
  twoDays();
  return time;
}

const next = (): Promise<BuiltLog> => deployment.start({ follows: log.predecessor() });

describe('a successor', () => {
  test('is named, claims, is cancelled, claims again and is removed; signing goes on meanwhile', async () => {
    name();
    wallet.sign();
    claim();
    wallet.sign();
    const seen = await expectHonest();
    const running = { wallet: wallet.address, owner: wallet.owner, successor: heir };
    expect((await auditOf(deployment)).claims).toEqual([
      expect.objectContaining({ ...running, dueAt: expect.any(Number) }),
    ]);
    // Also where nothing new is read.
    expect((await auditOf(deployment, seen && { seen })).claims).toMatchObject([running]);
    cancel();
    expect((await auditOf(deployment)).claims).toEqual([]);
    claim();
    deployment.now += DAY_MS;
    name({});
    wallet.sign();
    await expectHonest();
    expect((await auditOf(deployment, seen && { seen })).findings).toEqual([]);
    expect((await auditOf(deployment)).kinds).toMatchObject({ 'successor-named': 2, 'takeover-claimed': 2 });
  });

  test('may be named with the creation, and with nothing more', async () => {
    const other = new BuiltWallet(log);
    const facts = { kind: 'wallet-created', wallet: other.address, actor: other.owner, stateVersion: 1n } as const;
    log.record({ ...facts, succession: { change: 0, owner: other.owner, successor: successor() } });
    other.enable();
    wallet = other;
    claim();
    await expectHonest();
    const third = new BuiltWallet(log);
    const more = { change: 1, owner: third.owner, successor: successor() };
    log.record({ ...facts, wallet: third.address, actor: third.owner, succession: more });
    await expectFound();
  });

  test.each([
    ['named by somebody else', () => name({ successor: successor() }, heir)],
    ['named for another owner', () => name({ owner: heir })],
    ['named out of turn', () => name({ change: 7 })],
    ['named, and claimed with it', () => name({ successor: successor(), claimedAt: deployment.now as never })],
    ['claimed without being named', () => claim()],
    ['cancelled without a claim', () => [name(), cancel()]],
    ['claimed by somebody else', () => [name(), claim({}, wallet.owner)]],
    ['claimed by another successor', () => [name(), claim({ successor: { key: wallet.requester, delayDays: 2 } })]],
    ['claimed with another delay', () => [name(), claim({ successor: { key: heir, delayDays: 1 } })]],
    ['claimed for an earlier time', () => [name(), claim({ claimedAt: (deployment.now - DAY_MS) as never })]],
    ['claimed twice', () => [name(), claim(), claim()]],
    ['cancelled by the successor', () => [name(), claim(), cancel({}, heir)]],
    ['cancelled, and the claim runs on', () => [name(), claim(), cancel({ claimedAt: deployment.now as never })]],
    ['cancelled after the delay', () => [name(), claim(), twoDays(), cancel()]],
    ['removed after the delay', () => [name(), claim(), twoDays(), name({})]],
  ])('%s is evidence', async (_, act) => {
    const seen = await expectHonest();
    act();
    await expectFound(seen);
  });

  test('that is named or claims for a wallet that was retired is evidence', async () => {
    recordRetired(wallet);
    const seen = await expectHonest();
    name();
    await expectFound(seen, 'log_signed_retired');
  });

  test('is a change of the state like any other, and lacks nothing of what its kind says', async () => {
    record('successor-named', wallet.owner, { successor: successor() }, { stateVersion: wallet.version });
    await expectFound(undefined, 'log_version_gap');
    log.rewrite(log.size - 1, ({ succession: __, ...leaf }) => leaf);
    await expectFound(undefined, 'log_entry_incomplete');
  });
});

describe('another boot', () => {
  /** Leased with this in the state. */
  function lease(to: BuiltLog, succession: OwnerSuccession | undefined, version = wallet.version): void {
    const predecessor = wallet.log.predecessor();
    wallet.version = version + 1n;
    const facts = { kind: 'lease', wallet: wallet.address, stateVersion: wallet.version, predecessor } as const;
    to.record({ ...facts, ...(succession && { succession }) });
    wallet.log = to;
  }
  const running = (claimedAt: number): OwnerSuccession => ({
    change: 2,
    owner: wallet.owner,
    successor: successor(),
    claimedAt: claimedAt as never,
  });

  test('counts a claim on, or from its lease', async () => {
    name();
    const { time } = claim();
    const second = await next();
    lease(second, running(time));
    const third = await deployment.start({ follows: second.predecessor() });
    lease(third, running(deployment.now));
    // By the first claim the delay is over, by the lease it is not.
    deployment.now += 2 * DAY_MS - 3_000;
    cancel();
    await expectHonest();
  });

  test.each<[string, (claimedAt: number) => OwnerSuccession | undefined]>([
    ['from an earlier time', (claimedAt) => running(claimedAt - DAY_MS)],
    ['from any later time', (claimedAt) => running(claimedAt + 1)],
    ['under another number', (claimedAt) => ({ ...running(claimedAt), change: 3 })],
    ['with another delay', (claimedAt) => ({ ...running(claimedAt), successor: { key: heir, delayDays: 1 } })],
    ['of another owner', (claimedAt) => ({ ...running(claimedAt), owner: heir })],
    ['not at all', () => undefined],
  ])('that goes on with a claim %s leaves evidence', async (_, says) => {
    name();
    const { time } = claim();
    const seen = await expectHonest();
    lease(await next(), says(time));
    await expectFound(seen);
  });

  test('that knows of changes whose leaves were lost is believed, as far as they can have been', async () => {
    name();
    const lost = { change: 5, owner: wallet.owner };
    lease(await next(), lost, wallet.version + 3n);
    change = 5;
    name();
    await expectHonest();
    lease(await deployment.start({ follows: wallet.log.predecessor() }), { ...lost, change: 1 }, wallet.version + 3n);
    await expectFound();
  });

  test('that lost the enabling of a policy may begin with whom an owner names: the first signature says which counts', async () => {
    wallet.policyHash = deployment.addPolicy(wallet.document());
    wallet.version++;
    lease(await next(), undefined);
    name();
    claim();
    const seen = await expectHonest();
    cancel();
    wallet.sign();
    wallet.sign();
    await expectHonest();
    expect((await auditOf(deployment, seen && { seen })).findings).toEqual([]);
    // Once it was said, another one has to be enabled.
    wallet.policyHash = deployment.addPolicy({ ...wallet.document(), epoch: 9 });
    wallet.sign();
    await expectFound(seen, 'log_policy_mismatch');
  });

  test('that lost the first policy of the next owner goes by his first signature, and by none under the one before', async () => {
    takeOver({ claimedAt: due() as never });
    const seen = await expectHonest();
    const before = wallet.policyHash;
    wallet.policyHash = deployment.addPolicy({ ...wallet.document(), owner: heir, epoch: 2 });
    wallet.version++;
    lease(await next(), { change, owner: heir });
    wallet.sign();
    await expectHonest();
    expect((await auditOf(deployment, seen && { seen })).findings).toEqual([]);
    wallet.policyHash = before;
    wallet.sign();
    await expectFound(seen, 'log_policy_mismatch');
  });

  test('behind which the next owner comes ends the policy that was lost, too', async () => {
    name();
    const { time } = claim();
    wallet.policyHash = deployment.addPolicy(wallet.document());
    wallet.version++;
    lease(await next(), running(time));
    twoDays();
    takeOver({ claimedAt: time as never });
    const seen = await expectHonest();
    wallet.sign();
    await expectFound(seen, 'log_policy_mismatch');
  });

  test('that leases a wallet with a successor whom nobody named leaves evidence', async () => {
    lease(await next(), { change: 1, owner: wallet.owner, successor: successor() });
    await expectFound();
  });
});

describe('a new owner', () => {
  /** As the owner of what is built from here on. */
  const inherits = (): void => {
    Object.assign(wallet, { owner: heir });
  };

  test('has waited, enables a policy, and may name a successor and retire', async () => {
    takeOver({ claimedAt: due() as never });
    inherits();
    const seen = await expectHonest();
    wallet.enable();
    wallet.sign();
    name({ successor: { key: wallet.requester, delayDays: 1 } });
    recordRetired(wallet);
    await expectHonest();
    expect((await auditOf(deployment, seen && { seen })).findings).toEqual([]);
    expect((await auditOf(deployment)).kinds).toMatchObject({ 'owner-changed': 1 });
  });

  test('may be leased', async () => {
    takeOver({ claimedAt: due() as never });
    inherits();
    const to = await next();
    const predecessor = wallet.log.predecessor();
    wallet.version++;
    to.record({
      ...{ kind: 'lease', wallet: wallet.address, stateVersion: wallet.version, predecessor },
      succession: { change, owner: heir },
    });
    wallet.log = to;
    wallet.enable();
    await expectHonest();
  });

  test.each([
    ['who has not waited', () => [name(), takeOver({ claimedAt: claim().time as never })]],
    ['who never claimed', () => [name(), twoDays(), takeOver({ claimedAt: deployment.now as never })]],
    ['who was cancelled', () => [name(), claim(), cancel(), twoDays(), takeOver()]],
    ['who claimed at another time', () => takeOver({ claimedAt: (due() - 1) as never })],
    ['whom nobody named', () => takeOver({ claimedAt: due() as never }, wallet.requester)],
    ['with another delay', () => takeOver({ claimedAt: due() as never, successor: { key: heir, delayDays: 1 } })],
    ['of somebody else’s wallet', () => takeOver({ claimedAt: due() as never, owner: wallet.requester })],
    ['who takes it over twice', () => [takeOver({ claimedAt: due() as never }), takeOver()]],
    ['who is still cancelled by the one before', () => [takeOver({ claimedAt: due() as never }), cancel()]],
  ])('%s is evidence', async (_, act) => {
    const seen = await expectHonest();
    act();
    await expectFound(seen);
  });

  test('for whom something is signed under the policy of before is evidence, in a later audit, too', async () => {
    takeOver({ claimedAt: due() as never });
    const seen = await expectHonest();
    wallet.sign();
    await expectFound(seen, 'log_policy_mismatch');
  });

  test('whose policy the owner before enables is evidence', async () => {
    takeOver({ claimedAt: due() as never });
    const seen = await expectHonest();
    wallet.enable();
    await expectFound(seen, 'log_policy_mismatch');
  });
});
