/** Moving wallets on the admin socket, when enclave or database fail in the midst of it. The enclave is a fake. */

import type { Address, Signature } from '@quantumvault/shared/brands.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { Refused } from '../support/fake-enclave.ts';
import { until } from '../support/temporary.ts';
import { Harness } from './harness.ts';

let host: Harness;
let wallet: Address;

beforeEach(async () => {
  host = await new Harness().start();
  wallet = await host.createWallet();
});
afterEach(() => host.stop());

const release = { bytes: toBase64(new Uint8Array(8)), signature: toBase64(new Uint8Array(64)) };
const order = { bytes: toBase64(new Uint8Array(8)), signatures: [{ key: '', signature: release.signature }] };
const blob = (fill: number): Uint8Array => new Uint8Array(90).fill(fill);
const row = () => host.rows('wallets')[0] ?? {};

/** Answers like an enclave that takes the wallet over at that version. */
function takesAt(version: bigint, fill = 60): void {
  host.enclave.handlers.take = (request) => ({
    state: { blob: blob(fill), version },
    receipt: host.enclave.leaf({
      kind: 'lease',
      wallet: request.wallet,
      stateVersion: version,
      predecessor: { boot: host.enclave.boot, checkpoint: host.enclave.checkpoint() },
    }),
  });
}
const takesSeen = () =>
  host.enclave.requests.filter(({ name }) => name === 'take').map(({ body }) => body as RequestOf<'take'>);

beforeEach(() => {
  order.signatures = [{ key: wallet, signature: release.signature }];
});

describe('take', () => {
  it('stores state and leaf, with a row that verifies', async () => {
    takesAt(8n);
    expect(await host.admin('take', { wallet, release })).toEqual({ version: '8', already: false });
    expect(row()['state_version']).toBe(8);
    await host.enablePolicy();
  });

  it('brings the state it is given where that is newer than the row, and the row’s where it is not', async () => {
    takesAt(8n);
    const state = (version: string) => ({ blob: toBase64(blob(33)), version });
    await host.admin('take', { wallet, lease: order, state: state('1') });
    await host.admin('take', { wallet, lease: order, state: state('9') });
    expect(takesSeen().map(({ blobs, owner }) => [blobs.sealedState[0], owner])).toEqual([
      [4, host.owner.address],
      [33, host.owner.address],
    ]);
  });

  it('is not done before the database has it, and done once it does', async () => {
    takesAt(8n);
    const unlock = host.lockDatabase();
    await expectCode(host.admin('take', { wallet, release }), 'store_unavailable');
    unlock();
    await until('the backlog is written', () => row()['state_version'] === 8);
  });

  it('of a wallet that is held already stores its newest state', async () => {
    host.enclave.handlers.stateGet = () => ({ state: { blob: blob(70), version: 12n } });
    host.enclave.handlers.take = () => {
      throw new Refused({ code: 'succession_mismatch', path: 'wallet', value: 'held' });
    };
    expect(await host.admin('take', { wallet, release })).toEqual({ version: '12', already: true });
    expect(row()['state_version']).toBe(12);
    host.enclave.handlers.take = () => {
      throw new Refused({ code: 'succession_mismatch', path: 'release.successor' });
    };
    await expectCode(host.admin('take', { wallet, release }), 'succession_mismatch');
  });

  it('that answers too late is stored all the same', async () => {
    await host.host.close();
    host.enclaveTimeoutMilliseconds = 300;
    await host.startHost();
    await host.ready();
    takesAt(8n);
    const usual = host.enclave.handlers.take as NonNullable<typeof host.enclave.handlers.take>;
    host.enclave.handlers.take = async (request) => {
      await new Promise((resolve) => setTimeout(resolve, 900));
      return usual(request);
    };
    await expectCode(host.admin('take', { wallet, release }), 'deadline_exceeded');
    await until('it is stored', () => row()['state_version'] === 8);
  });

  it('of nothing known, or with arguments of another form, is refused', async () => {
    await expectCode(host.admin('take', { wallet: host.owner.address, release }), 'wallet_unknown');
    await expectCode(host.admin('take', { wallet: 'x', release }), 'base58_malformed');
    const malformed = [
      { wallet, release: { ...release, signature: toBase64(new Uint8Array(63)) } },
      { wallet, release, more: 1 },
      { wallet, release, state: { blob: toBase64(blob(1)), version: '-1' } },
      { wallet, lease: { ...order, signatures: [{ key: wallet, signature: 'AA==' }] } },
      { wallet, lease: { ...order, bytes: '' } },
    ];
    for (const parameters of malformed) await expectCode(host.admin('take', parameters), 'field_malformed');
    expect(takesSeen()).toEqual([]);
  });
});

describe('release', () => {
  it('passes on what the enclave said once state and leaf are stored', async () => {
    host.enclave.handlers.release = (request) => ({
      release: { bytes: new Uint8Array(9), signature: new Uint8Array(64) as Signature },
      state: { blob: blob(50), version: 6n },
      receipt: host.enclave.leaf({ kind: 'release', wallet: request.wallet, stateVersion: 6n }),
    });
    const answer = await host.admin('release', { wallet, order });
    expect(answer).toEqual({
      release: { bytes: toBase64(new Uint8Array(9)), signature: toBase64(new Uint8Array(64)) },
      state: { blob: toBase64(blob(50)), version: '6' },
    });
    expect(row()['state_version']).toBe(6);
  });

  it('of what the enclave does not hold is refused', async () => {
    await expectCode(host.admin('release', { wallet, order }), 'wallet_unknown');
  });
});

describe('wallets', () => {
  it('are listed page by page', async () => {
    const others = [await host.createWallet(), await host.createWallet()];
    const all = [wallet, ...others].sort();
    expect((await host.admin('wallets', {})).wallets).toEqual(all);
    expect((await host.admin('wallets', { after: all[0] as string })).wallets).toEqual(all.slice(1));
    expect((await host.admin('wallets', { after: all[2] as string })).wallets).toEqual([]);
  });
});
