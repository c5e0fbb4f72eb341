/** Certificates that are not strict DER, or not the X.509 of the Nitro PKI: each signed, each with one thing wrong. */
import { concatBytes, fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { describe, expect, test } from 'vitest';
import { outcome, syntheticCase } from './expect.ts';
import * as s from './synthetic.ts';

type Wrong = readonly [what: string, code: ErrorCode | 'ok', change: s.PkiChange];

const DER = 'attestation_certificate_malformed';
const DAY = 24 * 3600 * 1000;
const validity = (from: Uint8Array, to: Uint8Array): Uint8Array => s.sequence(from, to);

/** The signature's BIT STRING claims that its last bit does not count. */
function withUnusedBits(certificate: Uint8Array): Uint8Array {
  const changed = new Uint8Array(certificate);
  const at = changed.findLastIndex((byte, index) => byte === 0x03 && changed[index + 1] === changed.length - index - 2);
  changed[at + 2] = 1;
  return changed;
}

const WRONG: readonly Wrong[] = [
  ['a byte after the certificate', DER, () => ({ zonal: { finish: (d) => concatBytes(d, Uint8Array.of(0)) } })],
  ['a certificate twice in one', DER, () => ({ zonal: { finish: (d) => concatBytes(d, d.subarray(0, 4)) } })],
  ['a whole element after the certificate', DER, () => ({ zonal: { finish: (d) => concatBytes(d, s.integer(1)) } })],
  ['a fourth part', DER, () => ({ zonal: { finish: (d) => s.sequence(d.subarray(4), s.integer(1)) } })],
  ['a signature that ends within a byte', DER, () => ({ zonal: { finish: withUnusedBits } })],
  ['a truncated certificate', DER, () => ({ zonal: { finish: (d) => d.subarray(0, -1) } })],
  ['a certificate in PEM', DER, () => ({ leaf: { finish: (d) => utf8(btoa(String.fromCharCode(...d))) } })],
  [
    'a longer length than needed',
    DER,
    () => ({ zonal: { finish: (d) => concatBytes(fromHex('308300'), d.subarray(2)) } }),
  ],
  ['a length not in the shortest form inside', DER, () => ({ zonal: { parts: { serial: fromHex('02810107') } } })],
  [
    'BER’s indefinite length',
    DER,
    () => ({ zonal: { finish: (d) => concatBytes(fromHex('3080'), d.subarray(4), fromHex('0000')) } }),
  ],
  ['version 1', DER, () => ({ zonal: { parts: { version: s.der(0xa0, s.integer(0)) } } })],
  ['no version', DER, () => ({ zonal: { parts: { version: new Uint8Array(0) } } })],
  ['no extensions', DER, () => ({ leaf: { parts: { extensions: new Uint8Array(0) } } })],
  ['something after the extensions', DER, () => ({ zonal: { parts: { beyond: s.integer(1) } } })],
  [
    'a unique identifier',
    DER,
    () => ({
      zonal: { parts: { extensions: concatBytes(s.der(0x81, Uint8Array.of(0, 1)), s.der(0xa3, s.sequence())) } },
    }),
  ],
  ['a serial padded with zeros', DER, () => ({ zonal: { parts: { serial: fromHex('02020007') } } })],
  ['an empty serial', DER, () => ({ zonal: { parts: { serial: fromHex('0200') } } })],
  ['a private tag', DER, () => ({ zonal: { parts: { beyond: fromHex('c00100') } } })],
  [
    'TRUE written as 1',
    DER,
    () => ({
      zonal: {
        extensions: [
          s.sequence(fromHex('0603551d13'), fromHex('010101'), s.der(4, s.sequence(s.boolean(true), s.integer(1)))),
          s.keyUsage(0x86),
        ],
      },
    }),
  ],
  [
    'FALSE written out in basicConstraints',
    DER,
    () => ({
      leaf: { extensions: [s.extension(s.OID.basicConstraints, true, s.sequence(s.boolean(false))), s.keyUsage(128)] },
    }),
  ],
  [
    'more than it should hold in basicConstraints',
    DER,
    () => ({
      zonal: {
        extensions: [
          s.extension(
            s.OID.basicConstraints,
            true,
            concatBytes(s.sequence(s.boolean(true), s.integer(1)), s.integer(2)),
          ),
          s.keyUsage(0x86),
        ],
      },
    }),
  ],
  [
    'more than it should hold in keyUsage',
    DER,
    () => ({
      zonal: {
        extensions: [
          s.basicConstraints(true, 1),
          s.extension(s.OID.keyUsage, true, concatBytes(fromHex('03020186'), s.integer(2))),
        ],
      },
    }),
  ],
  [
    'unused bits that are set in keyUsage',
    DER,
    () => ({
      zonal: { extensions: [s.basicConstraints(true, 1), s.extension(s.OID.keyUsage, true, fromHex('03020387'))] },
    }),
  ],
  [
    'a 13th month',
    DER,
    () => ({ zonal: { parts: { validity: validity(s.der(0x17, utf8('261301000000Z')), s.utcTime(s.NOW_MS + DAY)) } } }),
  ],
  [
    'a time without seconds',
    DER,
    () => ({ zonal: { parts: { validity: validity(s.der(0x17, utf8('2601010000Z')), s.utcTime(s.NOW_MS + DAY)) } } }),
  ],
  [
    'a time zone',
    DER,
    () => ({
      zonal: { parts: { validity: validity(s.der(0x17, utf8('260101000000+0100')), s.utcTime(s.NOW_MS + DAY)) } },
    }),
  ],
  [
    'three times',
    DER,
    () => ({
      zonal: {
        parts: {
          validity: s.sequence(s.utcTime(s.NOW_MS - DAY), s.utcTime(s.NOW_MS + DAY), s.utcTime(s.NOW_MS + DAY)),
        },
      },
    }),
  ],
  [
    'nested beyond any need',
    DER,
    () => {
      let nest = s.integer(1);
      for (let depth = 0; depth < 100; depth++) nest = s.sequence(nest);
      return { zonal: { parts: { beyond: nest } } };
    },
  ],
  ['an extension twice', DER, (p) => ({ zonal: { extensions: [...p.zonal.extensions, s.basicConstraints(true, 1)] } })],
];

describe('a certificate with one thing wrong', () => {
  for (const [what, code, change] of WRONG) {
    test(`${what}: ${code}`, async () => {
      const { bytes, expected } = await syntheticCase({ pki: change });
      expect(await outcome(bytes, expected)).toBe(code);
    });
  }
});

test('a certificate over 1024 bytes', async () => {
  const { bytes, expected } = await syntheticCase({
    pki: (p) => ({
      zonal: { extensions: [...p.zonal.extensions, s.extension('2a0304', false, s.der(4, s.filled(7, 800)))] },
    }),
  });
  expect(await outcome(bytes, expected)).toBe('attestation_payload_malformed');
});
