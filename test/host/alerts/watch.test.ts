/** What becomes an alert and what does not, moment by moment. */
import type { Alert } from '@quantumvault/host/alerts/alert.ts';
import { AlertWatch } from '@quantumvault/host/alerts/watch.ts';
import type { Credentials } from '@quantumvault/host/credentials.ts';
import type { FreezeRecord } from '@quantumvault/host/store/store.ts';
import { type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { beforeEach, describe, expect, it } from 'vitest';
import { key } from '../store-fixtures.ts';

const LASTS = LIMITS.troubleMilliseconds;

let now: TimeMs;
let status: Partial<ReplyOf<'status'>> | undefined;
let held: FreezeRecord[];
let current: Credentials | undefined;
let fault: ErrorCode | undefined;
let raised: Alert[];
let watch: AlertWatch;

const makeWatch = (): AlertWatch =>
  new AlertWatch({
    deployment: 'test',
    session: {
      get status() {
        return status as ReplyOf<'status'> | undefined;
      },
    },
    freezes: {
      get held() {
        return held;
      },
    },
    credentials: {
      get current() {
        return current;
      },
      get fault() {
        return fault;
      },
      close: () => undefined,
    },
    burst: { count: 3, seconds: 60 },
    now: () => now,
    raise: (alert) => raised.push(alert),
  });

beforeEach(() => {
  now = timeMs(1_790_000_000_000);
  status = { phase: 'serving', boot: key(1) as never, kmsFailures: 5n, attestationAgeSeconds: 10, timeAgeSeconds: 10 };
  held = [];
  current = { version: 1, body: { accessKeyId: new Uint8Array(1), secretAccessKey: new Uint8Array(1) } };
  fault = undefined;
  raised = [];
  watch = makeWatch();
});

const pass = (milliseconds: number): void => {
  now = timeMs(now + milliseconds);
};
const data = (alert: Alert | undefined) => (JSON.parse(alert?.body ?? '{}') as { data: object }).data;
const types = (): string[] => raised.map(({ type }) => type);

describe('freezes', () => {
  const record = (scope: string, at = 0): FreezeRecord => ({ scope, reason: 'why', latchedAt: timeMs(now + at) });

  it('are told when they come and when they go, once', () => {
    held = [record('fleet'), record(`wallet:${key(2)}`)];
    for (const _ of [1, 2, 3]) watch.look();
    expect(types()).toEqual(['freeze.latched', 'freeze.latched']);
    expect(data(raised[0])).toMatchObject({ deployment: 'test', scope: 'fleet', reason: 'why' });
    held = held.slice(1).map((one) => ({ ...one, freezeId: new Uint8Array(16) }));
    for (const _ of [1, 2]) watch.look();
    expect(types().slice(2)).toEqual(['freeze.ended']);
    expect(data(raised[2])).toMatchObject({ scope: 'fleet' });
    expect(new Set(raised.map(({ id }) => id)).size).toBe(3);
  });

  it('that come again are told again; a restarted host tells the same under the same id', () => {
    held = [record('fleet')];
    watch.look();
    held = [record('fleet', 5_000)];
    watch.look();
    expect(types()).toEqual(['freeze.latched', 'freeze.latched', 'freeze.ended']);
    makeWatch().look();
    expect(raised[3]?.id).toBe(raised[1]?.id);
    expect(raised[3]?.id).not.toBe(raised[0]?.id);
  });
});

describe('trouble', () => {
  const cases: [string, () => void, string][] = [
    ['enclave', () => (status = undefined), 'unreachable'],
    ['enclave', () => (status = { ...status, phase: 'booting' }), 'booting'],
    ['attestation', () => (status = { ...status, attestationAgeSeconds: 301 }), '301 s old'],
    ['time', () => (status = { ...status, timeAgeSeconds: 61 }), '61 s old'],
    ['credentials', () => (current = undefined), 'missing'],
    ['credentials', () => (fault = 'config_invalid'), 'config_invalid'],
  ];
  it.each(cases)('of %s is told once it lasts, and its end once that lasts', (trouble, begin, what) => {
    const [good, goodCredentials] = [status, current];
    begin();
    watch.look();
    pass(LASTS - 1);
    watch.look();
    expect(raised).toEqual([]);
    pass(1);
    watch.look();
    pass(LASTS);
    watch.look();
    expect(types()).toEqual(['trouble.began']);
    expect(data(raised[0])).toMatchObject({ trouble, what });
    [status, current, fault] = [good, goodCredentials, undefined];
    pass(LASTS - 1);
    watch.look();
    expect(raised.length).toBe(1);
    pass(1);
    watch.look();
    expect(types()).toEqual(['trouble.began', 'trouble.ended']);
    expect(data(raised[1])).toMatchObject({ trouble });
  });

  it('that passes at once is nobody’s business', () => {
    const good = status;
    status = undefined;
    watch.look();
    pass(LASTS - 1);
    status = good;
    watch.look();
    pass(5 * LASTS);
    status = undefined;
    watch.look();
    expect(raised).toEqual([]);
  });

  it('with KMS is told with the first call that fails, for each boot by itself', () => {
    watch.look();
    status = { ...status, boot: key(3) as never, kmsFailures: 9n };
    watch.look();
    expect(raised).toEqual([]);
    status = { ...status, kmsFailures: 11n };
    watch.look();
    status = { ...status, kmsFailures: 12n };
    pass(1_000);
    watch.look();
    expect(types()).toEqual(['trouble.began']);
    expect(data(raised[0])).toMatchObject({ trouble: 'kms', what: '2 failed calls' });
    pass(LASTS);
    watch.look();
    expect(types()).toEqual(['trouble.began', 'trouble.ended']);
  });
});

describe('denials', () => {
  const deny = (wallet = key(2), rule = 'sol.window'): void =>
    watch.denied({ at: now, wallet, requester: key(4), rule, value: '1' });

  it('of one wallet within the window are a burst, told once for its length', () => {
    deny();
    deny(key(3));
    deny(key(2), 'rate.perMinute');
    deny(key(3));
    expect(raised).toEqual([]);
    for (const _ of Array.from({ length: 10 })) deny();
    expect(types()).toEqual(['denials.burst']);
    expect(data(raised[0])).toMatchObject({
      wallet: key(2),
      count: 3,
      seconds: 60,
      rules: { 'sol.window': 2, 'rate.perMinute': 1 },
    });
    pass(60_000);
    for (const _ of [1, 2]) deny();
    expect(raised.length).toBe(1);
    deny();
    expect(raised.length).toBe(2);
  });

  it('that lie further apart are none', () => {
    for (const _ of Array.from({ length: 20 })) {
      deny();
      pass(30_000);
    }
    expect(raised).toEqual([]);
  });
});

it('an edited row is told once in a while for each wallet', () => {
  for (const wallet of [key(1), key(1), undefined, key(2), undefined]) watch.tampered(wallet);
  expect(raised.map((alert) => data(alert))).toMatchObject([{ wallet: key(1) }, { wallet: null }, { wallet: key(2) }]);
  pass(LIMITS.tamperingRepeatMilliseconds);
  watch.tampered(key(1));
  expect(raised.length).toBe(4);
});
