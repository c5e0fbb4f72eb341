/** Leases out of an audited log: how many, with which wallets, freezes and cosignatures. */
import { leasesOf, requireCovered } from '@quantumvault/host/cli/succession/estate.ts';
import type { Address, BootId } from '@quantumvault/shared/brands.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { auditLog } from '@quantumvault/shared/evidence/audit/audit.ts';
import type { Estate } from '@quantumvault/shared/evidence/audit/types.ts';
import { type Lease, leaseCodec } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { parseNote } from '@quantumvault/shared/tlog/note.ts';
import { describe, expect, test } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import { auditDeps, Deployment } from '../../support/log-builder.ts';
import { party } from '../../support/wallet-kit.ts';

const boot = (): BootId => party().address as string as BootId;
const parties = {
  deployment: 'test',
  predecessor: boot(),
  successor: boot(),
  notAfter: timeMs(1e12),
  sumsProven: false,
};
const freeze = (scope: string, fill = 1) => ({ scope, freezeId: new Uint8Array(16).fill(fill) });
const held = (count: number) => Array.from({ length: count }, () => ({ wallet: party().address, version: 3n }));

async function checkpoint(witnesses = 0) {
  const deployment = new Deployment({ witnesses });
  const log = await deployment.start();
  return { note: log.checkpoint(), keys: deployment.witnesses.map(({ key }) => key), origin: log.origin };
}
const estateOf = async (change: Partial<Estate>): Promise<Estate> => ({
  checkpoint: (await checkpoint()).note,
  wallets: [],
  freezes: [],
  ...change,
});
const walletsOf = ({ wallets }: Lease): Address[] => wallets.map(({ wallet }) => wallet);

