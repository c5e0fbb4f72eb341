/** From a webhook to a signature, over the whole appliance: what a signal is good for, and how often. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  asymmetric,
  keyed,
  SECRET,
  secretLine,
  symmetric,
  TEXT_SECRET,
  type Webhook,
} from '../host/webhooks/sources.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { signingRequest } from '../support/http-requests.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { transfer, wireOf } from '../support/wallet-kit.ts';

const alpha = keyed();
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let stack: Stack;
let kit: HttpKit;
let wallet: HttpWallet;
let count = 0;
const nextId = (): string => `msg-${++count}`;

const SIGNALS = {
  required: true,
  sources: [
    { name: 'alpha', key: alpha.address },
    { name: 'backend', hostVerified: true },
    { name: 'tv', hostVerified: true },
  ],
  maxAgeSeconds: 60,
  signaturesPerSignal: 2,
};
const withSignals =
  (change = {}) =>
  (document: Record<string, unknown>) => ({
    ...document,
    signals: { ...SIGNALS, ...change },
  });

beforeAll(async () => {
  folder = await temporaryFolder();
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder.path, name), text, { mode: 0o600 });
    return join(folder.path, name);
  };
  const secretsFile = file('secrets', secretLine(SECRET));
  const webhooks = [
    { name: 'alpha', kind: 'standard', keys: [alpha.address], secretsFile },
    { name: 'backend', kind: 'standard', secretsFile },
    { name: 'unnamed', kind: 'standard', secretsFile },
    {
      ...{ name: 'tv', kind: 'tradingview', secretsFile: file('text', TEXT_SECRET) },
      ...{ addresses: ['127.0.0.0/8', '::1'], idField: 'id' },
    },
  ];
  stack = await startStack({ witnesses: 'none', logLevel: 'info', hostConfig: { webhooks } });
  kit = httpKit(stack);
  wallet = await kit.openWallet(withSignals());
}, 60_000);
afterAll(async () => {
  await stack?.stop();
  await folder?.remove();
});

/** A host that shares its machine with other tests may be late, and says so before it does anything. */
async function patiently(ask: () => Promise<Response>): Promise<Response> {
  for (;;) {
    const response = await ask();
    if (response.status !== 503) return response;
    await sleep(200);
  }
}

async function deliver(source: string, { body, headers }: Webhook): Promise<{ signal: string; verified: string }> {
  const url = `${stack.url}/v1/webhooks/${source}`;
  const response = await patiently(() => fetch(url, { method: 'POST', body, headers }));
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return JSON.parse(text) as { signal: string; verified: string };
}

/** A request that cites a signal. */
const cite = (signal: string | undefined, options: Parameters<HttpKit['sign']>[1] = {}, own = wallet) =>
  patiently(() => kit.sign(own, { ...options, body: { ...(signal !== undefined && { signal }), ...options.body } }));

async function signed(response: Response): Promise<Record<string, unknown>> {
  const reply = (await response.json()) as Record<string, unknown>;
  expect(response.status, JSON.stringify(reply)).toBe(200);
  return reply;
}

function batch(signal: string, transactions: number): Promise<Response> {
  const { address, destination, requester } = wallet;
  const wires = Array.from({ length: transactions }, () => toBase64(wireOf(transfer(address, destination, 1_000n))));
  const { body, headers } = signingRequest({
    deployment: stack.deployment,
    wallet: address,
    transaction: transfer(address, destination, 1n),
    signer: requester,
    id: nextId(),
    body: { purpose: 'qv/sign-batch/v1', transaction: undefined, transactions: wires, signal },
  });
  return patiently(() => fetch(`${stack.url}/v1/sign/batch`, { method: 'POST', headers, body }));
}

