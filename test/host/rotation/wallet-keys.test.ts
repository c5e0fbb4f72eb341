/** Fresh keys for wallets, as the host stores and follows them. The enclave here is a fake that takes one set alone. */
import { setTimeout as sleep } from 'node:timers/promises';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Rewrapped, WalletKeyBlobs } from '@quantumvault/shared/protocol/message-parts.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { expectCode, expectProblem } from '../../support/codes.ts';
import { until } from '../../support/temporary.ts';
import { Harness } from '../harness.ts';

let host: Harness;
/** What the enclave remembers; undefined: the blobs of the creation count. */
let newest: ReplyOf<'stateGet'> | undefined;
/** How answers of a re-wrapping come back. */
let answers: 'told' | 'lost';

beforeAll(async () => {
  host = new Harness();
  host.enclaveTimeoutMilliseconds = 2_000;
  await host.start();
  const { enclave } = host;
  const { handlers } = enclave;
  const requireKeys = ({ salt }: WalletKeyBlobs): void => {
    const current = newest?.rewrapped?.keys.salt ?? new Uint8Array(32).fill(1);
    if (!equalBytes(salt, current)) throw new QvError('wallet_keys_replaced', { path: 'wallet' });
  };
  for (const name of ['sign', 'signBatch', 'policyEnable', 'walletRetire'] as const) {
    const usual = enclave.defaultHandler(name) as unknown as (body: never) => never;
    handlers[name] = ((body: { blobs: WalletKeyBlobs }) => {
      requireKeys(body.blobs);
      return usual(body as never);
    }) as never;
  }
  const rewrap = enclave.defaultHandler('walletRewrap');
  handlers.walletRewrap = async (body) => {
    requireKeys(body.blobs);
    const reply = (await rewrap(body)) as ReplyOf<'walletRewrap'>;
    newest = { state: reply.state, rewrapped: reply.rewrapped };
    // To the host it is the same as an answer that nobody heard.
    if (answers === 'lost') throw new QvError('kms_unavailable');
    return reply;
  };
  handlers.stateGet = () => newest ?? { state: { blob: new Uint8Array(90).fill(4), version: enclave.stateVersion } };
}, 60_000);
afterAll(() => host?.stop());
beforeEach(async () => {
  [newest, answers] = [undefined, 'told'];
  await host.createWallet();
  await host.enablePolicy();
});

const rotate = (before?: string) =>
  host.admin('wallet-rotate', { wallet: host.wallet, ...(before !== undefined && { before }) });
const row = () => host.rows('wallets').find(({ wallet }) => wallet === host.wallet) as Record<string, unknown>;
function remembered(): Rewrapped {
  if (newest?.rewrapped === undefined) throw new Error('nothing was re-wrapped');
  return newest.rewrapped;
}
const filler = (): number => (newest?.rewrapped?.keys.salt[0] ?? 0) as number;

function expectStored(): void {
  const { keys, mac, at } = remembered();
  expect(row()).toMatchObject({
    salt: keys.salt,
    execution_key: keys.executionKey,
    sealed_seed: keys.sealedSeed,
    sealed_state: newest?.state.blob,
    policy_mac: mac,
    rotated_at: at,
  });
}

