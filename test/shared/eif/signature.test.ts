/** Signed images: right ones of every algorithm, and sections with one thing wrong. */
import { generateKeyPairSync } from 'node:crypto';
import { concatBytes, fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { type ImageReport, measureImage } from '@quantumvault/shared/eif/measure.ts';
import { memorySource } from '@quantumvault/shared/eif/source.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { describe, expect, test } from 'vitest';
import { toPem } from '../../stack/certificate.ts';
import { NULL, time, tlv } from '../../stack/der.ts';
import { WireMap, type WireValue, writeCbor } from '../../stack/nsm/cbor-writer.ts';
import { expectCode } from '../../support/codes.ts';
import { noteCode } from '../../support/codes-seen.ts';
import { expectedPcrs, measured, plainSections, type SectionSpec, writeImage } from '../../support/eif.ts';
import * as s from '../../support/eif-signer.ts';

const measure = (sections: readonly SectionSpec[], nowMs = s.NOW): Promise<ImageReport> =>
  measureImage(memorySource(writeImage({ sections })), { nowMs });
const withBytes = (bytes: Uint8Array): Promise<ImageReport> => measure(s.withSignature(plainSections, bytes));
const withCbor = (value: WireValue): Promise<ImageReport> => withBytes(writeCbor(value));

const signer = s.newSigner();
const other = s.newSigner();
const pcr0 = fromHex(expectedPcrs(plainSections)[0]);
const good = { signer, registerValue: pcr0 };
const pem = s.integers(utf8(s.pemOf(signer.der)));
const cose = s.integers(s.sign1(good));

describe('verifies', () => {
  for (const curve of ['P-256', 'P-384', 'P-521'] as const)
    test(curve, async () => {
      const own = s.newSigner(curve);
      const report = await measure(s.signed(plainSections, own));
      expect(report.failure).toBeUndefined();
      expect(report.ok).toBe(true);
      expect(report.signature?.algorithm).toBe({ 'P-256': 'ES256', 'P-384': 'ES384', 'P-521': 'ES512' }[curve]);
      expect([...report.pcrs].map(([index, value]) => [index, toHex(value)])).toEqual([
        ...expectedPcrs(plainSections).entries(),
        [8, measured(own.der)],
      ]);
    });

  test('the signature section anywhere, and what is measured is the certificate', async () => {
    const [signature] = s.signed(plainSections, signer).slice(-1);
    if (signature === undefined) return expect.unreachable();
    const report = await measure([signature, ...plainSections]);
    expect(report.ok).toBe(true);
    expect(report.signature?.certificate.subject).toBe('CN=signer');
    expect(toHex(report.pcrs.get(8) ?? new Uint8Array())).toBe(measured(signer.der));
  });

  test('a certificate of version 1, PEM with CRLF and blank lines around', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const der = s.version1Certificate({ publicKey, signingKey: privateKey });
    const text = `\r\n${s.pemOf(der).replaceAll('\n', '\r\n')}\r\n\n`;
    const report = await measure(s.signed(plainSections, { curve: 'P-384', key: privateKey, der }, { pem: text }));
    expect(report.ok).toBe(true);
    expect(toHex(report.pcrs.get(8) ?? der)).toBe(measured(der));
  });

  test('with COSE’s tag 18', async () => {
    const tagged = concatBytes(Uint8Array.of(0xd2), s.sign1(good));
    expect((await withCbor([s.entry(pem, s.integers(tagged))])).ok).toBe(true);
  });

  test.each([Date.UTC(1999, 11, 31), Date.UTC(2049, 11, 31), Date.UTC(2050, 0, 1)])('until %d', async (notAfterMs) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const der = s.version1Certificate({ publicKey, signingKey: privateKey, notAfter: time(notAfterMs) });
    const report = await measure(s.signed(plainSections, { curve: 'P-384', key: privateKey, der }));
    expect(report.signature?.certificate).toMatchObject({ notBeforeMs: s.NOT_BEFORE, notAfterMs });
  });

  test('dates are found and not judged', async () => {
    const at = async (nowMs: number) => (await measure(s.signed(plainSections, signer), nowMs)).signature;
    expect(await at(s.NOW)).toMatchObject({ validAt: { timeMs: s.NOW, valid: true } });
    const certificate = { notBeforeMs: s.NOT_BEFORE, notAfterMs: s.NOT_AFTER };
    expect(await at(s.NOT_AFTER + 1000)).toMatchObject({ certificate, validAt: { valid: false } });
    expect(await at(s.NOT_BEFORE - 1000)).toMatchObject({ certificate, validAt: { valid: false } });
    expect((await measure(s.signed(plainSections, signer), s.NOT_AFTER + 1)).ok).toBe(true);
  });
});

