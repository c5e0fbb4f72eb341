/** Enclave images: the layout that two loaders must agree on, measurements, and the signature section. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { decodeAttestationDocument } from '@quantumvault/shared/attestation/document.ts';
import { concatBytes, equalBytes, fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { readLayout } from '@quantumvault/shared/eif/layout.ts';
import { measureImage } from '@quantumvault/shared/eif/measure.ts';
import { readSignatureSection } from '@quantumvault/shared/eif/signature-section.ts';
import { readSigningCertificate } from '@quantumvault/shared/eif/signing-certificate.ts';
import { memorySource } from '@quantumvault/shared/eif/source.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { toPem } from '../../stack/certificate.ts';
import { WireMap, type WireValue, writeCbor } from '../../stack/nsm/cbor-writer.ts';
import { cmdline, kernel, metadata, plainSections, ramdisk, section, writeImage } from '../../support/eif.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import type { Mutator } from '../engine/mutate.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
import { isRefused, mustEndThere } from './checks.ts';
import { filled } from './samples.ts';

const STRUCTURE = [
  'eif_truncated',
  'eif_magic_invalid',
  'eif_version_unsupported',
  'eif_flags_unknown',
  'eif_reserved_not_zero',
  'eif_section_count_invalid',
  'eif_section_offset_mismatch',
  'eif_section_size_mismatch',
  'eif_section_type_unknown',
  'eif_section_missing',
  'eif_section_repeated',
  'eif_section_order_invalid',
  'eif_section_too_large',
  'eif_trailing_bytes',
] as const;
const SIGNATURE = ['eif_signature_malformed', 'eif_signature_entries_unsupported'] as const;

/** Where headers stand is not by chance: most changes go there. */
const changeHeaders: Mutator = (input, { random }) => {
  if (input.length < 548) return undefined;
  const copy = Uint8Array.from(input);
  const view = new DataView(copy.buffer);
  const slot = random.below(6);
  const at = random.pick([4, 6, 8, 16, 24, 26, 28 + slot * 8, 284 + slot * 8, 540]);
  const old = view.getBigUint64(Math.min(at, copy.length - 8));
  if (at === 4 || at === 6 || at === 24 || at === 26)
    view.setUint16(at, random.once(2) ? random.below(6) : random.u32() & 0xffff);
  else if (at === 540) view.setUint32(at, random.below(2));
  else view.setBigUint64(at, BigInt.asUintN(64, old + BigInt(random.pick([-12, -1, 1, 12, 548, 2 ** 32]))));
  return copy;
};

/** Table, section header and data of one section changed together, as somebody would who knows the format. */
const resizeSection: Mutator = (input, { random }) => {
  if (input.length < 560) return undefined;
  const view = new DataView(input.buffer, input.byteOffset, input.length);
  const count = Math.min(32, view.getUint16(26));
  const chosen = random.below(count);
  const offsets = Array.from({ length: count }, (_, slot) => Number(view.getBigUint64(28 + slot * 8)));
  const sizes = Array.from({ length: count }, (_, slot) => Number(view.getBigUint64(284 + slot * 8)));
  const start = (offsets[chosen] ?? 0) + 12;
  const old = sizes[chosen] ?? 0;
  if (!(start + old <= input.length)) return undefined;
  const size = random.pick([0, 1, old + 1, Math.max(0, old - 1), 4_097]);
  const data = new Uint8Array(size).fill(0x61);
  data.set(input.subarray(start, start + Math.min(size, old)));
  const copy = concatBytes(input.subarray(0, start), data, input.subarray(start + old));
  const made = new DataView(copy.buffer);
  made.setBigUint64(284 + chosen * 8, BigInt(size));
  made.setBigUint64(start - 8, BigInt(size));
  for (let slot = chosen + 1; slot < count; slot++)
    made.setBigUint64(28 + slot * 8, BigInt((offsets[slot] ?? 0) + size - old));
  return copy;
};

/** A wrong CRC hides all that is said of the small sections. */
const rightCrc: Mutator = (input) => {
  if (input.length < 548) return undefined;
  const copy = Uint8Array.from(input);
  new DataView(copy.buffer).setUint32(544, crc32(copy.subarray(548), crc32(copy.subarray(0, 544))));
  return copy;
};

