import { GenerateRandomCommand } from '@aws-sdk/client-kms';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authenticate, type HttpRequest, type Principal } from './kms/sigv4.ts';
import { createSimulatedRoot } from './nsm/root.ts';
import { type RawOptions, rawCall } from './raw-kms.ts';
import { ADMIN, ENCLAVE, refusal, type TestKms, testKms } from './support.ts';

const MINUTE = 60_000;
const RANDOM = new GenerateRandomCommand({ NumberOfBytes: 1 });
let local: TestKms;

beforeAll(async () => {
  local = await testKms(createSimulatedRoot().certificateDer);
});

afterAll(() => local.close());

async function send(principal: Principal, options: RawOptions = {}): Promise<string> {
  return (await rawCall(local.kms, principal, 'GenerateRandom', { NumberOfBytes: 1 }, options)).type;
}

/** Sends the request changed after it was signed. */
const changed =
  (change: (headers: Record<string, string>) => void): NonNullable<RawOptions['tamper']> =>
  (headers, body) => {
    change(headers);
    return body;
  };

it('takes what the SDK signs, with and without a session token', async () => {
  for (const principal of [ADMIN, ENCLAVE]) {
    expect((await local.client(principal).send(RANDOM)).Plaintext).toHaveLength(1);
    expect(await send(principal)).toBe('');
  }
});

it('verifies the example of the signature test suite', () => {
  // AWS Signature Version 4 test suite, "post-vanilla"; its service is not ours, so only that check may refuse.
  const secretAccessKey = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY';
  const principal = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey, arn: '' };
  const request: HttpRequest = {
    method: 'POST',
    path: '/',
    body: new Uint8Array(),
    headers: {
      host: 'example.amazonaws.com',
      'x-amz-date': '20150830T123600Z',
      authorization:
        'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ' +
        'SignedHeaders=host;x-amz-date, ' +
        'Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
    },
  };
  const signing = { region: 'us-east-1', now: Date.parse('2015-08-30T12:36:00Z'), principals: [principal] };
  expect(authenticate(request, { ...signing, service: 'service' })).toBe(principal);
  expect(() => authenticate(request, signing)).toThrow('correct service');
});

describe('refuses', () => {
  it('a call without a signature', async () => {
    const tamper = changed((headers) => {
      delete headers['authorization'];
    });
    expect(await send(ADMIN, { tamper })).toBe('MissingAuthenticationTokenException');
  });

  it('an incomplete one', async () => {
    for (const authorization of ['Bearer x', 'AWS4-HMAC-SHA256 Credential=AKIAADMIN']) {
      const tamper = changed((headers) => {
        headers['authorization'] = authorization;
      });
      expect(await send(ADMIN, { tamper })).toBe('IncompleteSignatureException');
    }
    const undated = changed((headers) => {
      delete headers['x-amz-date'];
    });
    expect(await send(ADMIN, { tamper: undated })).toBe('IncompleteSignatureException');
  });

  it('an unknown access key', async () => {
    const unknown = { ...ADMIN, accessKeyId: 'AKIANOBODY' };
    expect((await refusal(local.client(unknown).send(RANDOM))).name).toBe('UnrecognizedClientException');
  });

  it('a wrong secret', async () => {
    const wrong = { ...ADMIN, secretAccessKey: 'another' };
    expect((await refusal(local.client(wrong).send(RANDOM))).name).toBe('InvalidSignatureException');
  });

  it('a body, a target or a host other than the signed ones', async () => {
    expect(await send(ADMIN, { tamper: (_headers, body) => `${body} ` })).toBe('InvalidSignatureException');
    for (const [name, value] of [
      ['x-amz-target', 'TrentService.ListKeys'],
      ['host', 'elsewhere'],
      ['x-amz-extra', 'unsigned'],
      ['x-amz-content-sha256', '0'.repeat(64)],
    ] as const) {
      const tamper = changed((headers) => {
        headers[name] = value;
      });
      expect(await send(ADMIN, { tamper })).toBe('InvalidSignatureException');
    }
  });

  it('a flipped signature', async () => {
    const tamper = changed((headers) => {
      const signed = headers['authorization'] ?? '';
      headers['authorization'] = signed.slice(0, -1) + (signed.endsWith('0') ? '1' : '0');
    });
    expect(await send(ADMIN, { tamper })).toBe('InvalidSignatureException');
  });

  it('the scope of another region, service or day', async () => {
    expect(await send(ADMIN, { region: 'eu-west-1' })).toBe('InvalidSignatureException');
    expect(await send(ADMIN, { service: 's3' })).toBe('InvalidSignatureException');
    const tamper = changed((headers) => {
      headers['x-amz-date'] = `20200101${(headers['x-amz-date'] ?? '').slice(8)}`;
    });
    expect(await send(ADMIN, { tamper })).toBe('InvalidSignatureException');
  });

  it('a date more than five minutes off, either way', async () => {
    const at = (milliseconds: number) => send(ADMIN, { date: new Date(Date.now() + milliseconds) });
    expect(await at(-4.9 * MINUTE)).toBe('');
    expect(await at(4.9 * MINUTE)).toBe('');
    expect(await at(-5.1 * MINUTE)).toBe('InvalidSignatureException');
    expect(await at(5.1 * MINUTE)).toBe('InvalidSignatureException');
  });

  it('a session token that is missing, wrong or not asked for', async () => {
    const { sessionToken: _dropped, ...without } = ENCLAVE;
    expect(await send(without)).toBe('UnrecognizedClientException');
    expect(await send({ ...ENCLAVE, sessionToken: 'another' })).toBe('UnrecognizedClientException');
    expect(await send({ ...ADMIN, sessionToken: 'surplus' })).toBe('UnrecognizedClientException');
  });

  it('an expired session', async () => {
    const expired = { ...ENCLAVE, expires: new Date(Date.now() - 1000).toISOString() };
    const valid = { ...ADMIN, expires: new Date(Date.now() + MINUTE).toISOString() };
    local.kms.principals = [expired, valid];
    expect((await refusal(local.client(ENCLAVE).send(RANDOM))).name).toBe('ExpiredTokenException');
    expect(await send(valid)).toBe('');
    local.kms.principals = [ENCLAVE, ADMIN];
  });
});

it('lets the SDK correct a wrong clock, as AWS does', async () => {
  const client = local.client(ADMIN, { systemClockOffset: -10 * MINUTE, maxAttempts: 3 });
  expect((await client.send(RANDOM)).Plaintext).toHaveLength(1);
});

it('rotates credentials while it runs', async () => {
  const fresh = { ...ENCLAVE, accessKeyId: 'ASIAFRESH', secretAccessKey: 'fresh', sessionToken: 'fresh-token' };
  local.kms.principals = [fresh];
  expect(await send(ENCLAVE)).toBe('UnrecognizedClientException');
  expect(await send(fresh)).toBe('');
  local.kms.principals = [ENCLAVE, ADMIN];
});
