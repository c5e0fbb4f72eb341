/** That the contract test finds what it looks for: replies and alerts which the document does not describe. */
import { AlertWatch } from '@quantumvault/host/alerts/watch.ts';
import { addressOf, timeMs } from '@quantumvault/shared/brands.ts';
import { describe, expect, it } from 'vitest';
import { Contract } from './contract.ts';

const contract = new Contract();
const HEADERS = {
  'content-type': 'application/json',
  'x-request-id': '88c7508e-24d6-4335-870d-4f10cfeb48f8',
  'cache-control': 'no-store',
  traceresponse: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-02`,
  ratelimit: '"address";r=1;t=60',
  'ratelimit-policy': '"address";q=2;w=60',
};
const BOOT = '9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin';
const reply = (body: unknown, status = 200, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify(body), { status, headers: { ...HEADERS, ...headers } });
const without = (name: keyof typeof HEADERS): Response => {
  const { [name]: _, ...headers } = HEADERS;
  return new Response('{"boots":[]}', { headers });
};
const problem = (code: string, status: number, more: Record<string, unknown> = {}) => ({
  type: `urn:quantumvault:error:${code}`,
  ...{ title: 'x', status, code, retryable: false, requestId: HEADERS['x-request-id'], ...more },
});
const PROBLEM = { 'content-type': 'application/problem+json' };

describe('a reply is as described', () => {
  it('or else is found', async () => {
    await contract.hold('listLogs', reply({ boots: [{ boot: BOOT, size: '3' }] }));
    const wrong: readonly [Response, RegExp][] = [
      [reply({ boots: [] }, 206), /the status is not documented/],
      [reply({ boots: [] }, 200, { 'content-type': 'text/plain' }), /text\/plain is not documented/],
      [reply({ boots: [], more: 1 }), /additional properties/],
      [reply({ boots: [{ boot: BOOT, size: 3 }] }), /must be string/],
      [reply({}), /required property 'boots'/],
      [reply({ boots: [] }, 200, { 'x-new': '1' }), /x-new: 1 is not documented/],
      [reply({ boots: [] }, 200, { ratelimit: 'many' }), /RateLimit: many/],
      [without('x-request-id'), /x-request-id is missing/],
      [without('cache-control'), /cache-control is missing/],
      [without('traceresponse'), /traceresponse is missing/],
      [without('ratelimit'), /RateLimit is missing/],
      [reply(problem('policy_denied', 403), 403, PROBLEM), /\/code must be equal to one of the allowed values/],
      [reply(problem('frozen', 503), 503, PROBLEM), /\/code must be equal to one of the allowed values/],
      [reply(problem('internal', 503), 500, PROBLEM), /\/status must be equal to constant/],
      [reply(problem('internal', 500, { cause: 'x' }), 500, PROBLEM), /additional properties/],
      [reply(problem('rate_limited', 429), 429, PROBLEM), /Retry-After is missing/],
    ];
    for (const [response, said] of wrong) await expect(contract.hold('listLogs', response)).rejects.toThrow(said);
  });
});

describe('an alert', () => {
  const base = { timestamp: '2026-11-22T12:00:00.000Z' };
  const since = base.timestamp;

  it('of each type is as described, or else is found', () => {
    const deployment = 'test';
    const wallet = addressOf(new Uint8Array(32).fill(7));
    const right = [
      { type: 'freeze.latched', data: { deployment, scope: 'fleet', reason: 'x', since } },
      { type: 'freeze.ended', data: { deployment, scope: 'fleet', since } },
      { type: 'denials.burst', data: { deployment, wallet, count: 3, seconds: 60, rules: { 'sol.window': 3 } } },
      { type: 'trouble.began', data: { deployment, trouble: 'kms', since, what: 'x' } },
      { type: 'trouble.ended', data: { deployment, trouble: 'kms', since, until: since } },
      { type: 'tampering.found', data: { deployment, wallet: null } },
    ];
    for (const alert of right) {
      expect(contract.alertFaults({ ...base, ...alert })).toEqual([]);
      expect(contract.alertFaults({ ...base, ...alert, data: { ...alert.data, extra: 1 } })).not.toEqual([]);
      expect(contract.alertFaults({ ...base, ...alert, type: 'other' })).not.toEqual([]);
    }
  });

  it('of trouble is sent in that form', () => {
    const raised: unknown[] = [];
    let now = 1_795_383_600_000;
    let hasStatus = false;
    const status = { phase: 'serving' } as never;
    const watch = new AlertWatch({
      deployment: 'test',
      session: {
        get status() {
          return hasStatus ? status : undefined;
        },
      },
      freezes: { held: [] },
      credentials: { current: undefined, fault: undefined } as never,
      burst: { count: 3, seconds: 60 },
      now: () => timeMs(now),
      raise: ({ body }) => raised.push(JSON.parse(body)),
    });
    for (const answers of [false, true]) {
      hasStatus = answers;
      for (let look = 0; look < 10; look++) {
        watch.look();
        now += 600_000;
      }
    }
    const types = raised.map((alert) => (alert as { type: string }).type);
    expect(types).toContain('trouble.began');
    expect(types).toContain('trouble.ended');
    expect(raised.flatMap((alert) => contract.alertFaults(alert))).toEqual([]);
  });
});
