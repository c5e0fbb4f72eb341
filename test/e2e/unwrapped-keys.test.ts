/** Keys that stay unwrapped for a while: what they save, what ends them, and that nothing else opens by them. */
import { type BootId, bootIdOf, timeMs } from '@quantumvault/shared/brands.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { walletScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { releaseOrderCodec, renderResumeStatement } from '@quantumvault/shared/evidence/succession.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { operators, signedBy } from '../support/operator-keys.ts';
import { until } from '../support/temporary.ts';

const COUNT = 3;
const TIME_TO_LIVE_SECONDS = 300;

let host: MaliciousHost;
beforeAll(async () => {
  host = await MaliciousHost.start({ unwrappedKeys: { timeToLiveSeconds: TIME_TO_LIVE_SECONDS, count: COUNT } });
  await host.giveCredentials();
});
afterAll(() => host?.stop());

const sign = (wallet: KitWallet) => host.data.request('sign', host.request(wallet));

/** How often KMS was asked meanwhile. */
async function calls(of: MaliciousHost, work: () => Promise<unknown>): Promise<bigint> {
  const before = (await of.data.request('status', {})).kmsCalls ?? 0n;
  await work();
  return ((await of.data.request('status', {})).kmsCalls ?? 0n) - before;
}
const asked = (work: () => Promise<unknown>): Promise<bigint> => calls(host, work);

describe('a key that is kept', () => {
  it('is asked for once, for enabling, signing and dry runs', async () => {
    const wallet = await host.createWallet();
    // One for the wallet's creation came before.
    let enabled: KitWallet | undefined;
    expect(await asked(async () => (enabled = await host.enable(wallet, host.documentFor(wallet))))).toBe(1n);
    const opened = enabled as KitWallet;
    expect(await asked(() => Promise.all(Array.from({ length: 10 }, () => sign(opened))))).toBe(0n);
  });

  it('makes room for newer ones', async () => {
    const wallets: KitWallet[] = [];
    for (let index = 0; index <= COUNT; index++) wallets.push(await host.openWallet());
    const [first, ...others] = wallets as [KitWallet, ...KitWallet[]];
    expect(await asked(async () => await Promise.all(others.map(sign)))).toBe(0n);
    expect(await asked(() => sign(first))).toBe(1n);
  });

  it('opens nothing but the row it was unwrapped for', async () => {
    const [wallet, other] = [await host.openWallet(), await host.openWallet()];
    const tried = (change: Partial<KitWallet['blobs']>) =>
      host.data.request('sign', host.request(wallet, { blobs: { ...wallet.blobs, ...change } }));
    const flipped = (bytes: Uint8Array): Uint8Array => bytes.map((byte, index) => (index === 40 ? byte ^ 1 : byte));
    await expectCode(tried({ executionKey: flipped(wallet.blobs.executionKey) }), 'wallet_keys_replaced');
    await expectCode(tried({ executionKey: other.blobs.executionKey }), 'wallet_keys_replaced');
    await expectCode(tried({ salt: other.blobs.salt }), 'wallet_keys_replaced');
    await expectCode(tried({ sealedSeed: other.blobs.sealedSeed }), 'wallet_keys_replaced');
    // They were not looked at.
    expect(await asked(() => sign(wallet))).toBe(0n);
  });

  it('is forgotten when it opens nothing', async () => {
    const others = [await host.openWallet(), await host.openWallet(), await host.openWallet(), await host.openWallet()];
    const [wallet] = others as [KitWallet];
    await host.kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'otherSecret' } });
    await expectCode(sign(wallet), 'wallet_keys_mismatch');
    await host.kms.clearFaults();
    expect(await asked(() => sign(wallet))).toBe(1n);
    expect(await asked(() => sign(wallet))).toBe(0n);
  });

  it('ends with a freeze of its wallet, and is not kept until that ends', async () => {
    const [wallet, other] = [await host.openWallet(), await host.openWallet()];
    const scope = walletScope(wallet.address);
    await host.control.request('freeze', { scope, reason: 'test' });
    const epoch = async (): Promise<void> => {
      const change = { epoch: 1, maxLamports: '1' };
      await host.enable(wallet, host.documentFor(wallet, change)).catch(() => undefined);
    };
    expect([await asked(epoch), await asked(epoch)]).toEqual([1n, 1n]);
    expect(await asked(() => sign(other))).toBe(0n);
    const { freezes } = await host.data.request('freezesGet', {});
    const freezeId = freezes.find((held) => held.scope === scope)?.freezeId ?? new Uint8Array();
    const { boot = '' as BootId } = await host.data.request('status', {});
    const { deployment } = host.backend;
    const statement = renderResumeStatement({ deployment, boot, scope, freezeId: toHex(freezeId) });
    const signature = wallet.owner.sign(utf8(statement));
    await host.data.request('resume', { scope, freezeId, signatures: [{ key: wallet.owner.address, signature }] });
    expect(await asked(() => sign(wallet))).toBe(1n);
    expect(await asked(() => sign(wallet))).toBe(0n);
  });

  it('ends when its wallet leaves, and is not kept for who asks on', async () => {
    const wallet = await host.openWallet();
    expect(await asked(() => sign(wallet))).toBe(0n);
    const { boot = '' as BootId } = await host.data.request('status', {});
    const order = encodeAs(releaseOrderCodec, {
      deployment: host.backend.deployment,
      predecessor: boot,
      successor: bootIdOf(nacl.randomBytes(32)),
      notAfter: timeMs(Date.now() + 3_600_000),
    });
    const signatures = signedBy(order, ...operators(host.backend.dir).slice(0, 1));
    await host.data.request('release', { order: { bytes: order, signatures }, wallet: wallet.address });
    const refused = () => expectCode(sign(wallet), 'wallet_held_elsewhere');
    expect([await asked(refused), await asked(refused)]).toEqual([1n, 1n]);
  });

  it('ends with a freeze of the fleet, and of a requester', async () => {
    const wallet = await host.openWallet();
    const enableAgain = () => host.enable(wallet, host.documentFor(wallet)).catch(() => undefined);
    expect(await asked(enableAgain)).toBe(0n);
    await host.control.request('freeze', { scope: `requester:${wallet.requester.address}`, reason: 'test' });
    expect(await asked(enableAgain)).toBe(1n);
    expect(await asked(enableAgain)).toBe(0n);
    await host.control.request('freeze', { scope: 'fleet', reason: 'test' });
    expect([await asked(enableAgain), await asked(enableAgain)]).toEqual([1n, 1n]);
  });
});

describe('a key whose time is short', () => {
  it('is asked for again when it is over', async () => {
    const brief = await MaliciousHost.start({ unwrappedKeys: { timeToLiveSeconds: 1, count: 1 } });
    try {
      await brief.giveCredentials();
      const wallet = await brief.openWallet();
      const ask = () => brief.data.request('sign', brief.request(wallet));
      await until('the key is over', async () => (await calls(brief, ask)) === 1n);
    } finally {
      await brief.stop();
    }
  });
});
