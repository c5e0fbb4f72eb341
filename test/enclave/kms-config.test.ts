/** `kms` of the measured configuration: several keys, and the tunnels that lead to their endpoints. */
import { parseKms } from '@quantumvault/enclave/kms-config.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { JsonFields } from '@quantumvault/shared/json.ts';
import { tunnelAddress } from '@quantumvault/shared/ports.ts';
import { describe, expect, it } from 'vitest';

const ACCOUNT = '123456789012';
const MRK = 'mrk-0123456789abcdef0123456789abcdef';
const arn = (region: string, id: string, account = ACCOUNT): string => `arn:aws:kms:${region}:${account}:key/${id}`;
const uuid = (last: number): string => `00000000-0000-4000-8000-00000000000${last}`;
const at = (region: string): string => `https://kms.${region}.amazonaws.com`;
const key = (region: string, id: string, more: Record<string, unknown> = {}) => ({
  keyArn: arn(region, id),
  endpoint: at(region),
  ...more,
});
const rootCertificates = ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'];
const MULTI = key('eu-central-1', MRK);
const SINGLE = key('eu-central-1', uuid(0));

const parse = (kms: Record<string, unknown>) =>
  parseKms(new JsonFields({ kms: { rootCertificates, ...kms } } as never));

describe('addresses of tunnels', () => {
  it('are the first one’s, and those behind it', () => {
    const vsock = { kind: 'vsock', cid: 3, port: 5002 } as const;
    expect(tunnelAddress(vsock, 0)).toEqual(vsock);
    expect(tunnelAddress(vsock, 7)).toEqual({ ...vsock, port: 5009 });
    const unix = { kind: 'unix', path: '/run/tunnel.sock' } as const;
    expect([tunnelAddress(unix, 0), tunnelAddress(unix, 2)]).toEqual([
      unix,
      { kind: 'unix', path: '/run/tunnel.sock.2' },
    ]);
  });
});

