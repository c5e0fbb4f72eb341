/** A chain with one thing wrong, for each check of chain.ts. The rest of each document holds. */

import { verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { concatBytes, fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { describe, expect, test } from 'vitest';
import { outcome, ownSet, REPLAY, syntheticCase, syntheticReport } from './expect.ts';
import * as s from './synthetic.ts';

type Wrong = readonly [what: string, code: ErrorCode | 'ok', change: s.PkiChange];

const ORDER = 'attestation_chain_order_invalid';
const CA = 'attestation_chain_ca_invalid';
const PATH = 'attestation_chain_path_too_long';
const USAGE = 'attestation_chain_key_usage_invalid';
const ALGORITHM = 'attestation_chain_algorithm_unsupported';
const TIME = 'attestation_chain_not_valid_then';
const SIGNATURE = 'attestation_chain_signature_invalid';
const EXTENSION = 'attestation_chain_extension_unknown';

const p256 = (await globalThis.crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
  'sign',
  'verify',
])) as Awaited<ReturnType<typeof s.keyPair>>;
const p256Spki = new Uint8Array(await globalThis.crypto.subtle.exportKey('spki', p256.publicKey));
const p384Spki = new Uint8Array(
  await globalThis.crypto.subtle.exportKey('spki', (await s.namedKey('zonal')).publicKey),
);
const compressedSpki = s.sequence(
  fromHex('301006072a8648ce3d020106052b81040022'),
  s.der(0x03, Uint8Array.of(0, 2 + ((p384Spki.at(-1) ?? 0) & 1)), p384Spki.subarray(24, 72)),
);
const other = await s.keyPair();
const validity = (from: Uint8Array, to: Uint8Array): Uint8Array => s.sequence(from, to);
const SECOND = 1000;
const DAY = 24 * 3600 * SECOND;

