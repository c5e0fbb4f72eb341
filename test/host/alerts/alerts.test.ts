/** Alerts out of a live host, verified by the `standardwebhooks` package. */
import { alertOf } from '@quantumvault/host/alerts/alert.ts';
import { ALERT_EVENTS, type AlertEvent } from '@quantumvault/host/alerts/config.ts';
import { AlertDelivery, type AlertOutcome } from '@quantumvault/host/alerts/delivery.ts';
import { createLog, silentLog } from '@quantumvault/host/log.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { expectCode, expectProblem } from '../../support/codes.ts';
import { Refused } from '../../support/fake-enclave.ts';
import { temporaryFolder, until } from '../../support/temporary.ts';
import { Harness } from '../harness.ts';
import { Receiver } from './receiver.ts';

const secretOf = (value: number): string => `whsec_${toBase64(new Uint8Array(32).fill(value))}`;
const [NEW, OLD] = [secretOf(1), secretOf(2)];

describe('a host', () => {
  const host = new Harness();
  const receiver = new Receiver(NEW, OLD);
  const deaf = new Receiver(NEW);
  const quiet = new Receiver(NEW);

  beforeAll(async () => {
    const [url, deafUrl, quietUrl] = await Promise.all([receiver.start(), deaf.start(), quiet.start()]);
    deaf.hangs = true;
    host.moreConfig = () => {
      const secretsFile = host.writePrivate('alerts.txt', `# the next one first\n${NEW}\n${OLD}\n`);
      return {
        alerts: [
          { url, secretsFile },
          { url: deafUrl, secretsFile },
          { url: quietUrl, secretsFile, events: ['tampering'] },
        ],
        denialBurst: { count: 3, seconds: 60 },
      };
    };
    await host.start();
    await host.createWallet();
    await host.enablePolicy();
  });
  afterAll(async () => {
    await host.stop();
    for (const one of [receiver, deaf, quiet]) await one.close();
  });

  it('tells a burst of denials, and waits for nobody who does not answer', async () => {
    host.enclave.handlers.sign = () => {
      const receipt = host.enclave.leaf({ kind: 'denied', rule: 'sol.window', value: '9' });
      throw new Refused({ code: 'policy_denied', path: 'sol.window', value: '9', receipt });
    };
    for (const _ of [1, 2, 3, 4, 5]) await expectProblem(await host.sign(), 'policy_denied');
    delete host.enclave.handlers.sign;
    await until('somebody is told', () => receiver.of('denials.burst').length > 0);
    expect(receiver.of('denials.burst')).toMatchObject([
      { data: { deployment: 'test', wallet: host.wallet, count: 3, seconds: 60, rules: { 'sol.window': 3 } } },
    ]);
    await until('the other one was asked', () => deaf.requests.length > 0);
    expect((await host.sign()).status).toBe(200);
  });

  it('tells a row that somebody edited', async () => {
    const edit = (value: number) =>
      host.sql((database) => database.prepare('UPDATE wallets SET generation = generation + ?').run(value));
    edit(1);
    for (const _ of [1, 2]) await expectProblem(await host.sign(), 'row_tampered');
    edit(-1);
    await until('somebody is told', () => receiver.of('tampering.found').length > 0 && quiet.told.length > 0);
    expect(receiver.of('tampering.found')).toMatchObject([{ data: { wallet: host.wallet } }]);
    expect(quiet.told.map(({ type }) => type)).toEqual(['tampering.found']);
  });

  it('tells freezes and their ends, whichever way they came', async () => {
    const scope = `wallet:${host.wallet}`;
    await host.admin('freeze', { scope, reason: 'looks odd' });
    await until('somebody is told', () => receiver.of('freeze.latched').length > 0);
    expect(receiver.of('freeze.latched')).toMatchObject([{ data: { scope, reason: 'looks odd' } }]);
    // A restart tells it again, under the same id.
    await host.restartHost();
    await host.ready();
    await until('it is told again', () => receiver.of('freeze.latched').length > 1);
    const [first, again] = receiver.of('freeze.latched');
    expect(again?.id).toBe(first?.id);
    const freezeId = (await host.admin('status', {})).freezes[0]?.freezeId ?? '';
    const signatures = [{ key: host.owner.address, signature: toBase64(new Uint8Array(64)) }];
    await host.admin('resume', { scope, freezeId, signatures });
    await until('somebody is told', () => receiver.of('freeze.ended').length > 0);
    expect(receiver.of('freeze.ended')).toMatchObject([{ data: { scope } }]);
  });

  it('sends what the OpenAPI document describes', () => {
    expect(new Set(receiver.told.map(({ type }) => type)).size).toBeGreaterThan(3);
    expect(receiver.faults).toEqual([]);
  });

  it('says neither secrets nor the path of an endpoint in its log', () => {
    const log = host.logLines.join('');
    for (const secret of [NEW, OLD, 'key=hidden']) expect(log).not.toContain(secret);
  });
});