describe('wallet-rotate', () => {
  it('stores blobs, state, MAC and leaf together, and goes on with them', async () => {
    expect((await host.sign()).status).toBe(200);
    const { generation } = row();
    expect(await rotate()).toMatchObject({ rotated: true });
    expectStored();
    expect(row()['generation']).toBe(Number(generation) + 1);
    expect((await host.sign()).status).toBe(200);
    expect((await host.sign({ body: host.signBody({ dryRun: true }) })).status).toBe(200);
    const sent = host.enclave.requests.findLast(({ name }) => name === 'sign')?.body as { policy: { mac: Uint8Array } };
    expect(sent.policy.mac).toEqual(new Uint8Array(32).fill(filler()));
    await host.restartHost();
    await host.ready();
    expect((await host.sign()).status).toBe(200);
  });

  it('leaves keys that are young enough', async () => {
    const now = Date.now();
    const [past, ahead] = [formatTime(timeMs(now - 60_000)), formatTime(timeMs(now + 60_000))];
    expect(await rotate(past)).toMatchObject({ rotated: false });
    expect(newest).toBeUndefined();
    expect(await rotate(ahead)).toMatchObject({ rotated: true });
    const first = filler();
    expect(await rotate(past)).toMatchObject({ rotated: false, at: formatTime(timeMs(row()['rotated_at'] as number)) });
    expect(filler()).toBe(first);
    await expectCode(rotate('yesterday'), 'field_malformed');
  });

  it('leaves wallets that are sealed for a second key, where only the others are asked for', async () => {
    const { walletRewrap } = host.enclave.handlers;
    const second = { ciphertext: new Uint8Array(180).fill(8), sealed: new Uint8Array(72).fill(9) };
    host.enclave.handlers.walletRewrap = async (body) => {
      const reply = (await walletRewrap?.(body)) as ReplyOf<'walletRewrap'>;
      const rewrapped = { ...reply.rewrapped, keys: { ...reply.rewrapped.keys, second } };
      newest = { state: reply.state, rewrapped };
      return { ...reply, rewrapped };
    };
    const withoutSecond = () => host.admin('wallet-rotate', { wallet: host.wallet, withoutSecond: true });
    const missing = async () => (await host.admin('status', {})).walletsWithoutSecond;
    const before = (await missing()) ?? 0;
    expect(await withoutSecond()).toMatchObject({ rotated: true });
    expect(row()).toMatchObject({ second_key: second.ciphertext, second_sealed: second.sealed });
    expect(await missing()).toBe(before - 1);
    expect(await withoutSecond()).toMatchObject({ rotated: false });
    expect((await host.sign()).status).toBe(200);
    const sent = host.enclave.requests.findLast(({ name }) => name === 'sign')?.body as { blobs: unknown };
    expect(sent.blobs).toMatchObject({ second });
    // One that is renewed where no second key is measured has none any more.
    if (walletRewrap !== undefined) host.enclave.handlers.walletRewrap = walletRewrap;
    expect(await rotate()).toMatchObject({ rotated: true });
    expect(row()).toMatchObject({ second_key: null, second_sealed: null });
    expect(await missing()).toBe(before);
  });

  it('has an owner who enables a policy wait for it, and nobody else', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const usual = host.enclave.handlers.walletRewrap as NonNullable<typeof host.enclave.handlers.walletRewrap>;
    host.enclave.handlers.walletRewrap = async (body) => {
      await promise;
      return usual(body);
    };
    const [asked, enabled] = [host.enclave.count('walletRewrap'), host.enclave.count('policyEnable')];
    const rotating = rotate();
    await until('the enclave is asked', () => host.enclave.count('walletRewrap') > asked);
    const enabling = host.send('PUT', `/v1/wallets/${host.wallet}/policy`, host.enabling());
    expect((await host.sign()).status).toBe(200);
    expect(host.enclave.count('policyEnable')).toBe(enabled);
    resolve();
    expect(await rotating).toMatchObject({ rotated: true });
    expect((await enabling).status).toBe(200);
    expect(row()['salt']).toEqual(remembered().keys.salt);
    expect((await host.sign()).status).toBe(200);
    host.enclave.handlers.walletRewrap = usual;
  });

  it('is refused for a wallet that there is none of, that has ended or is held elsewhere', async () => {
    await expectCode(host.admin('wallet-rotate', { wallet: host.owner.address }), 'wallet_unknown');
    const { walletRewrap } = host.enclave.handlers;
    host.enclave.handlers.walletRewrap = () => {
      throw new QvError('wallet_held_elsewhere');
    };
    await expectCode(rotate(), 'wallet_held_elsewhere');
    Object.assign(host.enclave.handlers, { walletRewrap });
  });
});

