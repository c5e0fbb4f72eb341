/** What the enclave depends on, failing: KMS, credentials, the kms-agent, the module; and the stop button meanwhile. */
import { readFileSync } from 'node:fs';
import { agentFlags } from '@quantumvault/enclave/node-flags.ts';
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { decodeLeaf, freezeAckCodec, leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import nacl from 'tweetnacl';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FaultRule } from '../stack/kms/faults.ts';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { creation, party } from '../support/wallet-kit.ts';

let host: MaliciousHost;
let wallet: KitWallet;

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
  wallet = await host.openWallet();
});
afterAll(() => host?.stop());
afterEach(() => host.kms.clearFaults());

const sign = () => host.data.request('sign', host.request(wallet));

describe('KMS that is slow', () => {
  it('decides nothing that nobody waits for any more, and spends nothing by it', async () => {
    const limited = await host.openWallet({ rate: { perMinute: 1, perDay: 1 } });
    const slow = (milliseconds: number) =>
      host.kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'latency', milliseconds } });
    const asked = { ...host.request(limited), timeoutMilliseconds: 100 };
    await slow(400);
    await expectCode(host.data.request('sign', asked), 'deadline_exceeded');
    const { salt, executionKey, sealedSeed } = limited.blobs;
    const batch = { ...host.batch(limited, [1n]), blobs: { salt, executionKey, sealedSeed } };
    await expectCode(host.data.request('signBatch', { ...batch, timeoutMilliseconds: 100 }), 'deadline_exceeded');
    // Neither its id nor the one signature of the day is used up.
    await slow(1);
    const patient = { ...asked, timeoutMilliseconds: 5_000 };
    expect((await host.data.request('sign', patient)).signature).toBeDefined();
  });
});

describe('KMS that misbehaves', () => {
  const cases: readonly [string, FaultRule['fault'], ErrorCode][] = [
    ['refuses access', { kind: 'refuse', error: 'AccessDeniedException' }, 'kms_refused'],
    ['disabled the key', { kind: 'refuse', error: 'DisabledException' }, 'kms_refused'],
    ['throttles for good', { kind: 'refuse', error: 'ThrottlingException' }, 'kms_unavailable'],
    ['fails inside', { kind: 'refuse', error: 'KMSInternalException' }, 'kms_unavailable'],
    ['drops connections', { kind: 'drop', when: 'before' }, 'kms_unavailable'],
    ['drops answers', { kind: 'drop', when: 'after' }, 'kms_unavailable'],
    ['hangs', { kind: 'hang' }, 'kms_unavailable'],
    ['answers garbage', { kind: 'garbage' }, 'kms_unavailable'],
    ['sends the plaintext', { kind: 'plaintext', as: 'leaked' }, 'kms_response_invalid'],
    ['sends no envelope', { kind: 'noEnvelope' }, 'kms_response_invalid'],
    ['names another recipient', { kind: 'envelope', options: { wrongRecipient: true } }, 'kms_response_invalid'],
    ['corrupts the content', { kind: 'envelope', options: { flippedCiphertext: true } }, 'kms_response_invalid'],
    ['corrupts the wrapped key', { kind: 'envelope', options: { flippedWrappedKey: true } }, 'kms_response_invalid'],
    ['wraps with SHA-1', { kind: 'envelope', options: { sha1Oaep: true } }, 'kms_response_invalid'],
    [
      'names another key',
      { kind: 'keyId', keyId: 'arn:aws:kms:eu-central-1:000000000000:key/other' },
      'kms_response_invalid',
    ],
    // A key of the attacker's choice opens nothing: it is only ever the key of an authenticated blob.
    ['seals another secret', { kind: 'otherSecret' }, 'wallet_keys_mismatch'],
  ];

  it.each(cases)('and %s: nothing is signed, and the next request is', async (_, fault, code) => {
    const before = await host.data.request('stateGet', { wallet: wallet.address });
    const { leaves } = await host.data.request('status', {});
    await host.kms.setFaults({ operations: ['Decrypt'], fault });
    await expectCode(sign(), code);
    // A key that was not to be had is on record.
    const { receipts } = await host.data.request('leavesGet', { from: leaves });
    expect(receipts.map(({ leaf }) => decodeLeaf(leaf))).toMatchObject([
      { kind: 'key-failed', wallet: wallet.address, rule: code },
    ]);
    await host.kms.clearFaults();
    expect(await host.data.request('stateGet', { wallet: wallet.address })).toEqual(before);
    expect((await sign()).signature).toHaveLength(64);
  });

  it('is retried when it fails once', async () => {
    await host.kms.setFaults({
      operations: ['Decrypt'],
      times: 1,
      fault: { kind: 'refuse', error: 'ThrottlingException' },
    });
    expect((await sign()).signature).toHaveLength(64);
  });

  it('may use the other content form, or chunks', async () => {
    for (const options of [{ form: 'primitive' }, { chunkBytes: 16 }, { chunkBytes: 7 }] as const) {
      await host.kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'envelope', options } });
      expect((await sign()).signature).toHaveLength(64);
    }
    await host.kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'plaintext', as: 'absent' } });
    expect((await sign()).signature).toHaveLength(64);
  });

  it('leaves no half-made wallet behind', async () => {
    const owner = party();
    const request = creation(host.backend.deployment, owner, [party()]);
    const { wallets } = await host.data.request('status', {});
    await host.kms.setFaults({
      operations: ['GenerateDataKey'],
      fault: { kind: 'refuse', error: 'AccessDeniedException' },
    });
    for (let attempt = 0; attempt < LIMITS.pendingWalletCreations + 2; attempt++) {
      await expectCode(host.data.request('walletCreate', request), 'kms_refused');
    }
    expect((await host.data.request('status', {})).wallets).toBe(wallets);
    await host.kms.clearFaults();
    expect((await host.data.request('walletCreate', request)).wallet).toBeTypeOf('string');
  });
});

