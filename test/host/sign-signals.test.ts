/** Signing requests that cite a signal: what the enclave is given, and what is refused without asking it. */
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { expectProblem } from '../support/codes.ts';
import { Harness } from './harness.ts';
import { asymmetric, keyed, SECRET, secretLine, symmetric, type Webhook } from './webhooks/sources.ts';

const alpha = keyed();
let host: Harness;
let count = 0;
const nextId = (): string => `msg-${++count}`;

beforeAll(async () => {
  host = new Harness();
  host.moreConfig = () => {
    const secretsFile = host.writePrivate('secrets', secretLine(SECRET));
    return {
      webhooks: [
        { name: 'alpha', kind: 'standard', secretsFile, keys: [alpha.address], keepSeconds: 600 },
        { name: 'backend', kind: 'standard', secretsFile, keys: [alpha.address], keepSeconds: 600 },
      ],
    };
  };
  await host.start();
  await host.createWallet();
  const signals = {
    required: false,
    sources: [
      { name: 'alpha', key: alpha.address },
      { name: 'backend', hostVerified: true },
    ],
    maxAgeSeconds: 300,
    signaturesPerSignal: 1,
  };
  const rate = { perMinute: 1_000, perDay: 100_000 };
  const enabling = host.enabling({ ...host.policyJson(), signals, rate } as never);
  const response = await host.send('PUT', `/v1/wallets/${host.wallet}/policy`, enabling);
  expect(response.status, await response.text()).toBe(200);
});
afterAll(() => host.stop());
afterEach(() => {
  host.clockSkew = 0;
});

async function deliver(source: string, { body, headers }: Webhook): Promise<void> {
  const response = await host.send('POST', `/v1/webhooks/${source}`, body, headers);
  expect(response.status, await response.text()).toBe(200);
}

const cite = (signal: string, options: { id?: string } = {}) =>
  host.sign({ ...options, body: host.signBody({ signal }) });
const asked = () => host.enclave.requests.filter(({ name }) => name === 'sign').at(-1)?.body as RequestOf<'sign'>;

it('the enclave gets the signal, with the signature where the policy names a key, and only there', async () => {
  const [first, second] = [nextId(), nextId()];
  const webhook = asymmetric(alpha, { id: first });
  await deliver('alpha', webhook);
  expect(await (await cite(first)).json()).toMatchObject({
    signal: { source: 'alpha', id: first, verifiedBy: 'enclave' },
  });
  const { signal } = asked();
  expect(signal).toMatchObject({ source: 'alpha', id: first, timestamp: webhook.headers['webhook-timestamp'] });
  expect(new TextDecoder().decode(signal?.body)).toBe(webhook.body);
  expect(webhook.headers['webhook-signature']).toBe(`v1a,${toBase64(signal?.signature ?? new Uint8Array())}`);

  await deliver('backend', asymmetric(alpha, { id: second }));
  expect(await (await cite(second)).json()).toMatchObject({
    signal: { source: 'backend', id: second, verifiedBy: 'host' },
  });
  expect(asked().signal).not.toHaveProperty('signature');

  expect((await host.sign()).status).toBe(200);
  expect(asked()).not.toHaveProperty('signal');
});

it('a signal that is not there, is too old or was edited is no reason to ask the enclave', async () => {
  const id = nextId();
  await deliver('alpha', asymmetric(alpha, { id }));
  const before = host.enclave.count('sign');
  await expectProblem(await cite('msg-none'), 'signal_missing');
  host.clockSkew = 301_000;
  await expectProblem(await cite(id), 'signal_stale');
  host.clockSkew = 601_000;
  await expectProblem(await cite(id), 'signal_missing');
  host.clockSkew = 0;
  host.sql((database) => database.prepare('UPDATE signals SET at = at + 1000 WHERE id = ?').run(id));
  await expectProblem(await cite(id), 'row_tampered');
  expect(host.enclave.count('sign')).toBe(before);
});

it('a request that was decided is answered the same when its signal is gone', async () => {
  const id = nextId();
  await deliver('backend', symmetric({ id }));
  const first = await (await cite(id, { id: 'decided' })).json();
  host.sql((database) => database.exec('DELETE FROM signals'));
  host.clockSkew = 3_600_000;
  expect(await (await cite(id, { id: 'decided' })).json()).toEqual(first);
  await expectProblem(await cite(id), 'signal_missing');
});
