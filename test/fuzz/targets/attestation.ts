/** Attestation documents: the envelope and payload, certificates, and the verifier over all of it. */
import { readFileSync } from 'node:fs';
import { parseCertificate } from '@quantumvault/shared/attestation/certificate.ts';
import { type Element, readElement, readElements, requireStrict } from '@quantumvault/shared/attestation/der.ts';
import { decodeAttestationDocument, decodeEnvelope, decodePayload } from '@quantumvault/shared/attestation/document.ts';
import { readDocument } from '@quantumvault/shared/attestation/encodings.ts';
import { parsePcrSets } from '@quantumvault/shared/attestation/pcrs.ts';
import { verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { concatBytes, equalBytes, fromHex, toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { cborMutator, readCbor, writeCbor } from '../engine/cbor-tree.ts';
import { derMutator } from '../engine/der-tree.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import type { Mutator } from '../engine/mutate.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
import { mustEndThere } from './checks.ts';

const FOLDER = new URL('../../vectors/attestation/', import.meta.url);
const file = (path: string): Uint8Array => new Uint8Array(readFileSync(new URL(path, FOLDER)));

/** One with a definite payload map and one with an indefinite one, as AWS wrote and writes them. */
const REAL = ['2024-09-07-us-east-1-prod-blocky-72ffd835', '2025-09-16-us-east-1-prod-tkhq-ce1e1c6e'] as const;
const documents = () => Object.fromEntries(REAL.map((name, index) => [`real-${index}`, file(`real/${name}.bin`)]));

const ENVELOPE_CODES = [
  'attestation_envelope_malformed',
  'attestation_algorithm_unsupported',
  'attestation_too_large',
] as const;
const PAYLOAD_CODES = ['attestation_payload_malformed', 'attestation_nitrotpm_unsupported'] as const;
const within = (part: Uint8Array, limit: number): boolean => part.length > 0 && part.length <= limit;

const inPayload = cborMutator([derMutator]);
/** The payload is where fields are; changed by chance alone it is reached too seldom. */
const changePayload: Mutator = (input, material) => {
  const root = readCbor(input);
  const payload = root?.items[2];
  if (root === undefined || payload === undefined) return undefined;
  payload.bytes = inPayload(payload.bytes, material) ?? payload.bytes;
  return writeCbor(root);
};

export const attestationDocument: Target = {
  name: 'attestation-document',
  covers: [
    'shared/src/attestation/document.ts#decodeAttestationDocument',
    'shared/src/attestation/document.ts#decodeEnvelope',
    'shared/src/attestation/document.ts#decodePayload',
    'shared/src/attestation/cbor.ts#readUnsigned',
    'shared/src/attestation/cbor.ts#readBytes',
    'shared/src/attestation/cbor.ts#readText',
    'shared/src/attestation/cbor.ts#readArrayHead',
    'shared/src/attestation/cbor.ts#readMapHead',
  ],
  seeds: documents,
  mutators: [cborMutator([derMutator]), changePayload, changePayload],
  dictionary: ['d2', 'bf', 'ff', 'f6', 'a0', '44a1013822', '5f', '1b0020000000000000'].map((hex) => fromHex(hex)),
  maxBytes: LIMITS.attestationDocumentBytes + 64,
  codes: [...ENVELOPE_CODES, ...PAYLOAD_CODES],
  executions: 2_500,
  run(input) {
    const document = accept(decodeAttestationDocument(input));
    const { pcrs, certificate, cabundle, publicKey, userData, nonce, payload, signature } = document;
    must(pcrs.size >= 1 && pcrs.size <= LIMITS.attestationPcrIndexes, 'number of PCRs');
    for (const [index, value] of pcrs) must(index >= 0 && index < 32 && value.length === 48, 'a PCR');
    must(
      [certificate, ...cabundle].every((der) => within(der, LIMITS.attestationCertificateBytes)),
      'a certificate',
    );
    must(cabundle.length >= 1 && cabundle.length <= LIMITS.attestationCertificates, 'number of certificates');
    must(
      [publicKey, userData, nonce].every((field) => field === undefined || field.length <= 1024),
      'an optional field',
    );
    must(Number.isSafeInteger(document.timestampMs) && document.timestampMs > 0, 'the time');
    must(/^[\x20-\x7e]{1,128}$/.test(document.moduleId), 'the module id');
    must(payload.length <= LIMITS.attestationPayloadBytes && signature.length === 96, 'payload or signature');
    mustEndThere(decodeAttestationDocument, input);
    const envelope = decodeEnvelope(input);
    mustEndThere((bytes) => decodePayload({ ...envelope, payload: bytes }), payload);
    return document;
  },
};

export const documentEncodings: Target = {
  name: 'document-encodings',
  covers: ['shared/src/attestation/encodings.ts#readDocument'],
  seeds: () => {
    const document = file(`real/${REAL[0]}.bin`).subarray(0, 300);
    const base64 = toBase64(document);
    return {
      raw: document.slice(),
      base64: utf8(base64),
      lines: utf8(`${base64.replaceAll(/.{76}/g, '$&\n')}\n`),
      hex: utf8(toHex(document)),
      'upper-hex': utf8(toHex(document).toUpperCase()),
      crlf: utf8(`${toHex(document).replaceAll(/.{60}/g, '$&\r\n')}\r\n`),
    };
  },
  mutators: [textMutator],
  maxBytes: 4_096,
  codes: ['attestation_encoding_unknown'],
  executions: 2_500,
  run(input) {
    const { encoding, bytes } = accept(readDocument(input));
    if (encoding === 'raw COSE') mustEqualBytes(bytes, input, 'raw bytes are others');
    else {
      const printed = encoding === 'hex' ? toHex(bytes) : toBase64(bytes);
      const text = Buffer.from(input)
        .toString('latin1')
        .replaceAll(/[\r\n]/g, '');
      must(encoding === 'hex' ? printed === text.toLowerCase() : printed === text, `another spelling of ${encoding}`);
    }
    return bytes;
  },
};

const certificateOf = (document: Uint8Array): readonly Uint8Array[] => {
  const { certificate, cabundle } = decodeAttestationDocument(document);
  return [...cabundle, certificate];
};

const strictDer = (input: Uint8Array): readonly unknown[] => {
  requireStrict(input, 'it');
  return readElements(input, 'it');
};

function mustBeShortest({ tag, body, raw }: Element, isDeep = false): void {
  const { length } = body;
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  mustEqualBytes(concatBytes(Uint8Array.from(head), body), raw, 'not the shortest length');
  must(readElement(raw, 'it').rest.length === 0, 'an element with a rest');
  if (isDeep && (tag & 0x20) !== 0) for (const inner of readElements(body, 'it')) mustBeShortest(inner, true);
}

export const der: Target = {
  name: 'der',
  covers: ['shared/src/attestation/der.ts#readElement', 'shared/src/attestation/der.ts#readElements'],
  seeds: () =>
    Object.fromEntries(
      certificateOf(file(`real/${REAL[0]}.bin`)).map((der, index) => [`certificate-${index}`, der.slice()]),
    ),
  mutators: [derMutator],
  dictionary: [
    '3080',
    '0000',
    '308100',
    '30820000',
    '0101ff',
    '010101',
    '0200',
    '02020001',
    '0202ffff',
    '1f8101',
    '2403040101',
  ].map((hex) => fromHex(hex)),
  maxBytes: 2_048,
  codes: ['attestation_certificate_malformed'],
  executions: 4_000,
  run(input) {
    const elements = readElements(input, 'it');
    mustEqualBytes(concatBytes(...elements.map(({ raw }) => raw)), input, 'elements are not the whole input');
    for (const element of elements) mustBeShortest(element);
    const strict = strictDer(input);
    // What is strict is so all the way down.
    for (const element of elements) mustBeShortest(element, true);
    return strict;
  },
};

export const certificates: Target = {
  name: 'certificates',
  covers: ['shared/src/attestation/certificate.ts#parseCertificate'],
  seeds: () => der.seeds(),
  mutators: [derMutator],
  dictionary: [
    ...(der.dictionary ?? []),
    ...['551d13', '551d0f', '2a8648ce3d040303', '2b81040022', '0c0141', '130141'].map((hex) => fromHex(hex)),
  ],
  maxBytes: 2_048,
  codes: ['attestation_certificate_malformed'],
  // Extensions are objects of a library, with caches of their own.
  executions: 900,
  run(input) {
    const certificate = accept(parseCertificate(input, 'it'));
    mustEqualBytes(certificate.der, input, 'another certificate');
    must(Number.isFinite(certificate.notBeforeMs) && Number.isFinite(certificate.notAfterMs), 'times');
    must(equalBytes(readElement(certificate.tbs, 'it').raw, certificate.tbs), 'the signed part');
    mustEndThere((bytes) => parseCertificate(bytes, 'it'), input);
    return { ...certificate };
  },
};

/** A document that verifies is, where it is signed, one of those we began with. */
const GENUINE = REAL.map((name) => {
  const bytes = file(`real/${name}.bin`);
  const { pcrs, payload, certificate, timestampMs } = decodeAttestationDocument(bytes);
  return { bytes, pcrs, payload, certificate, timestampMs };
});

export const attestationVerify: Target = {
  name: 'attestation-verify',
  covers: ['shared/src/attestation/verify.ts#verifyAttestation'],
  seeds: documents,
  mutators: [cborMutator([derMutator]), changePayload, changePayload],
  maxBytes: LIMITS.attestationDocumentBytes + 64,
  codes: [],
  executions: 150,
  async run(input) {
    const expected = {
      mode: { kind: 'replay' },
      pcrSets: GENUINE.map(({ pcrs }) => ({ name: 'own', pcrs })),
      allowDebug: true,
    } as const;
    const report = await verifyAttestation(input, expected);
    if (report.ok) {
      const genuine = GENUINE.find(({ payload }) => equalBytes(payload, report.document.payload));
      must(genuine !== undefined, 'a forged document verifies');
    } else
      must(
        report.steps.some(({ status }) => status === 'fail'),
        'a failure without a failed step',
      );
    return report.ok ? 'ok' : report.failure.code;
  },
};

export const pcrSets: Target = {
  name: 'pcr-sets',
  covers: ['shared/src/attestation/pcrs.ts#parsePcrSets', 'shared/src/attestation/pcrs.ts#readPcrSet'],
  seeds: () => {
    const pcr = 'ab'.repeat(48);
    const inner = { HashAlgorithm: 'Sha384 { ... }', PCR0: pcr, PCR1: pcr, PCR2: pcr };
    return {
      nitro: utf8(JSON.stringify({ Measurements: inner, Build: { commit: 'x' } })),
      inner: utf8(JSON.stringify({ PCR0: pcr, PCR31: pcr })),
      list: utf8(JSON.stringify([{ Measurements: inner }, inner])),
    };
  },
  mutators: [jsonMutator()],
  dictionary: ['PCR0', 'PCR00', 'PCR32', 'pcr0', 'PCR-1', 'Measurements'].map(utf8),
  maxBytes: 4_096,
  codes: ['json_malformed', 'attestation_pcr_set_malformed'],
  executions: 2_000,
  run(input) {
    const sets = accept(parsePcrSets(input, 'it'));
    must(sets.length >= 1 && sets.length <= LIMITS.attestationPcrSets, 'number of sets');
    for (const { pcrs } of sets) {
      must(pcrs.has(0), 'without PCR0');
      for (const [index, value] of pcrs) must(index >= 0 && index < 32 && value.length === 48, 'a PCR');
    }
    return sets;
  },
};
