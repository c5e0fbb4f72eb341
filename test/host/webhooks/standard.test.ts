/** Standard Webhooks: interoperation with the standardwebhooks package on both ends, and what is refused. */
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import {
  asymmetricSignature,
  isSymmetricallySigned,
  parseStandardHeaders,
  signWebhook,
} from '@quantumvault/host/webhooks/standard.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import fc from 'fast-check';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';

const secretOf = (value: number): Uint8Array => new Uint8Array(24).fill(value);
const kept = (...secrets: Uint8Array[]): Secret[] => secrets.map((secret) => Secret.take(Uint8Array.from(secret)));
const theirs = (secret: Uint8Array): Webhook => new Webhook(`whsec_${toBase64(secret)}`);
const headersOf = (id: string, timestamp: number, signature: string) => ({
  'webhook-id': id,
  'webhook-timestamp': String(timestamp),
  'webhook-signature': signature,
});
const NOW = 1_795_383_600;
const BODY = '{"type":"order.filled","data":{"side":"buy","note":"ü"}}';

describe('the standardwebhooks package and this host', () => {
  it('what it signs, we verify', () => {
    const text = fc.oneof(fc.json(), fc.string({ unit: 'grapheme' }));
    const id = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
    const key = fc.uint8Array({ minLength: 24, maxLength: 64 });
    fc.assert(
      fc.property(id, key, fc.nat(4_000_000_000), text, (name, secret, seconds, body) => {
        const headers = headersOf(name, seconds, theirs(secret).sign(name, new Date(seconds * 1000), body));
        const parsed = parseStandardHeaders(headers);
        expect(isSymmetricallySigned(kept(secret), parsed, utf8(body))).toBe(true);
        expect(isSymmetricallySigned(kept(secretOf(0)), parsed, utf8(body))).toBe(false);
        expect(isSymmetricallySigned(kept(secret), parsed, utf8(`${body} `))).toBe(false);
      }),
    );
  });

  it('what we sign, it verifies, under each of the secrets', () => {
    const timestamp = timeMs(Math.floor(Date.now() / 1000) * 1000 + 7);
    const [next, last] = [secretOf(1), secretOf(2)];
    const headers = signWebhook(kept(next, last), { id: 'msg_1', timestamp, body: BODY });
    for (const secret of [next, last]) {
      expect(theirs(secret).verify(BODY, { ...headers })).toEqual(JSON.parse(BODY));
    }
    expect(() => theirs(secretOf(3)).verify(BODY, { ...headers })).toThrow(WebhookVerificationError);
    expect(() => theirs(next).verify(BODY.replace('buy', 'sell'), { ...headers })).toThrow(WebhookVerificationError);
    const bytes = signWebhook(kept(next), { id: 'msg_1', timestamp, body: utf8(BODY) });
    expect(bytes['webhook-signature']).toBe(headers['webhook-signature'].split(' ')[0]);
  });

  it('sign and verify the example of the specification', () => {
    // The library's own documentation, and the specification's: the same in every implementation.
    const secret = Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64');
    const body = '{"test": 2432232314}';
    const headers = signWebhook(kept(secret), {
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      timestamp: timeMs(1_614_265_330_000),
      body,
    });
    expect(headers['webhook-signature']).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
    expect(isSymmetricallySigned(kept(secret), parseStandardHeaders({ ...headers }), utf8(body))).toBe(true);
  });

  it('an id of ours is one that we would take', async () => {
    const message = { timestamp: timeMs(NOW * 1000), body: '' };
    for (const id of ['', 'a.b', 'a b', 'a'.repeat(65)])
      await expectCode(() => signWebhook(kept(secretOf(1)), { id, ...message }), 'request_id_malformed');
  });
});