const WRONG: readonly Wrong[] = [
  ['nothing', 'ok', () => ({})],

  // Order: issuer and subject.
  ['the leaf names another issuer', ORDER, () => ({ leaf: { issuer: 'zonal.test' } })],
  ['an intermediate names another issuer', ORDER, () => ({ zonal: { issuer: 'root.test' } })],
  ['the root is not self-issued', ORDER, () => ({ root: { issuer: 'someone.test' } })],
  ['names differ in their case', ORDER, () => ({ leaf: { issuer: 'Instance.test' } })],
  [
    'an intermediate is self-issued',
    ORDER,
    () => ({ regional: { subject: 'root.test' }, zonal: { issuer: 'root.test' } }),
  ],

  // CA flag.
  ['an intermediate is no CA', CA, () => ({ zonal: { extensions: [s.basicConstraints(false), s.keyUsage(0x86)] } })],
  ['the last issuer is no CA', CA, () => ({ instance: { extensions: [s.basicConstraints(false), s.keyUsage(4)] } })],
  ['the root is no CA', CA, () => ({ root: { extensions: [s.basicConstraints(false), s.keyUsage(0x86)] } })],
  ['an intermediate lacks basicConstraints', CA, () => ({ zonal: { extensions: [s.keyUsage(0x86)] } })],
  [
    'an intermediate does not mark basicConstraints as critical',
    CA,
    () => ({ zonal: { extensions: [s.basicConstraints(true, 1, false), s.keyUsage(0x86)] } }),
  ],
  ['the leaf is a CA', CA, () => ({ leaf: { extensions: [s.basicConstraints(true), s.keyUsage(0x80)] } })],
  ['the leaf lacks basicConstraints', 'ok', () => ({ leaf: { extensions: [s.keyUsage(0x80)] } })],

  // Path length.
  [
    'the path length of the regional CA is exceeded',
    PATH,
    () => ({ regional: { extensions: [s.basicConstraints(true, 1), s.keyUsage(0x86)] } }),
  ],
  [
    'the path length of the zonal CA is exceeded',
    PATH,
    () => ({ zonal: { extensions: [s.basicConstraints(true, 0), s.keyUsage(0x86)] } }),
  ],
  [
    'the path length of the root is exceeded',
    PATH,
    () => ({ root: { extensions: [s.basicConstraints(true, 2), s.keyUsage(0x86)] } }),
  ],
  [
    'path lengths are larger than needed',
    'ok',
    () => ({ instance: { extensions: [s.basicConstraints(true, 5), s.keyUsage(4)] } }),
  ],
  [
    'an intermediate has no path length',
    'ok',
    () => ({ instance: { extensions: [s.basicConstraints(true), s.keyUsage(4)] } }),
  ],
  [
    'the leaf has a path length',
    PATH,
    () => ({ leaf: { extensions: [s.basicConstraints(false, 0), s.keyUsage(128)] } }),
  ],
  [
    'a path length is negative',
    PATH,
    () => ({
      zonal: {
        extensions: [
          s.extension(s.OID.basicConstraints, true, s.sequence(s.boolean(true), s.der(2, Uint8Array.of(0xff)))),
          s.keyUsage(0x86),
        ],
      },
    }),
  ],

  // Key usage.
  [
    'an issuer lacks keyCertSign',
    USAGE,
    () => ({ zonal: { extensions: [s.basicConstraints(true, 1), s.keyUsage(0x82)] } }),
  ],
  ['an issuer lacks keyUsage', USAGE, () => ({ zonal: { extensions: [s.basicConstraints(true, 1)] } })],
  ['the root lacks keyCertSign', USAGE, () => ({ root: { extensions: [s.basicConstraints(true), s.keyUsage(0x80)] } })],
  [
    'the leaf lacks digitalSignature',
    USAGE,
    () => ({ leaf: { extensions: [s.basicConstraints(false), s.keyUsage(0x40)] } }),
  ],
  ['the leaf lacks keyUsage', USAGE, () => ({ leaf: { extensions: [s.basicConstraints(false)] } })],
  ['the leaf has keyCertSign', USAGE, () => ({ leaf: { extensions: [s.basicConstraints(false), s.keyUsage(0x84)] } })],
  [
    'an issuer’s keyUsage is empty',
    USAGE,
    () => ({ zonal: { extensions: [s.basicConstraints(true, 1), s.keyUsage(0)] } }),
  ],

  // Extensions.
  [
    'an unknown critical extension',
    EXTENSION,
    (p) => ({ zonal: { extensions: [...p.zonal.extensions, s.extension('2a0304', true, s.integer(1))] } }),
  ],
  [
    'critical name constraints',
    EXTENSION,
    (p) => ({
      regional: {
        extensions: [
          ...p.regional.extensions,
          s.extension(s.OID.nameConstraints, true, s.sequence(s.der(0xa0, s.sequence(s.der(0x82, utf8('test')))))),
        ],
      },
    }),
  ],
  [
    'a critical extension of the leaf',
    EXTENSION,
    (p) => ({ leaf: { extensions: [...p.leaf.extensions, s.extension('2a0304', true, s.integer(1))] } }),
  ],
  [
    'an unknown extension that is not critical',
    'ok',
    (p) => ({ zonal: { extensions: [...p.zonal.extensions, s.extension('2a0304', false, s.integer(1))] } }),
  ],
  // Algorithms.
  ['an issuer with a P-256 key', ALGORITHM, () => ({ zonal: { parts: { key: p256Spki } } })],
  ['a leaf with a P-256 key', ALGORITHM, () => ({ leaf: { parts: { key: p256Spki } } })],
  ['a compressed point', ALGORITHM, () => ({ zonal: { parts: { key: compressedSpki } } })],
  [
    'ecdsa-with-SHA256',
    ALGORITHM,
    () => ({ zonal: { parts: { algorithm: s.ECDSA_SHA256 }, outerAlgorithm: s.ECDSA_SHA256 } }),
  ],
  ['another algorithm inside than outside', ALGORITHM, () => ({ zonal: { parts: { algorithm: s.ECDSA_SHA256 } } })],
  [
    'algorithm parameters',
    ALGORITHM,
    () => {
      const withNull = s.sequence(s.ECDSA_SHA384.subarray(2), Uint8Array.of(5, 0));
      return { zonal: { parts: { algorithm: withNull }, outerAlgorithm: withNull } };
    },
  ],

  // Validity.
  ['an expired leaf', TIME, () => ({ leaf: { notAfterMs: s.NOW_MS - SECOND } })],
  ['a leaf not yet valid', TIME, () => ({ leaf: { notBeforeMs: s.NOW_MS + SECOND } })],
  ['an expired intermediate', TIME, () => ({ regional: { notAfterMs: s.NOW_MS - DAY } })],
  ['an expired root', TIME, () => ({ root: { notAfterMs: s.NOW_MS - DAY } })],
  ['an intermediate not yet valid', TIME, () => ({ zonal: { notBeforeMs: s.NOW_MS + DAY } })],
  ['the last second', 'ok', () => ({ leaf: { notAfterMs: s.NOW_MS } })],
  ['the first second', 'ok', () => ({ leaf: { notBeforeMs: s.NOW_MS } })],
  [
    'GeneralizedTime',
    'ok',
    () => ({ leaf: { parts: { validity: validity(s.utcTime(s.NOW_MS), s.generalizedTime(s.NOW_MS + DAY)) } } }),
  ],

  // Signatures.
  ['a leaf signed by somebody else', SIGNATURE, () => ({ leaf: { signer: other } })],
  ['a leaf signed by the zonal CA', SIGNATURE, (p) => ({ leaf: { signer: p.zonal.key } })],
  ['an intermediate signed by somebody else', SIGNATURE, () => ({ regional: { signer: other } })],
  ['a signature of zeros', SIGNATURE, () => ({ zonal: { writeSignature: (raw) => s.derSignature(raw.fill(0)) } })],
  ['raw r and s instead of DER', SIGNATURE, () => ({ zonal: { writeSignature: (raw) => raw } })],
  [
    'bytes after the signature',
    SIGNATURE,
    () => ({ zonal: { writeSignature: (raw) => concatBytes(s.derSignature(raw), s.integer(1)) } }),
  ],
  [
    'a third number in the signature',
    SIGNATURE,
    () => ({ zonal: { writeSignature: (raw) => s.sequence(s.derSignature(raw).subarray(2), s.integer(1)) } }),
  ],
  [
    'numbers padded with zeros',
    SIGNATURE,
    () => ({
      zonal: {
        writeSignature: (raw) =>
          s.sequence(
            s.der(2, Uint8Array.of(0, 0), raw.subarray(0, 48)),
            s.der(2, Uint8Array.of(0, 0), raw.subarray(48)),
          ),
      },
    }),
  ],
  [
    'numbers longer than the field',
    SIGNATURE,
    () => ({ zonal: { writeSignature: () => s.sequence(s.der(2, s.filled(0x11, 60)), s.der(2, s.filled(0x11, 60))) } }),
  ],
];

