/**
 * Which bytes of an image are which section, and whether an image may be made of these.
 *
 * There are two ways to find sections, and different loaders take different ones: nitro-cli walks from section header
 * to section header until the file ends; QEMU follows the table in the header. An image on which the two disagree can
 * be measured as one thing and started as another, so here both must arrive at the same bytes, down to the last.
 */
import { QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import type { SectionType } from './format.ts';
import { HEADER_BYTES, type ImageHeader, readHeader, readSectionHeader, SECTION_HEADER_BYTES } from './format.ts';
import { type ImageSource, readWhole } from './source.ts';

export interface Section {
  readonly type: SectionType;
  /** Of its header, in bytes from the start of the file; its data follow 12 bytes later. */
  readonly offset: number;
  /** Of its data. */
  readonly size: number;
}

export interface Layout {
  readonly header: ImageHeader;
  readonly sections: readonly Section[];
  /** As read: hashing does not read them a second time, when they might be others. */
  readonly headerBytes: Uint8Array;
  readonly sectionHeaderBytes: readonly Uint8Array[];
}

/** Reads headers only, at most 33 of them. @throws QvError eif_* */
export async function readLayout(source: ImageSource): Promise<Layout> {
  const headerBytes = await readWhole(source, 0, HEADER_BYTES);
  const header = readHeader(headerBytes);
  const sections: Section[] = [];
  const sectionHeaderBytes: Uint8Array[] = [];
  let offset = HEADER_BYTES;
  for (const [index, claim] of header.table.entries()) {
    const path = `section ${index}`;
    if (claim.offset !== BigInt(offset))
      throw new QvError('eif_section_offset_mismatch', { path, value: `${claim.offset}, not ${offset}` });
    const dataOffset = offset + SECTION_HEADER_BYTES;
    const bytes = await readWhole(source, offset, SECTION_HEADER_BYTES);
    const { type, size } = readSectionHeader(bytes, path);
    if (size !== claim.size)
      throw new QvError('eif_section_size_mismatch', { path, value: `${size} and ${claim.size}` });
    // Compared as claimed, before it becomes a number: 2^64 - 1 must not round or wrap to something small.
    if (size > BigInt(source.size - dataOffset)) throw new QvError('eif_truncated', { path, value: `${size} bytes` });
    sections.push({ type, offset, size: Number(size) });
    sectionHeaderBytes.push(bytes);
    offset = dataOffset + Number(size);
  }
  if (offset !== source.size) throw new QvError('eif_trailing_bytes', { value: `${source.size - offset} bytes` });
  requireComposition(header, sections);
  return { header, sections, headerBytes, sectionHeaderBytes };
}

/** "Data sections" in the format's README. Apart from ramdisks behind the kernel, any order is legal. */
function requireComposition({ version }: ImageHeader, sections: readonly Section[]): void {
  const count = (type: SectionType): number => sections.filter((section) => section.type === type).length;
  const mandatory: readonly SectionType[] = [
    'kernel',
    'cmdline',
    'ramdisk',
    ...(version === 4 ? ['metadata' as const] : []),
  ];
  for (const type of mandatory) if (count(type) === 0) throw new QvError('eif_section_missing', { path: type });
  for (const type of ['kernel', 'cmdline', 'signature', 'metadata'] as const)
    if (count(type) > 1) throw new QvError('eif_section_repeated', { path: type });
  const kernel = sections.findIndex(({ type }) => type === 'kernel');
  if (sections.findIndex(({ type }) => type === 'ramdisk') < kernel) throw new QvError('eif_section_order_invalid');
  const held = { signature: LIMITS.eifSignatureBytes, metadata: LIMITS.eifMetadataBytes };
  for (const type of ['signature', 'metadata'] as const)
    if (sections.some((section) => section.type === type && section.size > held[type]))
      throw new QvError('eif_section_too_large', { path: type });
}