const vector = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../vectors/eif/${name}.eif`, import.meta.url)));

/** PCRn by the published formula, by Node's hash. */
function register(parts: readonly Uint8Array[]): Uint8Array {
  const content = createHash('sha384')
    .update(concatBytes(...parts))
    .digest();
  return new Uint8Array(createHash('sha384').update(new Uint8Array(48)).update(content).digest());
}

export const eif: Target = {
  name: 'eif',
  covers: [
    'shared/src/eif/format.ts#readHeader',
    'shared/src/eif/format.ts#readSectionHeader',
    'shared/src/eif/layout.ts#readLayout',
    'shared/src/eif/source.ts#readWhole',
    'shared/src/eif/measurements.ts#readContents',
  ],
  seeds: () => ({
    plain: writeImage({ sections: plainSections }),
    'version-3': writeImage({ sections: [kernel, cmdline, ramdisk()], version: 3 }),
    signed: writeImage({ sections: [...plainSections, section('signature', signatureSection())] }),
    'other-order': writeImage({ sections: [metadata, cmdline, kernel, ramdisk()] }),
    one: vector('v4-unsigned-1ramdisk').slice(0, 4_000),
  }),
  mutators: [changeHeaders, resizeSection, rightCrc, rightCrc],
  dictionary: ['0001', '0002', '0003', '0004', '0005', '0000000000000000', 'ffffffffffffffff', '000000000000000c'].map(
    (hex) => fromHex(hex),
  ),
  maxBytes: 8_192,
  codes: [...STRUCTURE, 'eif_metadata_malformed', 'eif_certificate_malformed', ...SIGNATURE],
  executions: 700,
  async run(input) {
    const { sections, header } = await readLayout(memorySource(input));
    const bytes = sections.reduce((sum, { size }) => sum + 12 + size, 548);
    must(bytes === input.length, 'sections are not the whole file');
    must(header.table.length === sections.length, 'another number of sections');
    const report = await measureImage(memorySource(input), { nowMs: Date.UTC(2026, 5, 1) });
    const dataOf = (...types: readonly string[]): readonly Uint8Array[] =>
      sections
        .filter(({ type }) => types.includes(type))
        .map(({ offset, size }) => input.subarray(offset + 12, offset + 12 + size));
    mustEqualBytes(report.pcrs.get(0) ?? new Uint8Array(), register(dataOf('kernel', 'cmdline', 'ramdisk')), 'PCR0');
    mustEqualBytes(report.pcrs.get(2) ?? new Uint8Array(), register(dataOf('ramdisk').slice(1)), 'PCR2');
    must(report.crc32.computed === crc32(input.subarray(548), crc32(input.subarray(0, 544))), 'CRC');
    must(report.ok || report.failure !== undefined, 'neither right nor wrong');
    return { ...report, signature: undefined };
  },
};

const AWS = decodeAttestationDocument(
  new Uint8Array(
    readFileSync(
      new URL('../../vectors/attestation/real/2024-09-07-us-east-1-prod-blocky-72ffd835.bin', import.meta.url),
    ),
  ),
).certificate;
const PEM = utf8(toPem('CERTIFICATE', AWS));

/** As nitro-cli's signer writes it, with a signature that is none. */
function signatureSection(): Uint8Array {
  const integers = (bytes: Uint8Array): WireValue => [...bytes];
  const payload = writeCbor(
    new WireMap([
      ['register_index', 0],
      ['register_value', integers(filled(48, 0x10))],
    ]),
  );
  const sign1 = writeCbor([fromHex('a1013822'), new WireMap([]), payload, filled(96, 1)]);
  return writeCbor([
    new WireMap([
      ['signing_certificate', integers(PEM)],
      ['signature', integers(sign1)],
    ]),
  ]);
}

export const eifSignature: Target = {
  name: 'eif-signature',
  covers: ['shared/src/eif/signature-section.ts#readSignatureSection'],
  seeds: () => ({ section: signatureSection() }),
  mutators: [cborMutator()],
  dictionary: ['81', '82', 'a2', 'd2', '18ff', '190100', '58', 'a1013822'].map((hex) => fromHex(hex)),
  maxBytes: LIMITS.eifSignatureBytes + 16,
  codes: SIGNATURE,
  executions: 700,
  run(input) {
    const section = accept(readSignatureSection(input));
    must(section.sign1.signature.length <= 132, 'a signature longer than any');
    mustEndThere(readSignatureSection, input);
    return section;
  },
};

export const signingCertificate: Target = {
  name: 'signing-certificate',
  covers: ['shared/src/eif/signing-certificate.ts#readSigningCertificate'],
  seeds: () => ({
    pem: PEM,
    crlf: utf8(new TextDecoder().decode(PEM).replaceAll('\n', '\r\n')),
    spaced: utf8(`\n ${new TextDecoder().decode(PEM)}\t\n`),
  }),
  mutators: [textMutator],
  dictionary: ['-----BEGIN CERTIFICATE-----\n', '-----END CERTIFICATE-----\n', '-----BEGIN', '\r\n', '='].map(utf8),
  maxBytes: 4_096,
  codes: ['eif_certificate_malformed'],
  executions: 900,
  run(input) {
    const certificate = accept(readSigningCertificate(input));
    must(certificate.notBeforeMs <= 253402300799000 && Number.isFinite(certificate.notAfterMs), 'times');
    const again = readSigningCertificate(utf8(toPem('CERTIFICATE', certificate.der)));
    must(
      equalBytes(again.der, certificate.der) && again.subject === certificate.subject,
      'another certificate when printed',
    );
    must(isRefused(readSigningCertificate, concatBytes(input, PEM)), 'two certificates are one');
    return certificate;
  },
};
