/** Batches, with a malicious host: one reservation, all or nothing, a verdict and a leaf each. */

import { addressBytes } from '@quantumvault/shared/brands.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { party, transfer, wireOf } from '../support/wallet-kit.ts';

let host: MaliciousHost;

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
});
afterAll(() => host?.stop());

type Batch = Parameters<MaliciousHost['batch']>;
const ask = (...batch: Batch): Promise<ReplyOf<'signBatch'>> => host.data.request('signBatch', host.batch(...batch));
/** Room for so many lamports in an hour. */
async function walletWithRoom(max: string): Promise<KitWallet> {
  const wallet = await host.createWallet();
  const document = host.documentFor(wallet);
  const sol = { ...(document['sol'] as object), window: { seconds: 3600, max } };
  return host.enable(wallet, { ...document, sol });
}

describe('a batch', () => {
  it('signs each transaction, in order, with a leaf and a version each and one state', async () => {
    const wallet = await host.openWallet();
    const before = (await host.data.request('stateGet', { wallet: wallet.address })).state.version;
    const transactions = Array.from({ length: 32 }, (_, index) =>
      transfer(wallet.address, wallet.destination, 1_000n + BigInt(index)),
    );
    const { verdicts, state } = await ask(wallet, transactions);
    expect(verdicts).toHaveLength(32);
    expect(state?.version).toBe(before + 32n);
    for (const [index, { allow, signature, receipt, messageHash }] of verdicts.entries()) {
      const message = transactions[index]?.serializeMessage() ?? new Uint8Array();
      expect(allow).toBe(true);
      expect(messageHash).toEqual(sha256(message));
      expect(nacl.sign.detached.verify(message, signature as Uint8Array, addressBytes(wallet.address))).toBe(true);
      expect(decodeLeaf(receipt?.leaf as Uint8Array)).toMatchObject({
        kind: 'signed',
        stateVersion: before + BigInt(index) + 1n,
        amounts: { lamportsOut: 1_000n + BigInt(index) },
        signatureHash: sha256(signature as Uint8Array),
      });
    }
  });

  it('counts what comes before in it, and signs nothing when one does not fit', async () => {
    const wallet = await walletWithRoom('10000');
    const { verdicts, state } = await ask(wallet, [6_000n, 3_000n, 2_000n, 1_000n]);
    // What is denied takes no room from what follows.
    expect(verdicts.map(({ allow, rule, value }) => [allow, rule, value])).toEqual([
      [true, undefined, undefined],
      [true, undefined, undefined],
      [false, 'sol.window', '11000'],
      [true, undefined, undefined],
    ]);
    expect(state).toBeUndefined();
    expect(verdicts.every(({ signature }) => signature === undefined)).toBe(true);
    expect(verdicts.map(({ receipt }) => receipt && decodeLeaf(receipt.leaf).kind)).toEqual([
      undefined,
      undefined,
      'denied',
      undefined,
    ]);
    // Nothing was spent by it: all of the window is still there.
    expect((await ask(wallet, [6_000n, 4_000n])).state).toBeDefined();
    await expectCode(host.data.request('sign', host.request(wallet)), 'policy_denied');
  });

  it('with room for 10 yields exactly 10 of many concurrent batches and requests', async () => {
    const wallet = await walletWithRoom('10000');
    const batches = Array.from({ length: 40 }, () => ask(wallet, [1_000n, 1_000n, 1_000n]));
    const singles = Array.from({ length: 40 }, () =>
      host.data.request('sign', host.request(wallet)).then(
        () => 1,
        () => 0,
      ),
    );
    const signed = (await Promise.all(batches)).filter(({ state }) => state !== undefined).length * 3;
    const alone = (await Promise.all(singles)).reduce((sum: number, one) => sum + one, 0);
    expect(signed + alone).toBe(10);
  });

  it('gives a repeat the same signatures and counts it no more', async () => {
    const wallet = await walletWithRoom('10000');
    const request = host.batch(wallet, [5_000n, 4_000n]);
    const first = await host.data.request('signBatch', request);
    for (let round = 0; round < 3; round++) {
      const again = await host.data.request('signBatch', request);
      expect(again.verdicts.map(({ signature }) => signature)).toEqual(
        first.verdicts.map(({ signature }) => signature),
      );
      expect(again.state?.version).toBe(first.state?.version);
      const firstSequences = first.verdicts.map(({ receipt }) => decodeLeaf(receipt?.leaf as Uint8Array).sequence);
      expect(again.verdicts.map(({ receipt }) => decodeLeaf(receipt?.leaf as Uint8Array).repeats)).toEqual(
        firstSequences,
      );
    }
    await expectCode(
      host.data.request('signBatch', { ...host.batch(wallet, [1n], { id: request.id }) }),
      'request_id_reused',
    );
    // A refused one gives its id back.
    const refused = host.batch(wallet, [2_000n], { id: 'too-much' });
    expect((await host.data.request('signBatch', refused)).state).toBeUndefined();
    expect((await ask(wallet, [1_000n], { id: 'too-much' })).state).toBeDefined();
  });

  it('is judged without a trace by a dry run', async () => {
    const wallet = await walletWithRoom('10000');
    const dry = await ask(wallet, [9_000n, 2_000n], { body: { dryRun: true } });
    expect(dry.verdicts.map(({ allow, rule }) => [allow, rule])).toEqual([
      [true, undefined],
      [false, 'sol.window'],
    ]);
    expect(dry.verdicts.every(({ receipt, signature }) => receipt === undefined && signature === undefined)).toBe(true);
    expect((await ask(wallet, [9_000n, 1_000n])).state).toBeDefined();
  });

  it('has a purpose of its own, and bounds', async () => {
    const wallet = await host.openWallet();
    const code = (expected: Parameters<typeof expectCode>[1], ...batch: Batch) => expectCode(ask(...batch), expected);
    await code('purpose_mismatch', wallet, [1n], { body: { purpose: 'qv/sign/v1' } });
    const { blobs, ...single } = host.request(wallet);
    await expectCode(host.data.request('signBatch', { ...single, blobs }), 'purpose_mismatch');
    const batch = host.batch(wallet, [1n]);
    await expectCode(host.data.request('sign', { ...batch, blobs: wallet.blobs } as never), 'purpose_mismatch');
    await code('field_malformed', wallet, []);
    await code('field_malformed', wallet, Array(33).fill(1n));
    await code('field_malformed', wallet, [1n], { body: { transactions: [7] } });
    await code('field_malformed', wallet, [1n], { body: { transactions: 'AAAA' } });
    await code('field_malformed', wallet, [1n], { body: { transaction: 'AAAA' } });
    const big = Buffer.alloc(1024).toString('base64');
    await code('body_too_large', wallet, [1n], { body: { transactions: Array(25).fill(big) } });
    await code('transaction_trailing_bytes', wallet, [1n], {
      body: {
        transactions: [
          `${Buffer.concat([wireOf(transfer(wallet.address, wallet.destination, 1n)), Buffer.of(0)]).toString('base64')}`,
        ],
      },
    });
    await code('audience_mismatch', wallet, [1n], { body: { audience: 'another' } });
    await code('wallet_mismatch', wallet, [1n], { body: { wallet: party().address } });
    await code('request_signature_invalid', wallet, [1n], { signer: party() });
    await code('request_stale', wallet, [1n], { timestamp: Math.floor(Date.now() / 1000) - 400 });
  });

  it('that might not fit its reply is refused before anything is signed', async () => {
    const wallet = await host.createWallet();
    const token = () => ({
      ...{ mint: party().address, tokenProgram: 'TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA', decimals: 6 },
      ...{ maxPerTransaction: '1', destinations: [wallet.destination] },
    });
    const many = await host.enable(wallet, { ...host.documentFor(wallet), tokens: Array.from({ length: 32 }, token) });
    await expectCode(ask(many, Array(32).fill(1n)), 'body_too_large');
    expect((await ask(many, Array(19).fill(1n))).state).toBeDefined();
  });

  it('of wallets that are not here is refused', async () => {
    const wallet = await host.openWallet();
    const other = await host.openWallet();
    await expectCode(ask(wallet, [1n], { policy: other.policy, signer: other.requester }), 'wallet_mismatch');
    await expectCode(ask(wallet, [1n], { blobs: other.blobs }), 'wallet_keys_replaced');
    const { salt } = other.blobs;
    await expectCode(ask(wallet, [1n], { blobs: { ...wallet.blobs, salt } }), 'wallet_keys_replaced');
    const { sealedSeed } = other.blobs;
    await expectCode(ask(wallet, [1n], { blobs: { ...wallet.blobs, sealedSeed } }), 'wallet_keys_replaced');
    await expectCode(ask(wallet, [1n], { policy: { ...wallet.policy, mac: other.policy.mac } }), 'policy_mac_invalid');
  });

  it('is refused while the wallet is frozen, and by a freeze that comes in between', async () => {
    const wallet = await host.openWallet();
    const order = { scope: `wallet:${wallet.address}`, reason: 'stop' };
    const running = Array.from({ length: 20 }, () => ask(wallet, Array(8).fill(1n)));
    const frozen = host.control.request('freeze', order);
    const outcomes = await Promise.allSettled(running);
    await frozen;
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') await expectCode(Promise.reject(outcome.reason), 'frozen');
    }
    await expectCode(ask(wallet, [1n]), 'frozen');
  });
});