describe('does not verify, and is measured all the same', () => {
  const flipped = s.sign1(good);
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
  const shortSignature = writeCbor([
    fromHex('a1013822'),
    new WireMap([]),
    s.registerPayload(0, pcr0),
    new Uint8Array(95),
  ]);
  const p521 = s.newSigner('P-521');
  const rsa = rsaCertificate();
  const offCurve = Uint8Array.from(signer.der);
  const point = Buffer.from(offCurve).indexOf(Buffer.from('03620004', 'hex')) + 4;
  offCurve.fill(0x5a, point, point + 96);

  const ROWS: readonly (readonly [string, Uint8Array, ErrorCode])[] = [
    ['one bit of the signature', writeCbor([s.entry(pem, s.integers(flipped))]), 'eif_signature_invalid'],
    ['a signature too short', writeCbor([s.entry(pem, s.integers(shortSignature))]), 'eif_signature_invalid'],
    ['another’s certificate', s.signatureBytes({ ...good, pem: s.pemOf(other.der) }), 'eif_signature_invalid'],
    ['a key off its curve', s.signatureBytes({ ...good, pem: s.pemOf(offCurve) }), 'eif_signature_invalid'],
    ['PCR1', s.signatureBytes({ ...good, registerIndex: 1 }), 'eif_signature_register_mismatch'],
    [
      'PCR0 of another image',
      s.signatureBytes({ ...good, registerValue: new Uint8Array(48) }),
      'eif_signature_register_mismatch',
    ],
    [
      'half of PCR0',
      s.signatureBytes({ ...good, registerValue: pcr0.subarray(24) }),
      'eif_signature_register_mismatch',
    ],
    ['nothing', s.signatureBytes({ ...good, registerValue: new Uint8Array() }), 'eif_signature_register_mismatch'],
    ['ES256 by a P-384 key', s.signatureBytes({ ...good, header: 'a10126' }), 'eif_signature_algorithm_mismatch'],
    [
      'ES384 by a P-521 key',
      s.signatureBytes({ ...good, signer: p521, header: 'a1013822' }),
      'eif_signature_algorithm_mismatch',
    ],
    ['PS384', s.signatureBytes({ ...good, header: 'a1013825' }), 'eif_signature_algorithm_mismatch'],
    ['no algorithm', s.signatureBytes({ ...good, header: '' }), 'eif_signature_algorithm_mismatch'],
    ['a second parameter', s.signatureBytes({ ...good, header: 'a20138220401' }), 'eif_signature_algorithm_mismatch'],
    ['an RSA key', s.signatureBytes({ ...good, pem: s.pemOf(rsa) }), 'eif_signature_algorithm_mismatch'],
  ];
  for (const [name, section, code] of ROWS)
    test(`${name}: ${code}`, async () => {
      const report = await withBytes(section);
      expect(report.ok).toBe(false);
      expect(report.failure?.code).toBe(code);
      noteCode(report.failure?.code ?? '');
      expect([...report.pcrs.keys()]).toEqual([0, 1, 2, 8]);
    });

  test('a signature over the image before it was changed', async () => {
    const [signature] = s.signed(plainSections, signer).slice(-1);
    const changed = plainSections.map((each) => (each.type === 2 ? { ...each, data: utf8('init=/bin/sh') } : each));
    if (signature === undefined) return expect.unreachable();
    expect((await measure([...changed, signature])).failure?.code).toBe('eif_signature_register_mismatch');
  });
});

describe('section refused', () => {
  const bytes = (value: WireValue): Uint8Array => writeCbor(value);
  const sign1Of = (...parts: readonly WireValue[]): Uint8Array => bytes([s.entry(pem, s.integers(bytes(parts)))]);
  const payload = (value: Uint8Array): Uint8Array => s.signatureBytes({ ...good, payload: value });
  const map = (...entries: readonly (readonly [string, WireValue])[]): Uint8Array => bytes(new WireMap(entries));
  const header = fromHex('a1013822');
  const EMPTY = new WireMap([]);
  const MALFORMED: Readonly<Record<string, Uint8Array>> = {
    nothing: new Uint8Array(),
    'a map': map(['a', 1]),
    'trailing bytes': concatBytes(s.signatureBytes(good), Uint8Array.of(0)),
    'an indefinite array': concatBytes(fromHex('9f'), s.signatureBytes(good).subarray(1), fromHex('ff')),
    'a longer array head': concatBytes(fromHex('9801'), s.signatureBytes(good).subarray(1)),
    'an entry that is text': bytes(['x']),
    'an entry of one key': bytes([new WireMap([['signing_certificate', pem]])]),
    'keys in the other order': bytes([
      new WireMap([
        ['signature', cose],
        ['signing_certificate', pem],
      ]),
    ]),
    'another key': bytes([
      new WireMap([
        ['signing_certificatE', pem],
        ['signature', cose],
      ]),
    ]),
    'a certificate as byte string': bytes([s.entry(utf8(s.pemOf(signer.der)), cose)]),
    'a signature as byte string': bytes([s.entry(pem, s.sign1(good))]),
    'an integer above 255': bytes([s.entry([...pem, 256], cose)]),
    'a claim of 2^32 integers': concatBytes(fromHex('81a2'), bytes('signing_certificate'), fromHex('9affffffff')),
    'a claim of 32,768 integers': concatBytes(fromHex('81a2'), bytes('signing_certificate'), fromHex('998000')),
    'an empty signature': bytes([s.entry(pem, [])]),
    'three parts and one behind': writeCbor([s.entry(pem, [0x83, ...cose.slice(1)])]),
    'an entry of one key and one behind': concatBytes(fromHex('81a1'), s.signatureBytes(good).subarray(2)),
    'three parts': sign1Of(header, EMPTY, s.registerPayload(0, pcr0)),
    'an unprotected header': sign1Of(header, new WireMap([[4, 1]]), s.registerPayload(0, pcr0), new Uint8Array(96)),
    'a detached payload': sign1Of(header, EMPTY, null, new Uint8Array(96)),
    'a signature of 133 bytes': sign1Of(header, EMPTY, s.registerPayload(0, pcr0), new Uint8Array(133)),
    'bytes behind COSE_Sign1': bytes([s.entry(pem, [...cose, 0])]),
    'another tag': bytes([s.entry(pem, [0xd1, ...cose])]),
    'a payload that is no map': payload(bytes([0, pcr0])),
    'a payload with bytes behind': payload(concatBytes(s.registerPayload(0, pcr0), Uint8Array.of(0))),
    'register_value as byte string': payload(map(['register_index', 0], ['register_value', pcr0])),
    'a third key in the payload': payload(map(['register_index', 0], ['register_value', s.integers(pcr0)], ['x', 0])),
    'a payload in the other order': payload(map(['register_value', s.integers(pcr0)], ['register_index', 0])),
    'a negative register_index': payload(concatBytes(fromHex('a2'), bytes('register_index'), fromHex('20'))),
  };
  for (const [name, section] of Object.entries(MALFORMED))
    test(name, () => expectCode(withBytes(section), 'eif_signature_malformed'));

  test('no entry, and two', async () => {
    await expectCode(withCbor([]), 'eif_signature_entries_unsupported');
    await expectCode(withCbor([s.entry(pem, cose), s.entry(pem, cose)]), 'eif_signature_entries_unsupported');
  });
});

