/** The trace of a request, from its header to the log lines and the reply. */
import { outgoingTrace } from '@quantumvault/host/trace/request-trace.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { expectProblem } from '../../support/codes.ts';
import { until } from '../../support/temporary.ts';
import { Receiver } from '../alerts/receiver.ts';
import { Harness } from '../harness.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';

const host = new Harness();
beforeAll(async () => {
  await host.start();
  await host.createWallet();
  await host.enablePolicy();
});
afterAll(() => host.stop());

interface Line {
  readonly msg: string;
  readonly traceId?: string;
  readonly requestId?: string;
  readonly route?: string;
}

const linesOf = (traceId: string | undefined): Line[] =>
  host.logLines.map((line) => JSON.parse(line) as Line).filter((line) => line.traceId === traceId);

const traceIdOf = (response: Response): string =>
  /^00-([0-9a-f]{32})-[0-9a-f]{16}-0[0-3]$/.exec(response.headers.get('traceresponse') ?? '')?.[1] ?? 'none';

it('is the caller’s where he sends one', async () => {
  const response = await host.sign({ headers: { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'a=1' } });
  expect(response.status).toBe(200);
  expect(traceIdOf(response)).toBe(TRACE);
  expect(response.headers.get('traceresponse')).not.toContain(PARENT);
  const [line] = linesOf(TRACE);
  expect(line).toMatchObject({ msg: 'request', route: '/v1/sign', requestId: response.headers.get('x-request-id') });
});

it('is a new one else, another for each request', async () => {
  const ids = await Promise.all(
    Array.from({ length: 20 }, async (_, index) =>
      traceIdOf(await host.sign(index % 2 === 0 ? {} : { headers: { traceparent: 'nonsense' } })),
    ),
  );
  expect(new Set(ids).size).toBe(20);
  for (const id of ids) expect(linesOf(id).map(({ msg }) => msg)).toEqual(['request']);
});

it('is named by refusals and by what is logged deep inside, and once in each line', async () => {
  const unlock = host.lockDatabase();
  let refused: Response;
  try {
    refused = await host.sign();
  } finally {
    unlock();
  }
  const problem = await expectProblem(refused, 'store_unavailable');
  const lines = linesOf(traceIdOf(refused));
  expect(lines.filter(({ requestId }) => requestId === problem.requestId).map(({ msg }) => msg)).toContain('request');
  for (const line of host.logLines) expect(line.split('"traceId"').length).toBeLessThanOrEqual(2);
  await host.ready();
});

it('is named by a refusal of the body, which arrives outside of it', async () => {
  const headers = { 'content-type': 'application/json' };
  const response = await host.send('POST', '/v1/sign', 'x'.repeat(100_000), headers);
  await expectProblem(response, 'body_too_large');
  const messages = linesOf(traceIdOf(response)).map(({ msg }) => msg);
  expect(messages).toEqual(['refused', 'request']);
});

it('is of no line that belongs to no request', () => {
  const background = host.logLines.map((line) => JSON.parse(line) as Line).filter(({ msg }) => msg === 'enclave boot');
  expect(background.length).toBeGreaterThan(0);
  for (const line of background) expect(line.traceId).toBeUndefined();
});

it('goes along with what the request has the host tell others, with our own part as the parent', async () => {
  expect(outgoingTrace()).toEqual({});
  const secret = `whsec_${toBase64(new Uint8Array(32).fill(1))}`;
  const receiver = new Receiver(secret);
  const url = await receiver.start();
  host.moreConfig = () => ({
    alerts: [{ url, secretsFile: host.writePrivate('alerts.txt', secret), events: ['tampering'] }],
  });
  try {
    await host.restartHost();
    await host.ready();
    host.sql((database) => database.prepare('UPDATE wallets SET generation = generation + 1').run());
    const headers = { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'vendor=value' };
    const refused = await host.sign({ headers });
    await expectProblem(refused, 'row_tampered');
    await until('somebody is told', () => receiver.told.length > 0);
    expect(receiver.requests[0]?.headers).toMatchObject({
      traceparent: refused.headers.get('traceresponse'),
      tracestate: 'vendor=value',
    });
  } finally {
    await receiver.close();
  }
});
