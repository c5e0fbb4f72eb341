import { timeMs } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import {
  parseRequestId,
  parseSignBody,
  parseTimestamp,
  requireFresh,
  signedContent,
} from '@quantumvault/shared/protocol/sign-request.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';

const BODY = {
  purpose: 'qv/sign/v1',
  audience: 'prod',
  wallet: 'AXQZghs6Pm6C8JWSA8ASoHXemyetSLoGERrhTZKU1fbN',
  transaction: 'AAAA',
};
const parse = (body: unknown) => parseSignBody(utf8(JSON.stringify(body)));

describe('the signed body', () => {
  it('is read with and without dryRun', () => {
    expect(parse(BODY).dryRun).toBe(false);
    expect(parse({ ...BODY, dryRun: true })).toMatchObject({ dryRun: true, wallet: BODY.wallet, audience: 'prod' });
  });

  it.each([
    ['purpose_mismatch', { ...BODY, purpose: 'qv/sign-batch/v1' }],
    ['field_malformed', { ...BODY, extra: 1 }],
    ['field_malformed', { ...BODY, dryRun: 'false' }],
    ['field_malformed', { ...BODY, audience: 1 }],
    ['field_malformed', { ...BODY, transaction: undefined }],
    ['base58_malformed', { ...BODY, wallet: 'wallet' }],
    ['base64_malformed', { ...BODY, transaction: 'AAA' }],
    ['field_malformed', []],
  ] as const)('is refused with %s: %j', async (code, body) => {
    await expectCode(() => parse(body), code);
  });

  it('is refused when too large', async () => {
    await expectCode(() => parseSignBody(new Uint8Array(LIMITS.requestBodyBytes + 1)), 'body_too_large');
  });
});

describe('id and timestamp', () => {
  it.each(['', ' ', 'a b', 'ä', 'x'.repeat(65), 'a.b'])('refuse the id %j', async (id) => {
    await expectCode(() => parseRequestId(id), 'request_id_malformed');
  });

  it.each(['', '01', '-1', '1.5', '1e3', '0x10', ' 1', '9'.repeat(15)])('refuse the timestamp %j', async (text) => {
    await expectCode(() => parseTimestamp(text), 'request_timestamp_malformed');
  });

  it('are fresh within the window, both ends included', async () => {
    const now = timeMs(1_700_000_000_000);
    const at = (seconds: number) => timeMs(now + seconds * 1000);
    requireFresh(at(-LIMITS.requestMaxAgeSeconds), now);
    requireFresh(at(LIMITS.requestMaxFutureSeconds), now);
    await expectCode(() => requireFresh(at(-LIMITS.requestMaxAgeSeconds - 1), now), 'request_stale');
    await expectCode(() => requireFresh(at(LIMITS.requestMaxFutureSeconds + 1), now), 'request_stale');
  });

  it('stand before the body in what is signed', () => {
    expect(signedContent('id', '7', utf8('{}'))).toEqual(utf8('id.7.{}'));
  });
});