describe('delivery', () => {
  const receiver = new Receiver(NEW);
  const outcomes: AlertOutcome[] = [];
  const lines: string[] = [];
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let url: URL;
  let host: Harness;
  let delivery: AlertDelivery;

  const open = (events: readonly AlertEvent[] = ALERT_EVENTS): AlertDelivery =>
    new AlertDelivery(
      { url, secretsFile: host.writePrivate('secrets.txt', NEW), events },
      {
        field: 'alerts[0].secretsFile',
        log: createLog('info', { write: (line) => void lines.push(line) }),
        onOutcome: (outcome) => outcomes.push(outcome),
        retryMilliseconds: 5,
      },
    );
  const alert = (subject: string) => alertOf('test', 'freeze.latched', timeMs(Date.now()), { scope: 'fleet' }, subject);
  const ordinary = (subject: string) =>
    alertOf('test', 'tampering.found', timeMs(Date.now()), { what: 'row' }, subject);

  beforeAll(async () => {
    url = new URL(await receiver.start());
  });
  beforeEach(async () => {
    folder = await temporaryFolder();
    host = new Harness();
    host.folder = folder;
    receiver.told.length = 0;
    receiver.requests.length = 0;
    outcomes.length = 0;
    lines.length = 0;
    receiver.hangs = false;
    delivery = open();
  });
  afterEach(async () => {
    delivery.close();
    await folder.remove();
  });
  afterAll(() => receiver.close());

  it('tries again until somebody takes it, under one id, and follows no redirect', async () => {
    receiver.answers = [500, 302, 404, 429];
    delivery.send(alert('a'));
    delivery.send(alert('a'));
    await until('it is delivered', () => outcomes.includes('delivered'));
    expect(outcomes).toEqual(['retried', 'retried', 'retried', 'retried', 'delivered']);
    expect(new Set(receiver.requests.map(({ path }) => path))).toEqual(new Set(['/hook?key=hidden']));
    expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id']))).toEqual(new Set([alert('a').id]));
    expect(delivery.waiting).toBe(0);
    expect(lines.join('')).not.toContain('hidden');
  });

  it('one that is refused holds no other up', async () => {
    receiver.answers = [500];
    for (const subject of ['a', 'b', 'c', 'd', 'e', 'f']) delivery.send(alert(subject));
    await until('all are delivered', () => receiver.told.length === 6);
    expect(new Set(receiver.told.map(({ id }) => id)).size).toBe(6);
  });

  it('keeps so many and no more', () => {
    receiver.hangs = true;
    for (let count = 0; count < LIMITS.alertQueue + 3; count++) delivery.send(alert(String(count)));
    expect(delivery.waiting).toBe(LIMITS.alertQueue);
    expect(outcomes).toEqual(['dropped', 'dropped', 'dropped']);
    expect(delivery.close()).toBe(LIMITS.alertQueue);
    receiver.hangs = false;
  });

  it('gives up others for freezes, which stay bounded themselves', () => {
    receiver.hangs = true;
    for (let count = 0; count < LIMITS.alertQueue; count++) delivery.send(ordinary(String(count)));
    expect(outcomes).toEqual([]);
    delivery.send(alert('freeze'));
    expect(delivery.waiting).toBe(LIMITS.alertQueue);
    expect(outcomes).toEqual(['dropped']);
    expect(lines.at(-1)).toMatch(/"type":"tampering\.found".*made room for a freeze/);
    delivery.send(ordinary('one more'));
    expect(lines.at(-1)).toMatch(/"type":"tampering\.found".*too many wait/);
    for (let count = 0; count < LIMITS.alertQueue; count++) delivery.send(alert(String(count)));
    expect(delivery.waiting).toBe(LIMITS.alertQueue);
    // Those under way stay, and so that many of the freezes found no room.
    expect(lines.filter((line) => line.includes('"type":"freeze.latched"'))).toHaveLength(1 + LIMITS.alertDeliveries);
    expect(lines.at(-1)).toMatch(/"type":"freeze\.latched".*too many wait/);
    delivery.close();
  });

  it('tells freezes before what has waited for longer', async () => {
    for (let count = 0; count < 50; count++) delivery.send(ordinary(String(count)));
    delivery.send(alert('freeze'));
    await until('all are delivered', () => receiver.told.length === 51);
    const place = receiver.told.findIndex(({ type }) => type === 'freeze.latched');
    // Behind those under way, and what of them overtakes it.
    expect(place).toBeLessThan(3 * LIMITS.alertDeliveries);
  });

  it('sends what an endpoint asked for', () => {
    const other = open(['denials']);
    other.send(alert('a'));
    expect(other.waiting).toBe(0);
    other.close();
  });

  it('needs a file of secrets that nobody else can read', async () => {
    const secretsFile = host.writePrivate('bad.txt', 'whsec_short');
    const make = () =>
      new AlertDelivery({ url, secretsFile, events: ALERT_EVENTS }, { field: 'alerts[0].secretsFile', log: silentLog });
    expect((await expectCode(async () => make(), 'config_invalid')).facts.path).toBe('alerts[0].secretsFile');
  });
});