describe('certificate refused', () => {
  const { privateKey: signingKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const versionOne = { publicKey, signingKey };
  const one = s.pemOf(signer.der);
  const PEMS: Readonly<Record<string, string>> = {
    empty: '',
    'DER as text': 'not pem',
    'text before': `Bag Attributes\n${one}`,
    'text behind': `${one}x`,
    'a second certificate': one + s.pemOf(other.der),
    'a trusted certificate': toPem('TRUSTED CERTIFICATE', signer.der),
    'a private key': toPem('PRIVATE KEY', signer.der),
    'no line break': one.replaceAll('\n', ''),
    'a character that is not base64': one.replace('M', '*'),
    'base64 without its padding': s.pemOf(Uint8Array.of(0x30, 0)).replace('=', ''),
    'an empty body': toPem('CERTIFICATE', new Uint8Array()),
    'bytes behind the certificate': s.pemOf(concatBytes(signer.der, Uint8Array.of(5, 0))),
    'half a certificate': s.pemOf(signer.der.subarray(0, 200)),
    'an empty SEQUENCE': s.pemOf(Uint8Array.of(0x30, 0)),
    'a certificate of one part': s.pemOf(Uint8Array.of(0x30, 2, 0x30, 0)),
    'four parts': s.pemOf(s.version1Certificate({ ...versionOne, beyond: [NULL] })),
    'a serial number not in its shortest form': s.pemOf(
      s.version1Certificate({ ...versionOne, serialNumber: tlv(2, Uint8Array.of(0, 1)) }),
    ),
    'a 13th month': s.pemOf(s.version1Certificate({ ...versionOne, notAfter: tlv(0x17, utf8('271301000000Z')) })),
    'a 30th February': s.pemOf(s.version1Certificate({ ...versionOne, notAfter: tlv(0x17, utf8('270230000000Z')) })),
    'a time zone': s.pemOf(s.version1Certificate({ ...versionOne, notAfter: tlv(0x17, utf8('270101000000+0100')) })),
    'three times': s.pemOf(
      s.version1Certificate({ ...versionOne, notAfter: concatBytes(time(s.NOT_AFTER), time(s.NOT_AFTER)) }),
    ),
    'no time at all': s.pemOf(s.version1Certificate({ ...versionOne, notAfter: tlv(0x17, utf8('x')) })),
    'three parts of nothing': s.pemOf(fromHex('3006300030000300')),
  };
  const refusal = (text: string) =>
    expectCode(withBytes(s.signatureBytes({ ...good, pem: text })), 'eif_certificate_malformed');
  for (const [name, text] of Object.entries(PEMS)) test(name, () => refusal(text));

  test('it says why', async () => {
    expect((await refusal(`x${one}`)).facts.value).toBe('not one PEM block');
    expect((await refusal(s.pemOf(concatBytes(signer.der, Uint8Array.of(5, 0))))).facts.value).toBe('trailing bytes');
  });
});

/** A certificate with an RSA key, signed by an EC key. */
function rsaCertificate(): Uint8Array {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return s.version1Certificate({ publicKey, signingKey: signer.key });
}