describe('a policy that requires a signal', () => {
  it('gets no signature without one, with one that is not there, or is of a source it does not name', async () => {
    expect((await expectProblem(await cite(undefined), 'policy_denied')).rule).toBe('signals.required');
    await expectProblem(await cite('msg-none'), 'signal_missing');
    const id = nextId();
    await deliver('unnamed', symmetric({ id }));
    await expectProblem(await cite(id), 'signal_missing');
    await expectProblem(await batch(id, 1), 'signal_missing');
  });

  it('gets as many as it says for one that its key signed, which the enclave verifies again', async () => {
    const id = nextId();
    const webhook = asymmetric(alpha, { id });
    expect(await deliver('alpha', webhook)).toEqual({ signal: id, verified: 'enclave-verifiable' });
    const first = await signed(await cite(id, { id: 'cites-1' }));
    expect(first['signal']).toEqual({ source: 'alpha', id, verifiedBy: 'enclave' });
    await signed(await cite(id));
    const third = await expectProblem(await cite(id), 'policy_denied');
    expect([third.rule, third.value]).toEqual(['signals.signaturesPerSignal', '3']);
    // Neither sending the webhook again, nor a later attempt of its sender, gives it more.
    await deliver('alpha', webhook);
    await deliver('alpha', asymmetric(alpha, { id, timestamp: Math.floor(Date.now() / 1000) + 1 }));
    await expectProblem(await cite(id), 'policy_denied');
  });

  it('repeats the reply to a request that cited it, and spends nothing by that', async () => {
    const id = nextId();
    await deliver('alpha', asymmetric(alpha, { id }));
    const transaction = transfer(wallet.address, wallet.destination, 1_000n);
    const again = () => cite(id, { id: 'same-request', transaction, timestamp: Math.floor(Date.now() / 1000) });
    const first = await signed(await again());
    for (let round = 0; round < 3; round++) expect(await signed(await again())).toEqual(first);
    await signed(await cite(id));
    await expectProblem(await cite(id), 'policy_denied');
  });

  it('counts under concurrency too: twenty requests, two signatures', async () => {
    const id = nextId();
    await deliver('alpha', asymmetric(alpha, { id }));
    const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await cite(id)).status));
    expect(statuses.filter((status) => status === 200)).toHaveLength(2);
    expect(statuses.filter((status) => status === 403)).toHaveLength(18);
  });

  it('takes the host’s word where its owner said so, and calls it that', async () => {
    const id = nextId();
    expect(await deliver('backend', symmetric({ id }))).toEqual({ signal: id, verified: 'host' });
    expect((await signed(await cite(id)))['signal']).toEqual({ source: 'backend', id, verifiedBy: 'host' });
    const body = JSON.stringify({ secret: TEXT_SECRET, id: 'BTCUSDT:1', side: 'buy' });
    const alert = { body, headers: { 'content-type': 'application/json' } };
    expect(await deliver('tv', alert)).toEqual({ signal: 'BTCUSDT_1', verified: 'host' });
    for (let use = 0; use < 2; use++)
      expect((await signed(await cite('BTCUSDT_1')))['signal']).toMatchObject({ source: 'tv', verifiedBy: 'host' });
    await deliver('tv', alert);
    expect((await expectProblem(await cite('BTCUSDT_1'), 'policy_denied')).rule).toBe('signals.signaturesPerSignal');
  });

  it('does not take the host’s word where its owner named a key', async () => {
    const id = nextId();
    // The host was configured to believe a shared secret of this source; the enclave was not.
    expect((await deliver('alpha', symmetric({ id }))).verified).toBe('host');
    await expectProblem(await cite(id), 'signal_signature_invalid');
    await expectProblem(await batch(id, 1), 'signal_signature_invalid');
  });

  it('does not guess which of two signals was meant', async () => {
    const id = nextId();
    await deliver('alpha', asymmetric(alpha, { id }));
    await deliver('backend', symmetric({ id }));
    await expectProblem(await cite(id), 'signal_ambiguous');
  });

  it('spends one signature of it for each transaction of a batch', async () => {
    const [id, other] = [nextId(), nextId()];
    for (const signal of [id, other]) await deliver('alpha', asymmetric(alpha, { id: signal }));
    expect((await expectProblem(await batch(id, 3), 'policy_denied')).rule).toBe('signals.signaturesPerSignal');
    const reply = await signed(await batch(id, 2));
    expect(reply['signed']).toHaveLength(2);
    expect(reply['signal']).toEqual({ source: 'alpha', id, verifiedBy: 'enclave' });
    await expectProblem(await cite(id), 'policy_denied');
    await signed(await cite(other));
    expect((await expectProblem(await batch(other, 2), 'policy_denied')).rule).toBe('signals.signaturesPerSignal');
  });

  it('is shown what it would say, without spending', async () => {
    const id = nextId();
    await deliver('alpha', asymmetric(alpha, { id }));
    const dry = { body: { dryRun: true } };
    for (let round = 0; round < 3; round++)
      expect(await signed(await cite(id, dry))).toMatchObject({ verdict: 'allow' });
    expect(await signed(await cite(undefined, dry))).toMatchObject({ verdict: 'deny' });
    await expectProblem(await cite('msg-none', dry), 'signal_missing');
  });

  it('lets a signal grow old', async () => {
    const own = await kit.openWallet(withSignals({ maxAgeSeconds: 1 }));
    const id = nextId();
    await deliver('alpha', asymmetric(alpha, { id }));
    await sleep(2_100);
    await expectProblem(await cite(id, {}, own), 'signal_stale');
    const dry = await signed(await cite(id, { body: { dryRun: true } }, own));
    expect(dry['rules']).toContainEqual(expect.objectContaining({ rule: 'signals.maxAgeSeconds', outcome: 'deny' }));
    await signed(await cite(id));
  });

  it('knows its signals after a restart of the host, and what they were spent for', async () => {
    const id = nextId();
    await deliver('backend', symmetric({ id }));
    await signed(await cite(id));
    await stack.restartHost();
    kit = httpKit(stack);
    await kit.ready();
    await signed(await cite(id));
    expect((await expectProblem(await cite(id), 'policy_denied')).value).toBe('3');
    await deliver('backend', symmetric({ id }));
    await expectProblem(await cite(id), 'policy_denied');
  });

  it('signs nothing while frozen, whatever signals come in', async () => {
    await adminCall(stack.adminSocket, 'freeze', { scope: `wallet:${wallet.address}`, reason: 'stop' });
    const id = nextId();
    await deliver('alpha', asymmetric(alpha, { id }));
    await expectProblem(await cite(id), 'frozen');
    await expectProblem(await batch(id, 1), 'frozen');
  });
});

it('a policy without signals takes none', async () => {
  const plain = await kit.openWallet();
  const id = nextId();
  await deliver('alpha', asymmetric(alpha, { id }));
  await expectProblem(await cite(id, {}, plain), 'signal_missing');
  const reply = await signed(await cite(undefined, {}, plain));
  expect(reply).not.toHaveProperty('signal');
});