describe('keys of KMS', () => {
  it('one alone is the current one, at the first tunnel', () => {
    const { keyArn, keys } = parse(SINGLE);
    expect(keyArn).toBe(SINGLE.keyArn);
    expect(keys).toEqual([
      { keyArn, use: 'current', region: 'eu-central-1', endpoint: new URL(SINGLE.endpoint), tunnel: 0 },
    ]);
  });

  it('are asked in one order: the current one, its replicas, those before', () => {
    const previous = [key('eu-central-1', uuid(1)), key('us-east-1', uuid(2))];
    const { keys } = parse({ ...MULTI, previous, replicas: [key('eu-north-1', MRK), key('us-east-1', MRK)] });
    expect(keys.map(({ keyArn, use, region, tunnel }) => [keyArn, use, region, tunnel])).toEqual([
      [arn('eu-central-1', MRK), 'current', 'eu-central-1', 0],
      [arn('eu-north-1', MRK), 'replica', 'eu-north-1', 1],
      [arn('us-east-1', MRK), 'replica', 'us-east-1', 2],
      // The same endpoints as before, and so the same tunnels.
      [arn('eu-central-1', uuid(1)), 'previous', 'eu-central-1', 0],
      [arn('us-east-1', uuid(2)), 'previous', 'us-east-1', 2],
    ]);
  });

  it('the second one is asked last, for what is sealed under it', () => {
    const second = { ...key('us-east-2', uuid(9)), keyArn: arn('us-east-2', uuid(9), '999999999999') };
    const { keys } = parse({ ...SINGLE, previous: [key('us-east-1', uuid(1))], second });
    expect(keys.map(({ use, tunnel }) => [use, tunnel])).toEqual([
      ['current', 0],
      ['previous', 1],
      ['second', 2],
    ]);
    // Another account alone is enough, and so is another Region: at the same endpoint, and at another one.
    const sameRegion = parse({
      ...SINGLE,
      second: { ...SINGLE, keyArn: arn('eu-central-1', uuid(9), '999999999999') },
    });
    expect(sameRegion.keys.map(({ tunnel }) => tunnel)).toEqual([0, 0]);
    expect(parse({ ...SINGLE, second: key('us-east-2', uuid(9)) }).keys).toHaveLength(2);
  });

  it('tunnels can be numbered, so that two images agree; the others take what is free', () => {
    const previous = [key('us-east-1', uuid(2), { tunnel: 0 }), key('us-west-2', uuid(3))];
    const { keys } = parse({ ...SINGLE, tunnel: 2, previous });
    expect(keys.map(({ tunnel }) => tunnel)).toEqual([2, 0, 1]);
  });

  const many = (count: number) => Array.from({ length: count }, (_, index) => key(`r-${index}`, uuid(index)));

  it.each([
    ['previous', 'nothing in a list', { ...SINGLE, previous: [] }],
    ['replicas', 'nothing in a list', { ...MULTI, replicas: [] }],
    ['previous', 'no list', { ...SINGLE, previous: key('us-east-1', uuid(1)) }],
    ['previous', 'too many', { ...SINGLE, previous: many(5) }],
    ['previous[0].keyArn', 'an alias', { ...SINGLE, previous: [key('us-east-1', uuid(1), { keyArn: 'alias/a' })] }],
    ['previous[0].keyArn', 'the current key', { ...SINGLE, previous: [SINGLE] }],
    ['previous[1].keyArn', 'a key twice', { ...SINGLE, previous: [key('a', uuid(1)), key('a', uuid(1))] }],
    ['previous[0].endpoint', 'plain HTTP', { ...SINGLE, previous: [key('a', uuid(1), { endpoint: 'http://a.b' })] }],
    ['previous[0].endpoint', 'nothing', { ...SINGLE, previous: [{ keyArn: arn('a', uuid(1)) }] }],
    [
      'previous[0].endpoint',
      'that of another Region',
      { ...SINGLE, previous: [key('a', uuid(1), { endpoint: at('eu-central-1') })] },
    ],
    ['previous[0].extra', 'an unknown field', { ...SINGLE, previous: [key('a', uuid(1), { extra: 1 })] }],
    ['previous[0].tunnel', 'a number out of range', { ...SINGLE, previous: [key('a', uuid(1), { tunnel: 8 })] }],
    ['previous[0].tunnel', 'half a number', { ...SINGLE, previous: [key('a', uuid(1), { tunnel: 0.5 })] }],
    [
      'previous[0].tunnel',
      'another endpoint’s',
      { ...SINGLE, tunnel: 3, previous: [key('a', uuid(1), { tunnel: 3 })] },
    ],
    [
      'previous[1].tunnel',
      'two for one endpoint',
      { ...SINGLE, previous: [key('a', uuid(1), { tunnel: 3 }), key('a', uuid(2), { tunnel: 4 })] },
    ],
    [
      'previous[3].endpoint',
      'more endpoints than tunnels',
      { ...key('eu-central-1', MRK), replicas: [1, 2, 3, 4].map((n) => key(`s-${n}`, MRK)), previous: many(4) },
    ],
    ['keyArn', 'a replica of a key of one Region', { ...SINGLE, replicas: [key('eu-north-1', MRK)] }],
    [
      'replicas[0].keyArn',
      'another multi-Region key',
      { ...MULTI, replicas: [key('eu-north-1', MRK.replace('0', 'f'))] },
    ],
    [
      'replicas[0].keyArn',
      'one of another account',
      { ...MULTI, replicas: [{ ...key('eu-north-1', MRK), keyArn: arn('eu-north-1', MRK, '999999999999') }] },
    ],
    [
      'replicas[0].keyArn',
      'one of another partition',
      { ...MULTI, replicas: [{ ...key('cn-north-1', MRK), keyArn: arn('cn-north-1', MRK).replace('aws', 'aws-cn') }] },
    ],
    ['replicas[0].keyArn', 'itself', { ...MULTI, replicas: [MULTI] }],
    ['second.keyArn', 'of the same account and Region', { ...SINGLE, second: key('eu-central-1', uuid(9)) }],
    ['second.keyArn', 'a replica of the current one', { ...MULTI, second: key('eu-north-1', MRK) }],
    ['second.keyArn', 'the current one', { ...SINGLE, second: SINGLE }],
    ['second.keyArn', 'one of before', { ...SINGLE, previous: [key('a', uuid(1))], second: key('a', uuid(1)) }],
    ['second.extra', 'an unknown field', { ...SINGLE, second: key('a', uuid(1), { extra: 1 }) }],
    ['second', 'a list', { ...SINGLE, second: [key('a', uuid(1))] }],
    ['keys', 'a member of ours', { ...SINGLE, keys: [] }],
  ])('kms.%s is refused when it is %s', (path, _, kms) => {
    let caught: unknown;
    try {
      parse(kms);
    } catch (error) {
      caught = error;
    }
    // What JsonFields finds is named config_invalid by parseEnclaveConfig.
    expect(['config_invalid', 'field_malformed']).toContain(codeOf(caught));
    expect((caught as { facts: { path?: string } }).facts.path).toBe(`kms.${path}`);
  });
});
