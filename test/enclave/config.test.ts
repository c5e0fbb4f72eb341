import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnclaveConfig } from '@quantumvault/enclave/config.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { formatVerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';

const KEYS = [
  'A33DLsX9NtxMY6vBKWCfu52gKnb3xdVBZr6KDbhQwN9q',
  '2CFnHtiWX7NV2SxGmBcb4PNRu9rTcs4h65QLvicfRmyg',
  'AXQZghs6Pm6C8JWSA8ASoHXemyetSLoGERrhTZKU1fbN',
];

function config(): Record<string, unknown> {
  return {
    version: 1,
    deployment: 'prod-eu-1',
    logOrigin: 'example.com/qv/prod-eu-1',
    kms: {
      keyArn: 'arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab',
      endpoint: 'https://kms.eu-central-1.amazonaws.com',
      rootCertificates: ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
    },
    parentCid: 3,
    operators: { threshold: 2, keys: KEYS },
  };
}

const parse = (value: unknown) => parseEnclaveConfig(utf8(JSON.stringify(value)));

/** The config with one member, named by its path, replaced. Undefined removes it. */
function changed(path: string, value: unknown): Record<string, unknown> {
  const root = config();
  const keys = path.split('.');
  let at = root;
  for (const key of keys.slice(0, -1)) at = at[key] as Record<string, unknown>;
  at[keys.at(-1) ?? ''] = value;
  return root;
}

describe('the example', () => {
  it('is a configuration, with the roots that its README states', () => {
    const folder = join(import.meta.dirname, '..', '..', 'enclave', 'config');
    const parsed = parseEnclaveConfig(new Uint8Array(readFileSync(join(folder, 'example.json'))));
    const stated = readFileSync(join(folder, 'README.md'), 'utf8').match(/`[0-9a-f]{64}`/g);
    const roots = parsed.kms.rootCertificates.map((pem) => new X509Certificate(pem));
    expect(roots.every((root) => root.ca && /O=Amazon\n/.test(root.subject))).toBe(true);
    expect(roots.map((root) => `\`${root.fingerprint256.replaceAll(':', '').toLowerCase()}\``)).toEqual(stated);
  });
});

const witness = (fill: number, name = `w${fill}.example`) =>
  formatVerifierKey(verifierKey(name, 'cosignature', new Uint8Array(32).fill(fill)));
const WITNESSES = [witness(1), witness(2), witness(3)];

describe('witnesses', () => {
  it('are none unless they are named', () => {
    expect(parse(config()).witnesses).toEqual({ threshold: 0, keys: [] });
    const { threshold, keys } = parse({ ...config(), witnesses: { threshold: 2, keys: WITNESSES } }).witnesses;
    expect([threshold, keys.map(formatVerifierKey)]).toEqual([2, WITNESSES]);
  });

  it.each([
    ['no threshold', { keys: WITNESSES }],
    ['a threshold of 0', { threshold: 0, keys: WITNESSES }],
    ['a threshold beyond the keys', { threshold: 4, keys: WITNESSES }],
    ['no keys', { threshold: 0, keys: [] }],
    ['a key twice', { threshold: 2, keys: [witness(1), witness(2), witness(1)] }],
    ['a key under two names', { threshold: 2, keys: [witness(1), witness(1, 'other.example')] }],
    ['no key', { threshold: 1, keys: ['w1.example+00000000+AAAA'] }],
    ['a number', { threshold: 1, keys: [1] }],
    [
      'a key of a log',
      { threshold: 1, keys: [formatVerifierKey(verifierKey('w1.example', 'ed25519', new Uint8Array(32)))] },
    ],
    ['too many', { threshold: 9, keys: Array.from({ length: 17 }, (_, index) => witness(index)) }],
    ['an unknown field', { threshold: 1, keys: WITNESSES, extra: 1 }],
    ['null', null],
  ])('are refused with %s', async (_, witnesses) => {
    const error = await expectCode(() => parse({ ...config(), witnesses }), 'config_invalid');
    expect(error.facts.path?.split('.')[0]).toBe('witnesses');
  });
});