describe('an answer that is lost', () => {
  it('on its way: the next request of anybody finds the keys that count, and is answered', async () => {
    answers = 'lost';
    const before = filler();
    await expectCode(rotate(), 'kms_unavailable');
    expect(filler()).not.toBe(before);
    answers = 'told';
    const responses = await Promise.all(Array.from({ length: 8 }, () => host.sign()));
    expect(responses.map(({ status }) => status)).toEqual(Array(8).fill(200));
    const last = row();
    expect(last['salt']).toEqual(newest?.rewrapped?.keys.salt);
    expect(last['policy_mac']).toEqual(newest?.rewrapped?.mac);
    expect(last['rotated_at']).toBe(newest?.rewrapped?.at);
    // One question brought it for all of them.
    expect(host.enclave.count('stateGet')).toBeLessThan(4);
  });

  it('on its way: the same order again sees that it is done', async () => {
    answers = 'lost';
    // Behind the creation, in whole seconds.
    const started = Math.ceil(Date.now() / 1000 + 0.01) * 1000;
    await sleep(started - Date.now());
    await expectCode(rotate(), 'kms_unavailable');
    answers = 'told';
    const rewrappings = host.enclave.count('walletRewrap');
    expect(await rotate(formatTime(timeMs(started)))).toMatchObject({ rotated: false });
    expectStored();
    // Refused once with the old blobs, and not asked again.
    expect(host.enclave.count('walletRewrap')).toBe(rewrappings + 1);
  });

  it('before it is stored, also for enabling and retiring', async () => {
    for (const ask of [
      () => host.send('PUT', `/v1/wallets/${host.wallet}/policy`, host.enabling()),
      () => host.sign({ body: host.signBody({ dryRun: true }) }),
    ]) {
      answers = 'lost';
      await expectCode(rotate(), 'kms_unavailable');
      answers = 'told';
      expect((await ask()).status).toBe(200);
      expect(row()['salt']).toEqual(newest?.rewrapped?.keys.salt);
    }
  });

  it('in a database that is locked, is written when it no longer is; signing waits for that alone', async () => {
    const release = host.lockDatabase();
    await expectCode(rotate(), 'store_unavailable');
    const refused = await expectProblem(await host.sign(), 'wallet_keys_replaced').catch(() => undefined);
    if (refused !== undefined) expect(refused.retryable).toBe(true);
    release();
    await until('the new keys are stored', () => equalBytes(row()['salt'] as Uint8Array, remembered().keys.salt));
    expect((await host.sign()).status).toBe(200);
  });
});

describe('an enclave', () => {
  it('that takes other blobs and does not say which, is not asked for ever', async () => {
    const { stateGet, sign } = host.enclave.handlers;
    host.enclave.handlers.sign = () => {
      throw new QvError('wallet_keys_replaced', { path: 'wallet' });
    };
    host.enclave.handlers.stateGet = () => ({ state: { blob: new Uint8Array(90).fill(4), version: 1n } });
    const asked = host.enclave.count('sign');
    const problem = await expectProblem(await host.sign(), 'wallet_keys_replaced');
    expect(problem.retryable).toBe(true);
    expect(host.enclave.count('sign')).toBe(asked + 1);
    // Nor one that changes its mind with each question.
    let salt = 100;
    host.enclave.handlers.stateGet = () => {
      const filled = (length: number) => new Uint8Array(length).fill(++salt);
      const keys = { salt: filled(32), executionKey: filled(180), sealedSeed: filled(72) };
      const state = { blob: filled(90), version: ++host.enclave.stateVersion };
      return { state, rewrapped: { keys, mac: filled(32), at: timeMs(Date.now()) } };
    };
    await expectProblem(await host.sign(), 'wallet_keys_replaced');
    expect(host.enclave.count('sign')).toBeLessThan(asked + 10);
    Object.assign(host.enclave.handlers, { stateGet, sign });
  });
});