describe('one Decrypt', () => {
  it('serves all requests of a wallet that wait for it, and carries the wallet’s context', async () => {
    await host.kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'latency', milliseconds: 150 } });
    await host.kms.clearCalls();
    const replies = await Promise.all(Array.from({ length: 30 }, sign));
    expect(new Set(replies.map(({ state }) => state?.version)).size).toBe(30);
    const counts = await host.kms.counts();
    expect(counts['Decrypt']?.calls).toBeLessThanOrEqual(2);
    expect(counts['Decrypt']?.attested).toBe(counts['Decrypt']?.calls);
    const [call] = await host.kms.calls(1);
    expect(call?.encryptionContext).toEqual({
      'qv:purpose': 'execution-key',
      'qv:wallet': wallet.address,
      'qv:owner': wallet.owner.address,
      'qv:v': '1',
    });
  });
});

describe('too much at once', () => {
  it('is refused early, without harm to what is under way', async () => {
    await host.kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'latency', milliseconds: 1_500 } });
    // Two connections: a client bounds itself below the enclave's own bound.
    const second = host.connect(host.backend.enclaveAddresses.data);
    await second.request('status', {});
    const clients = [host.data, second] as const;
    const requests = Array.from({ length: LIMITS.inFlightRequests }, () => host.request(wallet));
    const accepted = requests.map((request, index) => (clients[index % 2] ?? second).request('sign', request));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await expectCode(second.request('sign', host.request(wallet)), 'overloaded');
    expect((await host.control.request('status', {})).phase).toBe('serving');
    await Promise.all(accepted);
    second.close();
  });
});

