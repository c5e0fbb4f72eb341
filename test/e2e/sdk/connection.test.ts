/** The SDK over a network that loses things, and over enclaves that change, with a whole appliance behind it. */

import type { Client } from '@quantumvault/host/client/client.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pcrSetOf, transfer } from '../../stack/scenario.ts';
import { expectCode } from '../../support/codes.ts';
import { type Appliance, startAppliance } from './appliance.ts';

let appliance: Appliance;
beforeAll(async () => {
  appliance = await startAppliance();
});
afterAll(() => appliance?.stack.stop());

const request = (lamports = 5_000n, wallet = appliance.wallet) => ({
  wallet,
  transaction: transfer(wallet, appliance.destination, lamports).wire,
  requester: appliance.requester.signer,
});

interface Network {
  readonly client: Client;
  /** Paths asked for, those aside that the host was too busy for: it bounds attestations per second. */
  readonly asked: readonly string[];
}

/** A client behind a network that may treat each exchange in its own way; `real` passes one on. */
function through(behave: (path: string, real: () => Promise<Response>) => Promise<Response>, attempts = 10): Network {
  const asked: string[] = [];
  const fetchLike: typeof fetch = (input, init) => {
    const { pathname } = new URL(String(input));
    return behave(pathname, async () => {
      const response = await fetch(input, init);
      if (response.status !== 503) asked.push(pathname);
      return response;
    });
  };
  return { client: appliance.connect({ fetch: fetchLike, attempts }), asked };
}

const count = (asked: readonly string[], path: string): number => asked.filter((each) => each === path).length;

describe('connecting', () => {
  test('asks once, by whatever comes first and however many ask', async () => {
    const { client, asked } = through((_, real) => real());
    const [first, second] = await Promise.all([client.connect(), client.connect(), client.sign(request())]);
    expect(second).toBe(first);
    expect(await client.connect()).toBe(first);
    expect(first.report.proves).toBe('authenticity and recency');
    expect(asked[0]).toBe('/v1/attestation');
    expect(count(asked, '/v1/attestation')).toBe(1);
    expect((await client.attestation()).boot).toBe(first.boot);
    expect(count(asked, '/v1/attestation')).toBe(2);
  });

  test.each<[string, (client: Client) => Promise<unknown>]>([
    ['connect', (client) => client.connect()],
    ['sign', (client) => client.sign(request())],
    ['dryRun', (client) => client.dryRun(request())],
    ['signBatch', ({ signBatch }) => signBatch({ ...request(), transactions: [request().transaction] })],
    ['dryRunBatch', ({ dryRunBatch }) => dryRunBatch({ ...request(), transactions: [request().transaction] })],
    ['createWallet', (client) => appliance.newWallet(client)],
    [
      'importWallet',
      ({ importWallet }) =>
        importWallet({
          owner: { address: request().wallet, signStatement: () => Promise.reject(new Error('asked to sign')) },
          wallet: request().wallet,
          requesters: [request().wallet],
          seal: () => Promise.reject(new Error('asked to seal')),
        }),
    ],
  ])('%s sends nothing to an image that is not pinned', async (_, action) => {
    const asked: string[] = [];
    const client = unpinned(asked);
    await expectCode(action(client), 'attestation_pcrs_not_allowed');
    expect(new Set(asked)).toEqual(new Set(['/v1/attestation']));
  });

  /** Its owner is asked for no signature either. */
  function unpinned(asked: string[] = []): Client {
    const [pcr0] = [...pcrSetOf(appliance.stack.pcrs).pcrs];
    const other = {
      name: 'another release',
      pcrs: new Map([pcr0 ?? [0, new Uint8Array(48)], [1, new Uint8Array(48).fill(1)]]),
    };
    const counting: typeof fetch = (input, init) => {
      asked.push(new URL(String(input)).pathname);
      return fetch(input, init);
    };
    return appliance.connect({ trust: { ...appliance.trust, pcrSets: [other] }, fetch: counting });
  }

  test('after a failure the next one asks again', async () => {
    let isDown = true;
    const { client } = through((_, real) => (isDown ? Promise.reject(new TypeError('down')) : real()), 1);
    await expectCode(client.connect(), 'host_unreachable');
    await expectCode(client.sign(request()), 'host_unreachable');
    isDown = false;
    // Strangers get ten documents a second, and the tests before have asked for some.
    const signed = () => client.sign(request()).then(({ signature }) => signature.length, codeOf);
    await expect.poll(signed, { timeout: 5_000 }).toBe(64);
  });

  test('a caller that gives up does not take the answer from another one', async () => {
    const answer = Promise.withResolvers<void>();
    const { client, asked } = through(async (_, real) => {
      await answer.promise;
      return await real();
    });
    const controller = new AbortController();
    const [impatient, patient] = [client.connect({ signal: controller.signal }), client.connect()];
    controller.abort(new Error('enough'));
    await expect(impatient).rejects.toThrow('enough');
    answer.resolve();
    expect((await patient).boot).toBeTypeOf('string');
    expect(asked).toHaveLength(1);
  });
});

