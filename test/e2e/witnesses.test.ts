/** Signatures wait for witnesses: in the whole appliance with three of them, and against a host that cheats. */

import { setTimeout as sleep } from 'node:timers/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { verifyEd25519 } from '@quantumvault/host/client/keys.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { addressBytes, type BootId, timeMs } from '@quantumvault/shared/brands.ts';
import { concatBytes, fromBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { bootLogOrigin, decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { parseReceiptFile } from '@quantumvault/shared/evidence/receipt-file.ts';
import { type Lease, leaseCodec } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { openCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { cosignatureBytes, cosignatureMessage } from '@quantumvault/shared/tlog/cosignature.ts';
import { formatSignatureLines, noteSignature, parseNote } from '@quantumvault/shared/tlog/note.ts';
import { formatVerifierKey, parseVerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import { expectCode, expectProblem } from '../support/codes.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { operators, signedBy } from '../support/operator-keys.ts';
import { transfer } from '../support/wallet-kit.ts';

describe('an appliance with three witnesses, of which two are required', () => {
  let stack: Stack;
  let kit: HttpKit;
  let wallet: HttpWallet;

  beforeAll(async () => {
    stack = await startStack();
    kit = httpKit(stack);
    wallet = await kit.openWallet();
  });
  afterAll(() => stack?.stop());

  const pause = (...indexes: number[]) => {
    for (const index of indexes) stack.witnesses[index]?.process.kill('SIGSTOP');
    return () => {
      for (const index of indexes) stack.witnesses[index]?.process.kill('SIGCONT');
    };
  };

  async function cosigners(id: string): Promise<readonly string[]> {
    const response = await fetch(`${stack.url}/v1/receipts/${id}`);
    expect(response.status).toBe(200);
    const file = parseReceiptFile(new Uint8Array(await response.arrayBuffer()));
    const { boot, sequence } = decodeLeaf(file.receipt.leaf);
    const origin = bootLogOrigin(stack.logOrigin, boot);
    const witnesses = stack.witnesses.map(({ key }) => parseVerifierKey(key));
    const log = { origin, key: verifierKey(origin, 'ed25519', addressBytes(boot)), witnesses };
    const { checkpoint, cosignatures } = openCheckpoint(file.checkpoint, log, verifyEd25519);
    expect(checkpoint.size).toBeGreaterThan(sequence);
    return cosignatures.map(({ key }) => key.name);
  }

  it('releases a signature once two have cosigned its leaf', async () => {
    expect((await kit.sign(wallet, { id: 'first' })).status).toBe(200);
    expect((await cosigners('first')).length).toBeGreaterThanOrEqual(2);
  });

  it('serves many signatures with one round', async () => {
    const resume = pause(0, 1);
    const asked = Promise.all(Array.from({ length: 20 }, (_, index) => kit.sign(wallet, { id: `many-${index}` })));
    await sleep(1_000);
    resume();
    expect((await asked).map(({ status }) => status)).toEqual(Array(20).fill(200));
  });

  it('does without one of them, whether it is slow or gone', async () => {
    const resume = pause(1);
    for (const id of ['slow-1', 'slow-2', 'slow-3']) expect((await kit.sign(wallet, { id })).status).toBe(200);
    expect(await cosigners('slow-3')).toHaveLength(2);
    resume();
  });

  it('holds a signature back while two are missing, and gives it to a repeat', async () => {
    const resume = pause(0, 2);
    const held = { id: 'held', transaction: transfer(wallet.address, wallet.destination, 77n) };
    await expectProblem(await kit.sign(wallet, held), 'witnesses_unavailable');
    // What is no signature needs no witnesses.
    await expectProblem(await kit.sign(wallet, { lamports: 1_000_001n }), 'policy_denied');
    resume();
    await expect.poll(async () => (await kit.sign(wallet, { id: 'after' })).status, { timeout: 20_000 }).toBe(200);
    expect((await cosigners('after')).length).toBeGreaterThanOrEqual(2);
    const repeat = await kit.sign(wallet, held);
    expect(repeat.status).toBe(200);
    const { receipt } = (await repeat.json()) as { receipt: { leaf: string } };
    expect(decodeLeaf(fromBase64(receipt.leaf)).repeats).toBeDefined();
    expect((await cosigners('held')).length).toBeGreaterThanOrEqual(2);
  }, 60_000);

  it('a freeze purges what is held back: it never leaves', async () => {
    const resume = pause(0, 1);
    const held = kit.sign(wallet, { id: 'frozen-1' });
    await sleep(800);
    const report = await adminCall(stack.adminSocket, 'freeze', { scope: 'fleet', reason: 'drill' });
    expect(report.enclaves).toMatchObject([{ held: true }]);
    await expectProblem(await held, 'frozen');
    resume();
    await expectProblem(await kit.sign(wallet, { id: 'frozen-1' }), 'frozen');
    const { boots } = (await (await fetch(`${stack.url}/v1/log/boots`)).json()) as { boots: unknown[] };
    expect(boots).toHaveLength(1);
  }, 60_000);
});

describe('a host that cheats with witnesses', () => {
  const keys = [1, 2, 3].map((index) => {
    const { publicKey, secretKey } = nacl.sign.keyPair();
    return { key: verifierKey(`w${index}.example`, 'cosignature', publicKey), secretKey };
  });
  let host: MaliciousHost;
  let wallet: KitWallet;

  beforeAll(async () => {
    const measured = { threshold: 2, keys: keys.map(({ key }) => formatVerifierKey(key)) };
    host = await MaliciousHost.start({ witnesses: measured });
    await host.giveCredentials();
    wallet = await host.openWallet();
  });
  afterAll(() => host?.stop());

  /** What witnesses answer for this note; by default for its own text. */
  function cosigned(note: Uint8Array, by: readonly number[], text = parseNote(note).text): Uint8Array {
    const lines = by.flatMap((index) => {
      const { key, secretKey } = keys[index] ?? {};
      if (key === undefined || secretKey === undefined) return [];
      const message = cosignatureMessage(text, 1_800_000_000n);
      const signature = nacl.sign.detached(message, secretKey);
      return [noteSignature(key, cosignatureBytes({ timeSeconds: 1_800_000_000n, signature }))];
    });
    return concatBytes(note, utf8(formatSignatureLines(lines)));
  }
  const checkpoint = async (): Promise<Uint8Array> => (await host.data.request('checkpoint', {})).note;

  /** Asks for a signature and says how it stands. */
  function ask(change: Parameters<MaliciousHost['request']>[1] = {}, of = wallet) {
    let outcome = 'held';
    const reply = host.data.request('sign', host.request(of, change)).then(
      (signed) => {
        outcome = signed.signature === undefined ? 'unsigned' : 'signed';
        return signed;
      },
      (error: unknown) => {
        outcome = codeOf(error);
        return undefined;
      },
    );
    return { reply, outcome: () => outcome };
  }
  const recorded = async (size: bigint) =>
    expect.poll(async () => (await host.data.request('status', {})).leaves).toBe(size);

  it('gets no signature for checkpoints that do not cover it, or with too few or false cosignatures', async () => {
    const before = await checkpoint();
    const { leaves } = await host.data.request('status', {});
    const asked = ask();
    await recorded(leaves + 1n);
    // Enough witnesses, of the log as it was.
    await host.data.request('cosign', { note: cosigned(before, [0, 1, 2]) });
    const now = await checkpoint();
    for (const [note, code] of [
      [cosigned(now, []), 'witnesses_too_few'],
      [cosigned(now, [1]), 'witnesses_too_few'],
      [cosigned(now, [1, 1]), 'witnesses_too_few'],
      [cosigned(now, [0, 1], parseNote(before).text), 'witnesses_too_few'],
      [
        cosigned(utf8(new TextDecoder().decode(now).replace(/\n\d+\n/, '\n999\n')), [0, 1]),
        'log_note_signature_invalid',
      ],
      [utf8('\n'), 'log_note_malformed'],
    ] as const) {
      await expectCode(host.data.request('cosign', { note }), code);
    }
    expect(asked.outcome()).toBe('held');
    await host.data.request('cosign', { note: cosigned(now, [0, 2]) });
    expect((await asked.reply)?.signature).toHaveLength(64);
    expect(asked.outcome()).toBe('signed');
  });

  it('gets a repeat of a held signature only under its own leaf, and the leaf says which it repeats', async () => {
    const before = (await host.data.request('status', {})).leaves;
    const request = host.request(wallet, { id: 'repeated', lamports: 5n });
    const first = host.data.request('sign', request);
    const outcome = first.then(
      () => 'signed',
      (error: unknown) => codeOf(error),
    );
    await recorded(before + 1n);
    await host.data.request('cosign', { note: cosigned(await checkpoint(), [0, 1]) });
    expect(await outcome).toBe('signed');
    const again = host.data.request('sign', request);
    await recorded(before + 2n);
    await host.data.request('cosign', { note: cosigned(await checkpoint(), [1, 2]) });
    const [one, two] = [await first, await again];
    expect(two.signature).toEqual(one.signature);
    const [a, b] = [one, two].map(({ receipt }) => decodeLeaf(receipt?.leaf as Uint8Array));
    expect(a?.repeats).toBeUndefined();
    expect(b?.repeats).toBe(a?.sequence);
    expect(b?.stateVersion).toBe(a?.stateVersion);
    expect(b?.signatureHash).toEqual(a?.signatureHash);
  });

  it('cannot make up what boot this log continues', async () => {
    const own = await checkpoint();
    await expectCode(host.data.request('follow', { checkpoint: own }), 'log_origin_mismatch');
    const { publicKey, secretKey } = nacl.sign.keyPair();
    const note = (origin: string, key = secretKey) => {
      const text = `${origin}\n3\n${Buffer.alloc(32).toString('base64')}\n`;
      const line = noteSignature(verifierKey(origin, 'ed25519', publicKey), nacl.sign.detached(utf8(text), key));
      return utf8(`${text}\n${formatSignatureLines([line])}`);
    };
    const origin = `${host.backend.logOrigin}/${toBase58(publicKey)}`;
    await expectCode(
      host.data.request('follow', { checkpoint: note(`elsewhere/${toBase58(publicKey)}`) }),
      'log_origin_mismatch',
    );
    await expectCode(
      host.data.request('follow', { checkpoint: note(`${host.backend.logOrigin}/nobody`) }),
      'log_origin_mismatch',
    );
    await expectCode(
      host.data.request('follow', { checkpoint: note(origin, nacl.sign.keyPair().secretKey) }),
      'log_note_signature_invalid',
    );
    const { receipt } = await host.data.request('follow', { checkpoint: note(origin) });
    expect(decodeLeaf(receipt.leaf)).toMatchObject({ kind: 'follows', predecessor: { boot: toBase58(publicKey) } });
    await expectCode(host.data.request('follow', { checkpoint: note(origin) }), 'already_initialised');
  });

  it('gets nothing of a wallet whose lease the enclave was shown, whatever the witnesses say then', async () => {
    const { boot } = await host.data.request('status', {});
    const leased = await host.openWallet();
    const asked = ask({}, leased);
    await sleep(300);
    const lease: Lease = {
      deployment: host.backend.deployment,
      predecessor: boot as BootId,
      successor: toBase58(nacl.sign.keyPair().publicKey) as BootId,
      wallets: [{ wallet: leased.address, version: 1n }],
      freezes: [],
      checkpoint: await checkpoint(),
      notAfter: timeMs(Date.now() + 3_600_000),
      sumsProven: true,
    };
    const bytes = encodeAs(leaseCodec, lease);
    const signatures = signedBy(bytes, ...operators(host.backend.dir).slice(0, 2));
    expect(await host.data.request('leaseShow', { lease: { bytes, signatures } })).toEqual({ given: 1 });
    await expect.poll(asked.outcome).toBe('wallet_held_elsewhere');
    await host.data.request('cosign', { note: cosigned(await checkpoint(), [0, 1, 2]) });
    await sleep(50);
    expect(asked.outcome()).toBe('wallet_held_elsewhere');
  });

  it('gets nothing after a freeze, whatever the witnesses say then', async () => {
    const asked = ask();
    await sleep(300);
    await host.control.request('freeze', { scope: 'fleet', reason: 'test' });
    await expect.poll(asked.outcome).toBe('frozen');
    await host.data.request('cosign', { note: cosigned(await checkpoint(), [0, 1, 2]) });
    await sleep(50);
    expect(asked.outcome()).toBe('frozen');
    expect(LIMITS.witnessWaitMilliseconds).toBeLessThan(LIMITS.enclaveRequestTimeoutMilliseconds);
  });
});