describe('configuration', () => {
  const host = new Harness();
  beforeAll(async () => {
    host.folder = await temporaryFolder();
  });
  afterAll(() => host.folder.remove());

  const good = { url: 'https://alerts.example/hook', secretsFile: '/etc/alerts' };
  const cases: [string, Record<string, unknown>][] = [
    ['alerts[0].url', { alerts: [{ ...good, url: 'ftp://alerts.example' }] }],
    ['alerts[0].url', { alerts: [{ ...good, url: 'https://user:pass@alerts.example' }] }],
    ['alerts[0].url', { alerts: [{ ...good, url: 'alerts.example' }] }],
    ['alerts[0].secretsFile', { alerts: [{ ...good, secretsFile: 'alerts' }] }],
    ['alerts[0].events', { alerts: [{ ...good, events: [] }] }],
    ['alerts[1].events', { alerts: [good, { ...good, events: ['freeze', 'freeze'] }] }],
    ['alerts[0].events', { alerts: [{ ...good, events: ['everything'] }] }],
    ['alerts[0].secret', { alerts: [{ ...good, secret: 'x' }] }],
    ['alerts', { alerts: Array.from({ length: LIMITS.alertEndpoints + 1 }, () => good) }],
    ['denialBurst.count', { denialBurst: { count: 0, seconds: 60 } }],
    ['denialBurst.count', { denialBurst: { count: 1_001, seconds: 60 } }],
    ['denialBurst.seconds', { denialBurst: { count: 1, seconds: 86_401 } }],
  ];
  it.each(cases)('names %s when it is wrong', async (path, more) => {
    host.moreConfig = () => more;
    expect((await expectCode(async () => host.config(), 'config_invalid')).facts.path).toBe(path);
  });

  it('has defaults', () => {
    host.moreConfig = () => ({ alerts: [good] });
    expect(host.config()).toMatchObject({
      alerts: [{ events: ALERT_EVENTS }],
      denialBurst: { count: 20, seconds: 60 },
    });
    host.moreConfig = () => ({});
    expect(host.config().alerts).toEqual([]);
  });
});
