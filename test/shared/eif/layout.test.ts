/** Images with one thing wrong, each with a right CRC: the code says which thing. And odd ones that are legal. */
import { fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { type ImageReport, measureImage } from '@quantumvault/shared/eif/measure.ts';
import { type ImageSource, memorySource } from '@quantumvault/shared/eif/source.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { describe, expect, test } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import * as eif from '../../support/eif.ts';

const { kernel, cmdline, metadata, ramdisk, plainSections, section, writeImage } = eif;
const measure = (bytes: Uint8Array): Promise<ImageReport> => measureImage(memorySource(bytes), { nowMs: 0 });
const image = (more: Partial<eif.ImageSpec>): Uint8Array => writeImage({ sections: plainSections, ...more });
const of = (...sections: readonly eif.SectionSpec[]): Uint8Array => writeImage({ sections });
const HUGE = (1n << 64n) - 1n;
const second = BigInt(548 + 12 + kernel.data.length);

const WRONG: readonly (readonly [string, Uint8Array, ErrorCode])[] = [
  ['nothing', new Uint8Array(), 'eif_truncated'],
  ['a header without its last byte', image({}).subarray(0, 547), 'eif_truncated'],
  ['a header alone', image({}).subarray(0, 548), 'eif_truncated'],
  ['half a section header', image({}).subarray(0, 554), 'eif_truncated'],
  ['half a section', image({}).subarray(0, 562), 'eif_truncated'],
  ['all but the last byte', image({}).subarray(0, -1), 'eif_truncated'],
  ['a section of 2^64 - 1 bytes', of({ ...kernel, size: HUGE }, cmdline, metadata, ramdisk()), 'eif_truncated'],
  ['a section of 2^53 + 1 bytes', of({ ...kernel, size: (1n << 53n) + 1n }, cmdline, ramdisk()), 'eif_truncated'],
  ['another magic', image({ magic: '.eiF' }), 'eif_magic_invalid'],
  ['version 0', image({ version: 0 }), 'eif_version_unsupported'],
  ['version 1', image({ version: 1 }), 'eif_version_unsupported'],
  ['version 5', image({ version: 5 }), 'eif_version_unsupported'],
  ['a version in little-endian', image({ version: 0x0400 }), 'eif_version_unsupported'],
  ['an unknown flag', image({ flags: 2 }), 'eif_flags_unknown'],
  ['arm64 and an unknown flag', image({ flags: 0x8001 }), 'eif_flags_unknown'],
  ['a section flag', of(kernel, { ...cmdline, flags: 1 }, metadata, ramdisk()), 'eif_flags_unknown'],
  ['reserved', image({ reserved: 1 }), 'eif_reserved_not_zero'],
  ['the second reserved field', image({ unused: 1 }), 'eif_reserved_not_zero'],
  ['an offset in an unused slot', image({ offsets: { 31: 1n } }), 'eif_reserved_not_zero'],
  ['a size in an unused slot', image({ sizes: { 5: 1n } }), 'eif_reserved_not_zero'],
  ['no section', image({ count: 0 }), 'eif_section_count_invalid'],
  ['one section', image({ count: 1 }), 'eif_section_count_invalid'],
  ['33 sections', image({ count: 33 }), 'eif_section_count_invalid'],
  ['65,535 sections', image({ count: 0xffff }), 'eif_section_count_invalid'],
  ['an overlap', image({ offsets: { 1: second - 1n } }), 'eif_section_offset_mismatch'],
  ['a gap', image({ offsets: { 1: second + 1n } }), 'eif_section_offset_mismatch'],
  ['a first section inside the header', image({ offsets: { 0: 0n } }), 'eif_section_offset_mismatch'],
  ['two table entries for one section', image({ offsets: { 1: 548n } }), 'eif_section_offset_mismatch'],
  ['an offset of 2^64 - 1', image({ offsets: { 1: HUGE } }), 'eif_section_offset_mismatch'],
  ['another size in the table', image({ sizes: { 0: 1n } }), 'eif_section_size_mismatch'],
  ['2^64 - 1 in the table', image({ sizes: { 0: HUGE } }), 'eif_section_size_mismatch'],
  ['type 0', of(kernel, cmdline, metadata, ramdisk(), { type: 0, data: utf8('x') }), 'eif_section_type_unknown'],
  ['type 6', of(kernel, cmdline, metadata, ramdisk(), { type: 6, data: utf8('x') }), 'eif_section_type_unknown'],
  ['no kernel', of(cmdline, metadata, ramdisk()), 'eif_section_missing'],
  ['no cmdline', of(kernel, metadata, ramdisk()), 'eif_section_missing'],
  ['no ramdisk', of(kernel, cmdline, metadata), 'eif_section_missing'],
  ['version 4 without metadata', of(kernel, cmdline, ramdisk()), 'eif_section_missing'],
  ['two kernels', of(kernel, kernel, cmdline, metadata, ramdisk()), 'eif_section_repeated'],
  ['two cmdlines', of(kernel, cmdline, cmdline, metadata, ramdisk()), 'eif_section_repeated'],
  ['metadata twice', of(kernel, cmdline, metadata, metadata, ramdisk()), 'eif_section_repeated'],
  [
    'two signatures',
    of(...plainSections, section('signature', 'a'), section('signature', 'b')),
    'eif_section_repeated',
  ],
  ['a ramdisk before the kernel', of(ramdisk(), kernel, cmdline, metadata), 'eif_section_order_invalid'],
  ['one of two before it', of(ramdisk(), kernel, cmdline, metadata, ramdisk()), 'eif_section_order_invalid'],
  [
    'a large signature',
    of(...plainSections, section('signature', 'x'.repeat(LIMITS.eifSignatureBytes + 1))),
    'eif_section_too_large',
  ],
  [
    'large metadata',
    of(kernel, cmdline, section('metadata', ' '.repeat(LIMITS.eifMetadataBytes + 1)), ramdisk()),
    'eif_section_too_large',
  ],
  ['a byte behind', image({ trailing: utf8('x') }), 'eif_trailing_bytes'],
  ['a section the header does not count', image({ trailing: eif.sectionHeader(ramdisk()) }), 'eif_trailing_bytes'],
  ['metadata that is no JSON', of(kernel, cmdline, section('metadata', '{'), ramdisk()), 'eif_metadata_malformed'],
  ['empty metadata', of(kernel, cmdline, section('metadata', ''), ramdisk()), 'eif_metadata_malformed'],
  ['metadata that is a list', of(kernel, cmdline, section('metadata', '[]'), ramdisk()), 'eif_metadata_malformed'],
  ['metadata that is null', of(kernel, cmdline, section('metadata', 'null'), ramdisk()), 'eif_metadata_malformed'],
  [
    'metadata with a key twice',
    of(kernel, cmdline, section('metadata', '{"a":1,"a":2}'), ramdisk()),
    'eif_metadata_malformed',
  ],
  [
    'metadata nested deep',
    of(kernel, cmdline, section('metadata', '['.repeat(100_000)), ramdisk()),
    'eif_metadata_malformed',
  ],
  [
    'metadata that is not UTF-8',
    of(kernel, cmdline, { ...metadata, data: fromHex('7bff7d') }, ramdisk()),
    'eif_metadata_malformed',
  ],
];

describe('refused', () => {
  for (const [name, bytes, code] of WRONG) test(`${name}: ${code}`, () => expectCode(measure(bytes), code));

  test('33 sections, all of them there', () =>
    expectCode(measure(of(kernel, cmdline, metadata, ...new Array(30).fill(ramdisk()))), 'eif_section_count_invalid'));

  test('a source that becomes shorter, or gives more than it was asked for', async () => {
    const bytes = image({});
    const shrinking: ImageSource = {
      size: bytes.length,
      read: async (offset, length) => bytes.subarray(offset, Math.min(offset + length, bytes.length - 1)),
    };
    await expectCode(measureImage(shrinking, { nowMs: 0 }), 'eif_truncated');
    const generous: ImageSource = { size: bytes.length, read: async (offset) => bytes.subarray(offset) };
    await expectCode(measureImage(generous, { nowMs: 0 }), 'eif_truncated');
  });
});

const pcrsOf = (report: ImageReport): readonly string[] => [...report.pcrs.values()].map(toHex);

describe('measured', () => {
  const LEGAL: readonly (readonly [string, readonly eif.SectionSpec[], Partial<eif.ImageSpec>])[] = [
    ['as eif_build orders them', plainSections, {}],
    ['one ramdisk', [kernel, cmdline, metadata, ramdisk()], {}],
    ['28 more ramdisks', [kernel, cmdline, metadata, ...Array.from({ length: 29 }, (_, n) => ramdisk(`${n}`))], {}],
    ['metadata last', [kernel, cmdline, ramdisk(), ramdisk('2'), metadata], {}],
    ['metadata first', [metadata, kernel, cmdline, ramdisk()], {}],
    ['cmdline before the kernel', [cmdline, kernel, metadata, ramdisk(), ramdisk('2')], {}],
    ['cmdline between the ramdisks', [kernel, ramdisk(), cmdline, ramdisk('2'), metadata], {}],
    ['cmdline after the ramdisks', [kernel, ramdisk(), ramdisk('2'), cmdline, metadata], {}],
    ['an empty cmdline and ramdisk', [kernel, section('cmdline', ''), metadata, ramdisk('')], {}],
    ['arm64', plainSections, { flags: 1 }],
    ['version 3 without metadata', [kernel, cmdline, ramdisk()], { version: 3 }],
    ['version 2 without metadata', [kernel, cmdline, ramdisk(), ramdisk('2')], { version: 2 }],
    ['version 3 with metadata', plainSections, { version: 3 }],
  ];
  for (const [name, sections, more] of LEGAL)
    test(name, async () => {
      const report = await measure(writeImage({ sections, ...more }));
      expect(report.ok).toBe(true);
      expect(pcrsOf(report)).toEqual(eif.expectedPcrs(sections));
      expect(report.header.architecture).toBe(more.flags === 1 ? 'arm64' : 'x86_64');
      expect(report.header.version).toBe(more.version ?? 4);
    });

  test('a boundary moved from cmdline to the first ramdisk keeps every PCR, and the report shows where it is', async () => {
    const [a, b] = await Promise.all(
      [
        [kernel, section('cmdline', 'quiet init=/x'), metadata, ramdisk('disk'), ramdisk('2')],
        [kernel, section('cmdline', 'quiet '), metadata, ramdisk('init=/xdisk'), ramdisk('2')],
      ].map((sections) => measure(writeImage({ sections }))),
    );
    if (a === undefined || b === undefined) return expect.unreachable();
    expect(pcrsOf(a)).toEqual(pcrsOf(b));
    expect(a.commandLine).toBe('quiet init=/x');
    expect(b.commandLine).toBe('quiet ');
    expect(a.sections).not.toEqual(b.sections);
    expect(a.notCovered.join()).toContain('boundaries');
  });

  test('the beginning of a long command line', async () => {
    const report = await measure(of(kernel, section('cmdline', 'x'.repeat(10_000)), metadata, ramdisk()));
    expect(report.commandLine.length).toBe(LIMITS.eifCommandLineShownBytes);
  });

  test('metadata as large as allowed, in one string', async () => {
    const long = JSON.stringify({ a: 'x'.repeat(LIMITS.eifMetadataBytes - 8) });
    const report = await measure(of(kernel, cmdline, section('metadata', long), ramdisk()));
    expect(report.unmeasuredMetadata?.['a']).toHaveLength(LIMITS.eifMetadataBytes - 8);
  });

  test('from a source that gives a few bytes at a time out of one buffer', async () => {
    const bytes = image({});
    const buffer = new Uint8Array(7);
    const seen: number[] = [];
    const source: ImageSource = {
      size: bytes.length,
      read: async (offset, length) => {
        const piece = buffer.subarray(0, Math.min(length, buffer.length));
        piece.set(bytes.subarray(offset, offset + piece.length));
        return piece;
      },
    };
    const report = await measureImage(source, { nowMs: 0, onProgress: (done) => seen.push(done) });
    expect(report).toEqual(await measure(bytes));
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.at(-1)).toBe(bytes.length);
  });
});
