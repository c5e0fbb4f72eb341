/**
 * A boot with fresh keys on schedule: the walk-through of an upgrade with one image twice. Nothing is allowed or retired
 * in KMS; boot, import and recipient keys are others afterwards, and whoever trades notices nothing.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { transfer } from '../stack/scenario.ts';
import { startTrader, type Trader } from '../stack/upgrade/trader.ts';
import { Upgrade } from '../stack/upgrade/upgrade.ts';

let upgrade: Upgrade;
let trader: Trader | undefined;

beforeAll(async () => {
  upgrade = await Upgrade.start();
}, 120_000);
afterAll(async () => {
  await trader?.stop();
  await upgrade?.stop();
});

it('goes from boot to boot without one failed request', { timeout: 180_000 }, async () => {
  const client = upgrade.clientOf(upgrade.front.url, 'old');
  const trading = await upgrade.openWallet(client);
  for (let count = 0; count < 4; count++) await upgrade.openWallet(client);
  trader = startTrader(client, trading, trading.requesterKey);
  await upgrade.startBeside('old');
  const [from, to] = [await upgrade.bootOf(upgrade.stack), await upgrade.bootOf(upgrade.second)];
  expect(from).not.toBe(to);
  upgrade.pointFront(upgrade.second);
  await trader.more(3);
  expect(trader.signed.get(to)).toBeUndefined();
  // Whoever comes only now has the new boot prove itself, and then the one that signed.
  const early = upgrade.clientOf(upgrade.front.url, 'old');
  expect((await early.connect()).boot).toBe(to);
  const { wire } = transfer(trading.wallet, trading.destination, 1_000n);
  const request = { wallet: trading.wallet, transaction: wire, requester: trading.requesterKey.signer };
  expect((await early.sign(request)).leaf.boot).toBe(from);
  await upgrade.order('order');
  expect(await upgrade.move('order')).toMatchObject({ ok: true, released: 5, taken: 5, published: true });
  await upgrade.untilHeld(0, upgrade.stack);
  await trader.more(3);
  await upgrade.stopOld();
  await trader.more(3);
  expect(trader.failures).toEqual([]);
  expect([...trader.signed.keys()]).toEqual([from, to]);
  // A client that comes only now needs no old boot to prove itself.
  const late = upgrade.clientOf(upgrade.front.url, 'old');
  expect((await late.attestation()).boot).toBe(to);
  expect(await upgrade.checkPolicy(['old'])).toMatchObject({ ok: true });
  const report = await upgrade.audit();
  expect(report).toMatchObject({ ok: true, findings: [], boots: [{ boot: from }, { boot: to, follows: from }] });
});
