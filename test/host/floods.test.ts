/** What anybody may ask without a limit of rate leaves room for everybody else. */
import { createRequire } from 'node:module';
import type { AppDeps } from '@quantumvault/host/app.ts';
import { DEFAULT_RATE_LIMITS } from '@quantumvault/host/rate-limits/config.ts';
import { RateLimits } from '@quantumvault/host/rate-limits/rate-limits.ts';
import { RemoteFreeze } from '@quantumvault/host/remote-freeze/remote-freeze.ts';
import { SlowSources } from '@quantumvault/host/remote-freeze/slow-sources.ts';
import { healthRoutes } from '@quantumvault/host/routes/health.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { expect, test } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { person } from './harness.ts';

type App = Parameters<typeof healthRoutes>[0];
type Asked = Parameters<RateLimits['byAddress']>;
/** The host's own. */
const fastify = createRequire(new URL('../../host/package.json', import.meta.url))('fastify') as () => App;

test('/readyz asks the database once for all who ask meanwhile, and again afterwards', async () => {
  const pings: (() => void)[] = [];
  const store = { ping: () => new Promise<void>((resolve) => pings.push(resolve)) };
  const deps = {
    store,
    session: { status: undefined, serving: true, hasRowKey: true },
    freezes: { stopping: () => undefined },
    credentials: { current: undefined, fault: undefined },
    now: () => timeMs(0),
  } as unknown as AppDeps;
  const app = fastify();
  healthRoutes(app, deps, undefined as unknown as RateLimits);
  await app.ready();
  for (const round of [1, 2]) {
    const answers = Array.from({ length: 100 }, () => app.inject('/readyz'));
    await expect.poll(() => pings.length).toBe(round);
    pings.at(-1)?.();
    for (const answer of await Promise.all(answers)) expect(answer.json().failing).toEqual(['credentials']);
    expect(pings).toHaveLength(round);
  }
  await app.close();
});

test('a flood of freeze orders keeps few lookups under way, and those beyond are judged without', async () => {
  let lookups = 0;
  let judged = 0;
  const release = Promise.withResolvers<undefined>();
  const remote = new RemoteFreeze({
    store: {
      getWallet: () => {
        lookups++;
        return release.promise;
      },
    },
    operators: {
      stepOf: () => {
        judged++;
        return undefined;
      },
    },
    sources: new SlowSources(),
    now: () => timeMs(0),
  } as unknown as ConstructorParameters<typeof RemoteFreeze>[0]);
  const order = (index: number) =>
    remote.bySupport(`192.0.2.${index % 200}`, {
      login: 'anna',
      code: '000000',
      scope: { wallet: person().address },
      reason: 'test',
    });
  const orders = Array.from({ length: LIMITS.remoteFreezeLookups }, (_, index) => order(index));
  await expectCode(order(150), 'freeze_credentials_invalid');
  expect([lookups, judged]).toEqual([LIMITS.remoteFreezeLookups, 1]);
  release.resolve(undefined);
  for (const waiting of orders) await expectCode(waiting, 'wallet_unknown');
  // There is room again.
  await expectCode(order(151), 'wallet_unknown');
  expect(lookups).toBe(LIMITS.remoteFreezeLookups + 1);
});

test('rate limits remember as many callers as the table of limits says, and no more', async () => {
  const app = fastify();
  const limits = new RateLimits(app, { ...DEFAULT_RATE_LIMITS, statements: 1 }, []);
  await app.ready();
  const reply = { getHeader: () => undefined, header: () => undefined } as unknown as Asked[1];
  const ask = (index: number): Promise<void> => {
    const remoteAddress = `10.${index >> 16}.${(index >> 8) & 0xff}.${index & 0xff}`;
    const request = { raw: { socket: { remoteAddress }, headers: {} }, routeOptions: {} } as unknown as Asked[0];
    return limits.byAddress(request, reply, 'statements');
  };
  await ask(0);
  for (let index = 1; index < LIMITS.rateLimitKeys; index++) await ask(index);
  await expectCode(ask(0), 'rate_limited');
  // Heard of just now, it stays; the one that was not makes room.
  await ask(LIMITS.rateLimitKeys);
  await expectCode(ask(0), 'rate_limited');
  await ask(1);
  await app.close();
});
