/** Host root's attacks, over the enclave's own socket: each is tried, none signs. */
import type { EnclaveRefusal } from '@quantumvault/host/enclave/client.ts';
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parsePolicy, policyBytes } from '@quantumvault/shared/policy/policy.ts';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { signedText, textBytes } from '../support/text.ts';
import {
  creation,
  enabling,
  party,
  secondsFromNow,
  TOKEN_PROGRAM,
  tokenTransfer,
  transfer,
} from '../support/wallet-kit.ts';

let host: MaliciousHost;
let wallet: KitWallet;

beforeAll(async () => {
  host = await MaliciousHost.start();
  await expectCode(
    host.data.request('walletCreate', creation(host.backend.deployment, party(), [party()])),
    'enclave_not_ready',
  );
  await host.giveCredentials();
  wallet = await host.openWallet();
});
afterAll(() => host?.stop());

const sign = (change: Parameters<MaliciousHost['request']>[1] = {}) =>
  host.data.request('sign', host.request(wallet, change));

describe('the enclave signs', () => {
  it('an honest request: the signature is of the wallet, over the message sent', async () => {
    const transaction = transfer(wallet.address, wallet.destination, 5n);
    const reply = await sign({ transaction });
    const message = new Uint8Array(transaction.serializeMessage());
    expect(
      nacl.sign.detached.verify(message, reply.signature ?? new Uint8Array(64), addressBytes(wallet.address)),
    ).toBe(true);
    expect(reply.amounts).toEqual({ lamportsOut: 5n, feeLamports: 5_000n });
    const leaf = decodeLeaf(reply.receipt?.leaf ?? new Uint8Array());
    expect(leaf).toMatchObject({
      kind: 'signed',
      wallet: wallet.address,
      actor: wallet.requester.address,
      stateVersion: reply.state?.version,
    });
    expect(leaf.messageHash).toEqual(reply.messageHash);
  });

  it('a repeated request to identical bytes, counting it once', async () => {
    const request = host.request(wallet);
    const first = await host.data.request('sign', request);
    const second = await host.data.request('sign', request);
    expect(second.signature).toEqual(first.signature);
    expect(second.state?.version).toBe(first.state?.version);
  });

  it('nothing for an id that comes with another body, or twice at once', async () => {
    const id = 'one-id';
    const request = host.request(wallet, { id });
    const outcomes = await Promise.allSettled([host.data.request('sign', request), host.data.request('sign', request)]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const rejected = outcomes.find((outcome) => outcome.status === 'rejected');
    await expectCode(Promise.reject(rejected?.reason), 'request_in_flight');
    await expectCode(sign({ id, lamports: 2_000n }), 'request_id_reused');
  });

  it('a token transfer inside its limit, and records what leaves by mint', async () => {
    const own = await host.createWallet();
    const mint = party().address;
    const document = {
      ...host.documentFor(own),
      tokens: [
        { mint, tokenProgram: TOKEN_PROGRAM, decimals: 6, maxPerTransaction: '500', destinations: [own.destination] },
      ],
    };
    const request = enabling(own.owner, own.blobs, { deployment: host.backend.deployment, document });
    const enabled = await host.data.request('policyEnable', request);
    const open = { ...own, policy: { bytes: request.policy, mac: enabled.mac } };
    const send = (amount: bigint, to = own.destination) =>
      host.data.request('sign', host.request(open, { transaction: tokenTransfer(own.address, to, mint, amount) }));
    const reply = await send(500n);
    expect(reply.amounts).toEqual({ lamportsOut: 0n, feeLamports: 5_000n, tokens: [{ mint, amount: 500n }] });
    expect(decodeLeaf(reply.receipt?.leaf ?? new Uint8Array()).amounts).toEqual(reply.amounts);
    await expectCode(send(501n), 'policy_denied');
    await expectCode(send(1n, party().address), 'policy_denied');
  });

  it('one state version per signature, without gap, under concurrency', async () => {
    const replies = await Promise.all(Array.from({ length: 40 }, () => sign()));
    const versions = replies.map(({ state }) => state?.version ?? 0n).sort((a, b) => Number(a - b));
    const first = versions[0] ?? 0n;
    expect(versions).toEqual(versions.map((_, index) => first + BigInt(index)));
  });
});

describe('the policy that counts', () => {
  it('is the one last enabled: an older one with its valid MAC signs nothing', async () => {
    const own = await host.openWallet();
    const next = enabling(own.owner, own.blobs, {
      deployment: host.backend.deployment,
      document: host.documentFor(own, { epoch: 2, maxLamports: '10' }),
      previous: own.policy.bytes,
    });
    const enabled = await host.data.request('policyEnable', next);
    await expectCode(host.data.request('sign', host.request(own, { lamports: 5n })), 'policy_not_current');
    const newest = { bytes: next.policy, mac: enabled.mac };
    const request = host.request(own, { lamports: 5n, policy: newest });
    expect((await host.data.request('sign', request)).signature).toHaveLength(64);
    // The old MAC under the new bytes, and the other way round.
    await expectCode(
      host.data.request('sign', host.request(own, { policy: { ...newest, mac: own.policy.mac } })),
      'policy_mac_invalid',
    );
    await expectCode(
      host.data.request('sign', host.request(own, { policy: { ...own.policy, mac: enabled.mac } })),
      'policy_not_current',
    );
  });

  it('is not one that the host edited, whoever it names', async () => {
    const stranger = party();
    for (const document of [
      { ...host.documentFor(wallet), sol: { maxPerTransaction: '999999999999', destinations: [wallet.destination] } },
      { ...host.documentFor(wallet), requesters: [stranger.address] },
      { ...host.documentFor(wallet), requesters: [wallet.requester.address, stranger.address] },
    ]) {
      const bytes = policyBytes(parsePolicy(document));
      for (const signer of [wallet.requester, stranger]) {
        const request = host.request(wallet, { policy: { bytes, mac: wallet.policy.mac }, signer });
        const error = await host.data.request('sign', request).then(
          () => undefined,
          (reason: EnclaveRefusal) => reason,
        );
        expect(['policy_not_current', 'request_signature_invalid']).toContain(error?.code);
      }
    }
  });

  it('is not another owner’s for the same wallet, signed by him with all form', async () => {
    const thief = party();
    const document = { ...host.documentFor(wallet), owner: thief.address, requesters: [thief.address], epoch: 9 };
    const request = enabling(thief, wallet.blobs, {
      deployment: host.backend.deployment,
      document,
      previous: wallet.policy.bytes,
    });
    await expectCode(host.data.request('policyEnable', request), 'wallet_owner_mismatch');
    // Nor can it be used without enabling.
    const bytes = policyBytes(parsePolicy(document));
    await expectCode(
      host.data.request('sign', host.request(wallet, { policy: { bytes, mac: wallet.policy.mac }, signer: thief })),
      'wallet_owner_mismatch',
    );
  });

  it('is not another wallet’s: its blobs open nothing here', async () => {
    const other = await host.openWallet();
    // The other wallet's policy and MAC over this wallet's blobs.
    await expectCode(host.data.request('sign', host.request(other, { blobs: wallet.blobs })), 'wallet_keys_replaced');
    await expectCode(
      host.data.request('sign', host.request(wallet, { policy: other.policy })),
      'request_signature_invalid',
    );
    await expectCode(host.data.request('sign', host.request(other, { wallet: wallet.address })), 'wallet_mismatch');
  });

  it('never comes from a statement that is old, withheld, superseded or not the owner’s', async () => {
    const own = await host.openWallet();
    const { deployment } = host.backend;
    const draft = (epoch: number, change: object = {}) =>
      enabling(own.owner, own.blobs, {
        deployment,
        document: host.documentFor(own, { epoch }),
        previous: own.policy.bytes,
        ...change,
      });
    const withheld = draft(2);
    const chosen = draft(3);
    const first = await host.data.request('policyEnable', chosen);
    // The same statement again gets the same answer and changes nothing.
    expect(await host.data.request('policyEnable', chosen)).toEqual(first);
    await expectCode(host.data.request('policyEnable', withheld), 'policy_previous_mismatch');
    const replayed = enabling(own.owner, own.blobs, {
      deployment,
      document: host.documentFor(own, { epoch: 3 }),
      previous: chosen.policy,
    });
    await expectCode(host.data.request('policyEnable', replayed), 'policy_epoch_not_increasing');
    const late = draft(4, { enableBefore: secondsFromNow(-1) });
    await expectCode(host.data.request('policyEnable', late), 'statement_expired');
    const early = draft(4, { enableBefore: secondsFromNow(LIMITS.statementMaxAheadSeconds + 60) });
    await expectCode(host.data.request('policyEnable', early), 'statement_expired');
    const elsewhere = draft(4, { deployment: 'another-deployment' });
    await expectCode(host.data.request('policyEnable', elsewhere), 'statement_signature_invalid');
    const prolonged = { ...draft(4), enableBefore: secondsFromNow(3600) };
    await expectCode(host.data.request('policyEnable', prolonged), 'statement_signature_invalid');
    await expectCode(
      host.data.request('policyEnable', {
        ...draft(4),
        policy: policyBytes(parsePolicy(host.documentFor(own, { epoch: 5 }))),
      }),
      'statement_signature_invalid',
    );
    await expectCode(host.data.request('policyEnable', { ...draft(4), policy: Uint8Array.of(1) }), 'policy_invalid');
  });

  it('must exist', async () => {
    const bare = await host.createWallet();
    const bytes = policyBytes(parsePolicy(host.documentFor(bare)));
    const request = host.request({ ...bare, policy: { bytes, mac: new Uint8Array(32) } });
    await expectCode(host.data.request('sign', request), 'wallet_without_policy');
  });
});

describe('the row', () => {
  it('signs nothing with any one blob changed or swapped, each with its own code', async () => {
    const other = await host.openWallet();
    const flip = (bytes: Uint8Array) => bytes.map((byte, index) => (index === bytes.length - 1 ? byte ^ 1 : byte));
    const cases = [
      [{ salt: flip(wallet.blobs.salt) }, 'wallet_keys_replaced'],
      [{ salt: other.blobs.salt }, 'wallet_keys_replaced'],
      [{ executionKey: flip(wallet.blobs.executionKey) }, 'wallet_keys_replaced'],
      [{ executionKey: other.blobs.executionKey }, 'wallet_keys_replaced'],
      [{ sealedSeed: flip(wallet.blobs.sealedSeed) }, 'wallet_keys_replaced'],
      [{ sealedSeed: other.blobs.sealedSeed }, 'wallet_keys_replaced'],
      [{ sealedState: flip(wallet.blobs.sealedState) }, 'state_invalid'],
      [{ sealedState: other.blobs.sealedState }, 'state_invalid'],
      [{ sealedState: wallet.blobs.sealedSeed }, 'state_invalid'],
      [{ sealedSeed: wallet.blobs.sealedState.subarray(0, 72) }, 'wallet_keys_replaced'],
    ] as const;
    for (const [change, code] of cases) {
      await expectCode(sign({ blobs: { ...wallet.blobs, ...change } }), code);
    }
    expect((await sign()).signature).toHaveLength(64);
  });

  it('may be older than the holder’s memory: memory counts, and nothing is rolled back', async () => {
    const old = wallet.created.blobs.sealedState;
    const before = await sign();
    const after = await sign({ blobs: { ...wallet.blobs, sealedState: old } });
    expect(after.state?.version).toBe((before.state?.version ?? 0n) + 1n);
    const { state } = await host.data.request('stateGet', { wallet: wallet.address });
    expect(state.version).toBe(after.state?.version);
  });
});

describe('the request', () => {
  it('counts only as its requester signed it', async () => {
    const honest = host.request(wallet);
    const dry = host.request(wallet, { body: { dryRun: true }, lamports: 7n });
    const stripped = signedText(dry.body).replace(',"dryRun":true', '');
    expect(stripped).not.toContain('dryRun');
    for (const forged of [
      { ...dry, body: textBytes(stripped) },
      { ...honest, id: 'another' as typeof honest.id },
      { ...honest, timestamp: String(Number(honest.timestamp) + 1) },
      { ...honest, signature: party().sign(honest.body) },
      host.request(wallet, { signer: party() }),
      host.request(wallet, { signer: wallet.owner }),
    ]) {
      await expectCode(host.data.request('sign', forged), 'request_signature_invalid');
    }
  });

  it('must be fresh, for this deployment, this wallet and this purpose', async () => {
    const now = Math.floor(Date.now() / 1000);
    await expectCode(sign({ timestamp: now - LIMITS.requestMaxAgeSeconds - 5 }), 'request_stale');
    await expectCode(sign({ timestamp: now + LIMITS.requestMaxFutureSeconds + 5 }), 'request_stale');
    await expectCode(sign({ deployment: 'another' }), 'audience_mismatch');
    await expectCode(sign({ body: { wallet: wallet.owner.address } }), 'wallet_mismatch');
    await expectCode(sign({ body: { purpose: 'qv/sign/v2' } }), 'purpose_mismatch');
    await expectCode(sign({ body: { unknown: 1 } }), 'field_malformed');
    await expectCode(sign({ body: { transaction: 'AAAA' } }), 'transaction_truncated');
  });

  it('signs nothing as a dry run, and says every rule', async () => {
    const before = await host.data.request('stateGet', { wallet: wallet.address });
    const { leaves } = await host.data.request('status', {});
    const allowed = await sign({ body: { dryRun: true } });
    const denied = await sign({ body: { dryRun: true }, lamports: 2_000_000n });
    expect([allowed.allow, denied.allow]).toEqual([true, false]);
    expect([allowed.signature, allowed.receipt, allowed.state, denied.signature]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(denied.rules?.find(({ outcome }) => outcome === 'deny')).toMatchObject({
      rule: 'sol.maxPerTransaction',
      value: '2000000',
    });
    expect(await host.data.request('stateGet', { wallet: wallet.address })).toEqual(before);
    expect((await host.data.request('status', {})).leaves).toBe(leaves);
  });

  it('is denied with a receipt when a rule says no, and its id is free again', async () => {
    const id = 'denied-then-allowed';
    const error = (await expectCode(sign({ id, lamports: 1_000_001n }), 'policy_denied')) as EnclaveRefusal;
    expect(error.facts).toEqual({ path: 'sol.maxPerTransaction', value: '1000001' });
    const leaf = decodeLeaf(error.receipt?.leaf ?? new Uint8Array());
    expect(leaf).toMatchObject({ kind: 'denied', rule: 'sol.maxPerTransaction', value: '1000001', requestId: id });
    expect((await sign({ id, lamports: 1n })).signature).toHaveLength(64);
    const elsewhere = transfer(wallet.address, party().address, 1n);
    await expectCode(sign({ transaction: elsewhere }), 'policy_denied');
    // Sums beyond u64 are denied, not wrapped.
    const huge = transfer(wallet.address, wallet.destination, (1n << 64n) - 1n);
    huge.add(...transfer(wallet.address, wallet.destination, (1n << 64n) - 1n).instructions);
    await expectCode(sign({ transaction: huge }), 'policy_denied');
  });
});