describe('signatures of several', () => {
  const signature = (secret: Uint8Array): string => theirs(secret).sign('m', new Date(NOW * 1000), BODY);
  const parsed = (...signatures: string[]) => parseStandardHeaders(headersOf('m', NOW, signatures.join(' ')));

  it('one is enough: of old and new secret, and of other versions', () => {
    const [old, next] = [secretOf(1), secretOf(2)];
    expect(isSymmetricallySigned(kept(next), parsed(signature(old), signature(next)), utf8(BODY))).toBe(true);
    expect(isSymmetricallySigned(kept(old, next), parsed(signature(next)), utf8(BODY))).toBe(true);
    expect(isSymmetricallySigned(kept(old), parsed('v9,whatever', signature(old)), utf8(BODY))).toBe(true);
    expect(isSymmetricallySigned(kept(old), parsed(signature(next)), utf8(BODY))).toBe(false);
    expect(isSymmetricallySigned(kept(), parsed(signature(next)), utf8(BODY))).toBe(false);
  });

  it('Ed25519 tells which one it was', async () => {
    const keys = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')] as const;
    const by = (key: KeyObject): Buffer => sign(null, utf8(`m.${NOW}.${BODY}`), key);
    const [first, second] = keys.map(({ privateKey }) => by(privateKey)) as [Buffer, Buffer];
    const publics = keys.map(({ publicKey }) => createPublicKey(publicKey.export({ format: 'pem', type: 'spki' })));
    const headers = parsed(`v1a,${toBase64(first)}`, `v1a,${toBase64(second)}`);
    expect(await asymmetricSignature(publics, headers, utf8(BODY))).toEqual(Uint8Array.from(first));
    expect(await asymmetricSignature(publics.slice(1), headers, utf8(BODY))).toEqual(Uint8Array.from(second));
    expect(await asymmetricSignature(publics, headers, utf8(`${BODY}\n`))).toBeUndefined();
    expect(await asymmetricSignature([], headers, utf8(BODY))).toBeUndefined();
    const other = parsed(`v1a,${toBase64(by(generateKeyPairSync('ed25519').privateKey))}`);
    expect(await asymmetricSignature(publics, other, utf8(BODY))).toBeUndefined();
    // A symmetric one never stands in for it.
    expect(await asymmetricSignature(publics, parsed(signature(secretOf(1))), utf8(BODY))).toBeUndefined();
  });
});

describe('headers', () => {
  const v1 = `v1,${toBase64(new Uint8Array(32))}`;
  const v1a = `v1a,${toBase64(new Uint8Array(64))}`;

  it.each([
    ['none', undefined],
    ['an empty one', ''],
    ['only other versions', 'v2,AAAA v0,AAAA'],
    ['no base64', 'v1,****'],
    ['base64 that is not canonical', v1.replace(/A=$/, 'B=')],
    ['an HMAC of 31 bytes', `v1,${toBase64(new Uint8Array(31))}`],
    ['an Ed25519 signature of 63 bytes', `v1a,${toBase64(new Uint8Array(63))}`],
    ['nine', Array(9).fill(v1).join(' ')],
    ['three of Ed25519', Array(3).fill(v1a).join(' ')],
    ['a very long one', `${v1} v9,${'A'.repeat(1_100)}`],
    ['two headers, as Node joins them', `${v1}, ${v1}`],
  ])('with %s as webhook-signature', async (_, signature) => {
    const headers = { ...headersOf('m', NOW, ''), 'webhook-signature': signature };
    await expectCode(() => parseStandardHeaders(headers), 'webhook_signature_malformed');
  });

  it('with an id or a timestamp of another form', async () => {
    for (const id of ['', 'a.b', 'a, b', 'a'.repeat(65), '../x'])
      await expectCode(() => parseStandardHeaders(headersOf(id, NOW, v1)), 'request_id_malformed');
    for (const timestamp of ['', '01', '1e9', '-1', '1.5', '0x10', '99999999999999', '1, 1']) {
      const headers = { ...headersOf('m', NOW, v1), 'webhook-timestamp': timestamp };
      await expectCode(() => parseStandardHeaders(headers), 'request_timestamp_malformed');
    }
  });

  it('of all forms that count', () => {
    const { symmetric, asymmetric } = parseStandardHeaders(headersOf('m', NOW, `${v1} ${v1a} v7,x ${v1}`));
    expect([symmetric.length, asymmetric.length]).toEqual([2, 1]);
  });
});
