/** TradingView alerts: where the secret stands, what is kept, and what becomes the id. */
import { createHash } from 'node:crypto';
import { derivedId, readAlert } from '@quantumvault/host/webhooks/tradingview.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { REQUEST_ID } from '@quantumvault/shared/evidence/leaf.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';

const SECRET = 'correct-horse-battery';
const NEXT = 'the-next-one-of-them';
const hashes = [SECRET, NEXT].map((text) => Secret.take(createHash('sha256').update(text).digest()));
const PLAIN = { secretField: 'secret' };
const WITH_ID = { ...PLAIN, idField: 'id' };
const json = (value: unknown, source: Parameters<typeof readAlert>[0] = PLAIN) =>
  readAlert(source, hashes, utf8(typeof value === 'string' ? value : JSON.stringify(value)), true);
const text = (value: string) => readAlert(PLAIN, hashes, utf8(value), false);
const decoded = ({ content }: { content: Uint8Array }): string => new TextDecoder().decode(content);

describe('an alert in JSON', () => {
  it('is kept without its secret, whichever of them it is', () => {
    for (const secret of [SECRET, NEXT]) {
      const alert = json({ secret, side: 'buy', price: 1.5 });
      expect(alert.id).toBeUndefined();
      expect(decoded(alert)).toBe('{"side":"buy","price":1.5}');
    }
    expect(decoded(json(`{"secret":"\\u0063orrect-horse-battery","a":{"secret":"x"}}`))).toBe('{"a":{"secret":"x"}}');
  });

  it('without one of the secrets in its place is refused, always in the same way', async () => {
    const wrong = [{}, { secret: 'wrong' }, { secret: `${SECRET} ` }, { secret: null }, { secret: [SECRET] }];
    for (const value of [...wrong, { Secret: SECRET }, { a: { secret: SECRET } }, [SECRET], SECRET, null, 7])
      await expectCode(() => json(JSON.stringify(value)), 'webhook_secret_invalid');
    await expectCode(() => readAlert(PLAIN, [], utf8(`{"secret":"${SECRET}"}`), true), 'webhook_secret_invalid');
  });

  it('that two readers read differently is refused', async () => {
    for (const body of [`{"secret":"wrong","secret":"${SECRET}"}`, `{"secret":"${SECRET}","__proto__":{}}`, '{', ''])
      await expectCode(() => json(body), 'json_malformed');
  });

  it('that would print longer than a signal may be is refused', async () => {
    await expectCode(() => json(`{"secret":"${SECRET}","a":[${Array(300).fill('1e20').join()}]}`), 'body_too_large');
  });

  it('has the id that its own member says', async () => {
    expect(json({ secret: SECRET, id: 'BINANCE:BTCUSDT 2026-11-23T04:00:00Z' }, WITH_ID).id).toBe(
      'BINANCE_BTCUSDT_2026-11-23T04_00_00Z',
    );
    expect(json({ secret: SECRET, id: 4711 }, WITH_ID).id).toBe('4711');
    for (const id of ['', 'a'.repeat(65), 1.5, null, {}, undefined])
      await expectCode(() => json({ secret: SECRET, id }, WITH_ID), 'field_malformed');
    // Nothing is said of the id to who has no secret.
    await expectCode(() => json({ secret: 'wrong' }, WITH_ID), 'webhook_secret_invalid');
  });
});

describe('an alert in plain text', () => {
  it('has the secret as its first line, which is not kept', () => {
    expect(decoded(text(`${SECRET}\nBTCUSDT crossed\nbuy`))).toBe('BTCUSDT crossed\nbuy');
    expect(decoded(text(`${NEXT}\r\nbuy`))).toBe('buy');
    expect(decoded(text(SECRET))).toBe('');
    expect(decoded(text(`${SECRET}\n`))).toBe('');
  });

  it('without it there is refused', async () => {
    for (const value of ['', '\n', ` ${SECRET}`, `buy\n${SECRET}`, `${SECRET} buy`, `{"secret":"${SECRET}"}`])
      await expectCode(() => text(value), 'webhook_secret_invalid');
  });

  it('has no member to be its id', async () => {
    await expectCode(() => readAlert(WITH_ID, hashes, utf8(SECRET), false), 'field_malformed');
    await expectCode(() => readAlert(WITH_ID, hashes, utf8('wrong'), false), 'webhook_secret_invalid');
  });
});

it('an alert without an id gets one of its content and time', () => {
  const at = timeMs(1_795_383_600_123);
  const id = derivedId(utf8('buy'), at);
  expect(id).toMatch(REQUEST_ID);
  expect(derivedId(utf8('buy'), at)).toBe(id);
  expect(derivedId(utf8('sell'), at)).not.toBe(id);
  expect(derivedId(utf8('buy'), timeMs(at + 1))).not.toBe(id);
});