describe('leases of an estate', () => {
  test('are as many as it takes, and each can be written', async () => {
    const wallets = held(2 * LIMITS.leaseWallets + 1);
    const leases = leasesOf(await estateOf({ wallets }), parties, []);
    expect(leases.map((lease) => lease.wallets.length)).toEqual([LIMITS.leaseWallets, LIMITS.leaseWallets, 1]);
    expect(leases.flatMap(walletsOf)).toEqual(wallets.map(({ wallet }) => wallet));
    for (const lease of leases) expect(encodeAs(leaseCodec, lease).length).toBeLessThan(LIMITS.frameBytes / 2);
    expect(leasesOf(await estateOf({}), parties, [])).toEqual([]);
  });

  test('carry the freezes of their own wallets, and those of all', async () => {
    const wallets = held(2 * LIMITS.carriedFreezes);
    const own = wallets.map(({ wallet }) => freeze(`wallet:${wallet}`));
    const shared = [freeze('fleet'), freeze(`requester:${party().address}`)];
    const leases = leasesOf(await estateOf({ wallets, freezes: [...own, ...shared] }), parties, []);
    expect(leases.length).toBe(3);
    for (const { wallets, freezes } of leases) {
      expect(freezes.length).toBeLessThanOrEqual(LIMITS.carriedFreezes);
      const scopes = freezes.map(({ scope }) => scope);
      for (const { scope } of shared) expect(scopes).toContain(scope);
      expect(scopes.filter((scope) => scope.startsWith('wallet:')).sort()).toEqual(
        wallets.map(({ wallet }) => `wallet:${wallet}`).sort(),
      );
    }
  });

  test('with more freezes than one carries freeze everything', async () => {
    const requesters = Array.from({ length: LIMITS.carriedFreezes + 1 }, () => freeze(`requester:${party().address}`));
    const [lease] = leasesOf(await estateOf({ wallets: held(1), freezes: requesters }), parties, []);
    expect(lease?.freezes.map(({ scope }) => scope)).toEqual(['fleet']);
    const fleet = freeze('fleet', 9);
    const [other] = leasesOf(await estateOf({ wallets: held(1), freezes: [...requesters, fleet] }), parties, []);
    expect(other?.freezes).toEqual([fleet]);
  });

  test('never make of what an owner ends something that operators end', async () => {
    const wallets = held(2);
    const [a] = wallets.map(({ wallet }) => wallet) as [Address];
    const requesters = Array.from({ length: LIMITS.carriedFreezes }, () => freeze(`requester:${party().address}`));
    const own = freeze(`wallet:${a}`, 7);
    const estate = await estateOf({ wallets, freezes: [...requesters, own] });
    const leases = leasesOf(estate, parties, []);
    expect(leases.map(({ freezes }) => freezes)).toEqual([[expect.objectContaining({ scope: 'fleet' }), own]]);
    requireCovered(leases, estate);
    const without = leases.map((lease) => ({ ...lease, freezes: lease.freezes.slice(0, 1) }));
    expect((await expectCode(() => requireCovered(without, estate), 'evidence_mismatch')).facts.path).toBe(own.scope);
    // Other wallets' freezes are no reason to leave out what touches this one.
    const others = Array.from({ length: LIMITS.carriedFreezes }, () => freeze(`wallet:${party().address}`));
    const crowded = await estateOf({ wallets, freezes: [...others, own, freeze(`requester:${a}`)] });
    const fleet = leases.map((lease) => ({ ...lease, freezes: [freeze('fleet'), own] }));
    await expectCode(() => requireCovered(fleet, crowded), 'evidence_mismatch');
    // More ids of one scope than one lease carries.
    const many = Array.from({ length: LIMITS.carriedFreezes }, (_, fill) => freeze(own.scope, fill));
    const full = await estateOf({ wallets, freezes: [...many, freeze('fleet')] });
    requireCovered(leasesOf(full, parties, []), full);
  });

  test('leave out what was released to others, unless it is named', async () => {
    const [a, b, c] = held(3).map(({ wallet }) => wallet) as [Address, Address, Address];
    const estate = await estateOf({
      wallets: [
        { wallet: a, version: 1n },
        { wallet: b, version: 2n, releasedTo: boot() },
        { wallet: c, version: 3n, releasedTo: parties.successor },
      ],
    });
    expect(leasesOf(estate, parties, []).flatMap(walletsOf)).toEqual([a, c]);
    expect(leasesOf(estate, parties, [], { named: [b] }).flatMap(walletsOf)).toEqual([b]);
    await expectCode(() => leasesOf(estate, parties, [], { named: [party().address] }), 'wallet_unknown');
    const unrecorded = party().address;
    const [lease] = leasesOf(estate, parties, [], { named: [a], unrecorded: [unrecorded] });
    expect(lease?.wallets).toEqual([
      { wallet: a, version: 1n },
      { wallet: unrecorded, version: 0n },
    ]);
  });

  test('compared with a log say no less than it', async () => {
    const wallets = held(3);
    const [a, b] = wallets.map(({ wallet }) => wallet) as [Address, Address];
    const freezes = [freeze('fleet'), freeze(`wallet:${a}`)];
    const estate = await estateOf({ wallets, freezes });
    const [lease] = leasesOf(estate, parties, []) as [Lease];
    requireCovered([lease], estate);
    const changed = (change: Partial<Lease>) =>
      expectCode(() => requireCovered([{ ...lease, ...change }], estate), 'evidence_mismatch');
    expect((await changed({ wallets: [{ wallet: b, version: 2n }] })).facts.path).toBe(b);
    expect((await changed({ freezes: freezes.slice(0, 1) })).facts.path).toBe(`wallet:${a}`);
    expect((await changed({ freezes: freezes.slice(1) })).facts.path).toBe('fleet');
    await changed({ freezes: [freeze('fleet', 2), freeze(`wallet:${a}`)] });
    // Of others it may be silent; what is newer, or not in the log, is no less.
    requireCovered([{ ...lease, wallets: [{ wallet: b, version: 9n }], freezes: freezes.slice(0, 1) }], estate);
    requireCovered([{ ...lease, wallets: [{ wallet: party().address, version: 0n }] }], estate);
    const many = Array.from({ length: LIMITS.carriedFreezes + 1 }, () => freeze(`requester:${party().address}`));
    const full = await estateOf({ wallets, freezes: many });
    requireCovered(leasesOf(full, parties, []), full);
    await expectCode(() => leasesOf(estate, parties, [], { named: [a], unrecorded: [b] }), 'evidence_mismatch');
  });

  test('hold the log’s own signature and as many cosignatures as fit, known witnesses first', async () => {
    const { note, keys, origin } = await checkpoint(30);
    const last = keys.slice(-2);
    const [lease] = leasesOf(await estateOf({ wallets: held(1), checkpoint: note }), parties, last);
    const names = parseNote(lease?.checkpoint as Uint8Array).signatures.map(({ name }) => name);
    expect(lease?.checkpoint.length).toBeLessThanOrEqual(LIMITS.predecessorNoteBytes);
    expect(names.slice(0, 3)).toEqual([origin, ...last.map(({ name }) => name)]);
    expect(names.length).toBeGreaterThan(10);
  });
});

describe('what an audit says of a boot', () => {
  test('is what it holds by its last leaves, and the freezes that hold', async () => {
    const deployment = new Deployment();
    const first = await deployment.start();
    const second = await deployment.start({ follows: first.predecessor() });
    const [kept, moved, given] = [first.wallet(), first.wallet(), first.wallet()];
    kept.sign();
    moved.moveTo(second);
    const facts = { kind: 'release', wallet: given.address, stateVersion: given.version } as const;
    first.record({ ...facts, successor: second.boot });
    first.resume(first.freeze());
    const fleet = first.freeze();
    const report = await auditLog(deployment.source(), deployment.expectations(), auditDeps);
    expect(report.findings).toEqual([]);
    expect(report.estateOf(first.boot)).toEqual({
      checkpoint: first.checkpoint(),
      wallets: [
        { wallet: kept.address, version: kept.version },
        { wallet: given.address, version: given.version, releasedTo: second.boot },
      ],
      freezes: [{ scope: 'fleet', freezeId: fleet }],
    });
    expect(report.estateOf(second.boot)?.wallets).toEqual([{ wallet: moved.address, version: moved.version }]);
    expect(report.estateOf(boot())).toBeUndefined();
  });
});