describe('keys that stay unwrapped', () => {
  it('are none unless it is said for how long, and how many', () => {
    expect(parse(config()).unwrappedKeys).toBeUndefined();
    const most = { timeToLiveSeconds: LIMITS.unwrappedKeySeconds, count: LIMITS.unwrappedKeys };
    expect(parse({ ...config(), unwrappedKeys: most }).unwrappedKeys).toEqual(most);
  });

  it.each([
    ['no time', { count: 1 }],
    ['no count', { timeToLiveSeconds: 1 }],
    ['a time of 0', { timeToLiveSeconds: 0, count: 1 }],
    ['a count of 0', { timeToLiveSeconds: 1, count: 0 }],
    ['too long a time', { timeToLiveSeconds: LIMITS.unwrappedKeySeconds + 1, count: 1 }],
    ['too many', { timeToLiveSeconds: 1, count: LIMITS.unwrappedKeys + 1 }],
    ['half a second', { timeToLiveSeconds: 0.5, count: 1 }],
    ['an unknown field', { timeToLiveSeconds: 1, count: 1, extra: 1 }],
    ['null', null],
  ])('are refused with %s', async (_, unwrappedKeys) => {
    const error = await expectCode(() => parse({ ...config(), unwrappedKeys }), 'config_invalid');
    expect(error.facts.path?.split('.')[0]).toBe('unwrappedKeys');
  });
});

describe('migration', () => {
  it('is not allowed unless it is said', async () => {
    expect(parse(config()).migration).toBeUndefined();
    expect(parse({ ...config(), migration: true }).migration).toBe(true);
    for (const migration of [false, null, 1, 'true', {}]) {
      const error = await expectCode(() => parse({ ...config(), migration }), 'config_invalid');
      expect(error.facts.path).toBe('migration');
    }
  });
});

describe('the measured configuration', () => {
  it('is read, hashed and frozen', () => {
    const bytes = utf8(JSON.stringify(config()));
    const parsed = parseEnclaveConfig(bytes);
    expect(parsed.kms.keys.map(({ region }) => region)).toEqual(['eu-central-1']);
    expect(parsed.hash).toEqual(sha256(bytes));
    expect(Object.isFrozen(parsed) && Object.isFrozen(parsed.kms) && Object.isFrozen(parsed.operators.keys)).toBe(true);
  });

  it.each([
    ['version', 2],
    ['deployment', 'Prod'],
    ['deployment', ''],
    ['logOrigin', 'has space'],
    ['kms.keyArn', 'alias/execution'],
    ['kms.keyArn', 'arn:aws:kms:eu-central-1:123456789012:alias/execution'],
    ['kms.endpoint', 'http://kms.eu-central-1.amazonaws.com'],
    ['kms.endpoint', 'https://user@kms.eu-central-1.amazonaws.com'],
    ['kms.endpoint', 'https://kms.eu-central-1.amazonaws.com/path'],
    ['kms.endpoint', 'nonsense'],
    ['kms.rootCertificates', []],
    ['kms.rootCertificates', ['not a certificate']],
    ['parentCid', 4294967295],
    ['parentCid', -1],
    ['parentCid', '3'],
    ['operators.threshold', 1],
    ['operators.threshold', 4],
    ['operators.threshold', 0],
    ['operators.keys', []],
    ['operators.keys', [KEYS[0], KEYS[0]]],
    ['operators.keys', ['short']],
    ['operators.extra', 1],
    ['kms.extra', 1],
    ['extra', 1],
    ['kms', undefined],
    ['operators', undefined],
  ])('is refused with a wrong %s: %j', async (path, value) => {
    const error = await expectCode(() => parse(changed(path, value)), 'config_invalid');
    // A threshold is judged against the keys, so either of the two may be named.
    expect(error.facts.path?.split('.')[0]).toBe(path.split('.')[0]);
  });

  it('is refused with a duplicate key', async () => {
    const text = JSON.stringify(config()).replace('"version":1', '"version":1,"version":1');
    await expectCode(() => parseEnclaveConfig(utf8(text)), 'config_invalid');
  });
});