describe('the kms-agent', () => {
  it('is started again when it ends, with its credentials', async () => {
    const agents = () =>
      readFileSync(
        `/proc/${host.backend.processes.enclave.pid}/task/${host.backend.processes.enclave.pid}/children`,
        'utf8',
      )
        .trim()
        .split(' ')
        .map(Number);
    const [agent = 0] = agents();
    process.kill(agent, 'SIGKILL');
    await expect.poll(sign, { timeout: 10_000 }).toMatchObject({ amounts: { lamportsOut: 1_000n } });
    expect(agents()).not.toContain(agent);
  });

  it('sees of its environment a home that is not there, and on its command line two places', () => {
    const { pid } = host.backend.processes.enclave;
    const [agent] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    expect(readFileSync(`/proc/${agent}/environ`, 'latin1')).toBe('HOME=/nonexistent\0');
    const words = readFileSync(`/proc/${agent}/cmdline`, 'latin1').split('\0').slice(0, -1);
    const program = words.findIndex((word) => word.endsWith('kms-agent.cjs'));
    const [file = '', config = ''] = words.slice(program);
    expect(words.slice(1, program)).toEqual(agentFlags(file, config));
    expect(words.slice(program + 1)).toEqual([expect.stringMatching(/\.json$/), expect.stringMatching(/^unix:\//)]);
  });
});

describe('another boot', () => {
  it('holds the wallets of its predecessor no more', async () => {
    const attested = await host.data.request('bootRecord', {});
    const leaf = decodeLeaf(attested.receipt.leaf);
    expect(leaf).toMatchObject({ kind: 'boot', sequence: 0n });
    const before = await host.data.request('status', {});
    await host.backend.restartEnclave();
    await expect.poll(() => host.data.request('status', {}), { timeout: 10_000 }).toMatchObject({ phase: 'ready' });
    await expectCode(sign(), 'enclave_not_ready');
    await host.giveCredentials();
    const after = await host.data.request('status', {});
    expect(after.boot).not.toBe(before.boot);
    await expectCode(sign(), 'wallet_held_elsewhere');
    await expectCode(host.data.request('stateGet', { wallet: wallet.address }), 'wallet_unknown');
    wallet = await host.openWallet();
    expect((await sign()).signature).toHaveLength(64);
  });
});

describe('the freeze', () => {
  it('holds at once: while KMS hangs, and for what was already waiting', async () => {
    const { boot = '' } = await host.data.request('status', {});
    await host.kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'latency', milliseconds: 1_000 } });
    const waiting = Array.from({ length: 10 }, sign);
    const settled = Promise.allSettled(waiting);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { ack, receipt } = await host.control.request('freeze', { scope: 'fleet', reason: 'a test' });
    const statement = decodeAs(freezeAckCodec, ack.bytes, 'ack');
    expect(statement).toMatchObject({ boot, scope: 'fleet', deployment: host.backend.deployment });
    expect(statement.leafHash).toEqual(leafHash(receipt.leaf));
    expect(nacl.sign.detached.verify(ack.bytes, ack.signature, addressBytes(statement.boot))).toBe(true);
    expect(decodeLeaf(receipt.leaf)).toMatchObject({ kind: 'frozen', reason: 'a test', scope: 'fleet' });
    for (const outcome of await settled) {
      expect(outcome.status).toBe('rejected');
      if (outcome.status === 'rejected') await expectCode(Promise.reject(outcome.reason), 'frozen');
    }
    await expectCode(sign(), 'frozen');
    await expectCode(host.data.request('rowKeyCreate', {}), 'frozen');
    expect(await host.control.request('status', {})).toMatchObject({ phase: 'frozen', freezeId: statement.freezeId });
    // Freezing again names a freeze of its own; nothing here resumes.
    const again = await host.control.request('freeze', { scope: 'fleet', reason: '' });
    expect(decodeAs(freezeAckCodec, again.ack.bytes, 'ack').freezeId).not.toEqual(statement.freezeId);
    await host.giveCredentials();
    await expectCode(sign(), 'frozen');
  });
});

describe('a debug enclave', () => {
  it('boots, and gets no key from KMS', async () => {
    const debug = await MaliciousHost.start({ debugEnclave: true });
    try {
      await debug.giveCredentials();
      await expectCode(debug.createWallet(), 'kms_refused');
      await expectCode(debug.data.request('rowKeyCreate', {}), 'kms_refused');
    } finally {
      await debug.stop();
    }
  });

  it('and wrong credentials get none either', async () => {
    const other = await MaliciousHost.start();
    try {
      const wrong = { accessKeyId: utf8('AKIAWRONG'), secretAccessKey: utf8('wrong') };
      await other.data.request('credentials', wrong);
      await expectCode(other.createWallet(), 'kms_refused');
    } finally {
      await other.stop();
    }
  });
});

describe('the security module', () => {
  it('that stops answering fails attestations at once; signing goes on while the last time is young', async () => {
    // The age limit itself is tested with a clock of its own in time.test.ts.
    const other = await MaliciousHost.start();
    try {
      await other.giveCredentials();
      const own = await other.openWallet();
      await other.backend.processes.nsm.stop();
      await expectCode(other.data.request('attest', { nonce: new Uint8Array(32) }), 'nsm_failed');
      expect((await other.data.request('sign', other.request(own))).signature).toHaveLength(64);
      await other.backend.processes.kms.stop();
      await expectCode(other.data.request('sign', other.request(own)), 'kms_unavailable');
    } finally {
      await other.stop();
    }
  });
});