describe('an answer that is lost', () => {
  test('is asked for again: one signature, one leaf', async () => {
    let lost = 0;
    const { client, asked } = through(async (path, real) => {
      const response = await real();
      if (path !== '/v1/sign' || lost === 3) return response;
      lost++;
      // The host has decided; nobody hears of it.
      await response.arrayBuffer();
      throw new TypeError('connection lost');
    });
    const before = await nextLeaf();
    const signed = await client.sign({ ...request(), id: 'lost-three-times' });
    expect([lost, count(asked, '/v1/sign')]).toEqual([3, 4]);
    expect((await nextLeaf()) - before).toBe(2n);
    // And from another process, later, with the id that it kept.
    const again = await appliance.connect().sign({ ...request(), ...repeatOf(signed), id: 'lost-three-times' });
    expect(again.signatureBase58).toBe(signed.signatureBase58);
  });

  /** The transaction as it was before it was signed. */
  const repeatOf = ({ transaction }: { readonly transaction: Uint8Array }) => {
    const unsigned = Uint8Array.from(transaction);
    unsigned.fill(0, 1, 65);
    return { transaction: unsigned };
  };

  /** The number of one more decision in the boot's log. */
  const nextLeaf = async (): Promise<bigint> => (await appliance.connect().sign(request(1n))).leaf.sequence;

  test('while the host is still at it: the repeat waits for the same answer', async () => {
    const options = { ...request(), id: 'asked-three-times-at-once' };
    const answers = await Promise.all([1, 2, 3].map(() => through((_, real) => real(), 2).client.sign(options)));
    expect(new Set(answers.map(({ signatureBase58 }) => signatureBase58)).size).toBe(1);
  });

  test('a batch as well', async () => {
    let lost = false;
    const { client, asked } = through(async (path, real) => {
      const response = await real();
      if (path !== '/v1/sign/batch' || lost) return response;
      lost = true;
      await response.arrayBuffer();
      throw new TypeError('connection lost');
    });
    const transactions = [request(1n).transaction, request(2n).transaction];
    const signed = await client.signBatch({ ...request(), transactions });
    expect([signed.length, count(asked, '/v1/sign/batch')]).toEqual([2, 2]);
  });

  test('a deadline that passes leaves the request as it was decided, to be asked for by its id', async () => {
    const options = { ...request(), id: 'given-up' };
    const controller = new AbortController();
    const { client } = through(async (path, real) => {
      const response = await real();
      if (path === '/v1/sign') controller.abort(new Error('too late'));
      return response;
    });
    await expect(client.sign({ ...options, signal: controller.signal })).rejects.toThrow('too late');
    expect((await client.sign(options)).id).toBe('given-up');
    // The id belongs to that transaction now.
    await expectCode(client.sign({ ...request(6_000n), id: 'given-up' }), 'request_id_reused');
  });
});

test('a signal that is cited goes into the signed body, where the host looks for it', async () => {
  const { client } = through((_, real) => real());
  await expectCode(client.sign({ ...request(), signalId: 'nobody-sent-it' }), 'signal_missing');
  await expectCode(client.sign({ ...request(), signalId: 'no spaces' }), 'field_malformed');
});

describe('another boot', () => {
  test('proves itself before anything of it is believed', async () => {
    let isHonest = true;
    let kept: { readonly status: number; readonly text: string } | undefined;
    const { client, asked } = through(async (path, real) => {
      const response = await real();
      if (path !== '/v1/attestation' || response.status !== 200) return response;
      const answer = { status: response.status, text: await response.text() };
      kept ??= answer;
      const sent = isHonest ? answer : kept;
      return new Response(sent.text, { status: sent.status });
    });
    const { boot: first } = await client.connect();
    await appliance.stack.restartEnclave();
    // Wallets stay with the boot that is gone until it hands them over, so this takes a wallet of the new one.
    const wallet = await appliance.newWallet(appliance.connect({ attempts: 20 }));
    // The old boot's document for the new one: no.
    isHonest = false;
    await expectCode(client.sign(request(5_000n, wallet)), 'attestation_nonce_mismatch');
    isHonest = true;
    const before = count(asked, '/v1/attestation');
    const several = await Promise.all(Array.from({ length: 16 }, () => client.sign(request(5_000n, wallet))));
    // One proof for all of them, and for what follows.
    expect(count(asked, '/v1/attestation') - before).toBeLessThanOrEqual(2);
    const boots = new Set(several.map(({ leaf }) => leaf.boot));
    expect(boots.size).toBe(1);
    expect(boots.has(first)).toBe(false);
    expect((await client.connect()).boot).toBe([...boots][0]);
  });
});