describe('a chain with one thing wrong', () => {
  for (const [what, code, change] of WRONG) {
    test(`${what}: ${code}`, async () => {
      const { bytes, expected } = await syntheticCase({ pki: change });
      expect(await outcome(bytes, expected)).toBe(code);
    });
  }
});

describe('the bundle', () => {
  const withBundle = async (bundle: (chain: s.IssuedChain) => readonly Uint8Array[]) => {
    const pki = await s.nitroPki();
    const chain = await s.issueAll(pki);
    const fields = await s.fieldsOf(chain);
    fields.set('cabundle', s.array(bundle(chain).map(s.bytes)));
    const bytes = await s.signDocument(s.encodePayload(fields), pki.leaf.key);
    const [unsafeTrustedRootDer = new Uint8Array(0)] = chain.cabundle;
    return outcome(bytes, { mode: REPLAY, pcrSets: ownSet(await s.measuredPcrs()), unsafeTrustedRootDer });
  };

  test('in reverse', async () =>
    expect(await withBundle(({ cabundle }) => cabundle.toReversed())).toBe('attestation_root_untrusted'));

  test('two intermediates swapped', async () =>
    expect(await withBundle(({ cabundle: [a, b, c, d] }) => [a, c, b, d].filter((der) => der !== undefined))).toBe(
      ORDER,
    ));

  test('the root twice', async () =>
    expect(await withBundle(({ cabundle: [root, ...rest] }) => (root ? [root, root, ...rest] : []))).toBe(ORDER));

  test('an intermediate twice', async () =>
    expect(await withBundle(({ cabundle: [a, b, c, d] }) => [a, b, c, c, d].filter((der) => der !== undefined))).toBe(
      ORDER,
    ));

  test('the leaf in it as well', async () =>
    expect(await withBundle(({ cabundle, certificate }) => [...cabundle, certificate])).toBe(ORDER));

  test('an intermediate left out', async () =>
    expect(await withBundle(({ cabundle: [a, b, , d] }) => [a, b, d].filter((der) => der !== undefined))).toBe(ORDER));

  test('the root left out', async () =>
    expect(await withBundle(({ cabundle }) => cabundle.slice(1))).toBe('attestation_root_untrusted'));

  test('a stranger at its end', async () => {
    const pki = await s.nitroPki();
    const stranger = await s.issue({ ...pki.instance, subject: 'stranger.test', issuer: 'stranger.test' });
    expect(await withBundle(({ cabundle }) => [...cabundle, stranger])).toBe(ORDER);
  });
});

test('an issuer below a leaf: what an enclave’s own certificate signed proves nothing', async () => {
  // The leaf's key would certify another: the chain is longer by one, and its last issuer is no CA.
  const pki = await s.nitroPki();
  const chain = await s.issueAll(pki);
  const forged = await s.issue({
    ...pki.leaf,
    subject: 'forged.test',
    issuer: 'leaf.test',
    key: other,
    signer: pki.leaf.key,
  });
  const fields = await s.fieldsOf({ cabundle: [...chain.cabundle, chain.certificate], certificate: forged });
  const bytes = await s.signDocument(s.encodePayload(fields), other);
  const [unsafeTrustedRootDer = new Uint8Array(0)] = chain.cabundle;
  const report = await verifyAttestation(bytes, {
    mode: REPLAY,
    pcrSets: ownSet(await s.measuredPcrs()),
    unsafeTrustedRootDer,
  });
  const failed = report.steps.filter(({ status }) => status === 'fail').map(({ name }) => name);
  expect(failed).toEqual(['chain-ca', 'chain-path-length', 'chain-key-usage']);
});

test('every step but the one at fault still says what it found', async () => {
  const report = await syntheticReport({ pki: () => ({ leaf: { notAfterMs: s.NOW_MS - SECOND } }) });
  expect(report.steps.filter(({ status }) => status === 'fail').map(({ name }) => name)).toEqual(['chain-validity']);
  expect(report.steps.some(({ status }) => status === 'not-reached')).toBe(false);
});
