/**
 * The fixed parts of an enclave image file (EIF), as the README of aws-nitro-enclaves-image-format defines them; all
 * numbers big-endian. Supported: versions 2, 3 and 4. Versions 0 and 1 were never published and no loader takes them;
 * later ones are undefined. The hypervisor handles 2, 3 and 4 alike but for the metadata section, mandatory in 4.
 *
 * Reserved fields and undefined flags must be zero: loaders ignore them and no PCR covers them, so whatever stands
 * there is meant for somebody else's parser.
 */
import { QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';

/** EifHeader: 28 bytes of fields, two tables of 32 u64, reserved, CRC. */
export const HEADER_BYTES = 548;
/** The CRC-32 is the header's last field and covers everything but itself. */
export const CRC_OFFSET = 544;
/** EifSectionHeader: u16 type, u16 flags, u64 size. */
export const SECTION_HEADER_BYTES = 12;

const MAGIC = 0x2e656966;
const FLAG_ARM64 = 1;
const SLOTS = 32;
const OFFSETS = 28;
const SIZES = OFFSETS + SLOTS * 8;
const RESERVED = SIZES + SLOTS * 8;

export const SECTION_TYPES = ['kernel', 'cmdline', 'ramdisk', 'signature', 'metadata'] as const;
export type SectionType = (typeof SECTION_TYPES)[number];

export interface ImageHeader {
  readonly version: 2 | 3 | 4;
  readonly architecture: 'x86_64' | 'arm64';
  /** Bytes. Neither nitro-cli nor the hypervisor uses it. */
  readonly defaultMemory: bigint;
  readonly defaultCpus: bigint;
  readonly crc32: number;
  /** As claimed; one entry per section. */
  readonly table: readonly { readonly offset: bigint; readonly size: bigint }[];
}

export interface SectionHeader {
  readonly type: SectionType;
  readonly size: bigint;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/**
 * @param bytes the first 548 bytes
 * @throws QvError eif_*
 */
export function readHeader(bytes: Uint8Array): ImageHeader {
  const view = viewOf(bytes);
  // 0x00 magic, 0x04 version, 0x06 flags
  if (view.getUint32(0) !== MAGIC) throw new QvError('eif_magic_invalid');
  const version = readVersion(view.getUint16(4));
  const flags = view.getUint16(6);
  if ((flags & ~FLAG_ARM64) !== 0) throw new QvError('eif_flags_unknown', { path: 'header', value: hex(flags) });
  // 0x08 default_mem, 0x10 default_cpus, 0x18 reserved, 0x1a num_sections, 0x21c reserved, 0x220 crc_32
  if (view.getUint16(24) !== 0 || view.getUint32(RESERVED) !== 0)
    throw new QvError('eif_reserved_not_zero', { path: 'header' });
  return {
    version,
    architecture: (flags & FLAG_ARM64) === 0 ? 'x86_64' : 'arm64',
    defaultMemory: view.getBigUint64(8),
    defaultCpus: view.getBigUint64(16),
    crc32: view.getUint32(CRC_OFFSET),
    table: readTable(view),
  };
}

function readVersion(version: number): 2 | 3 | 4 {
  if (version !== 2 && version !== 3 && version !== 4)
    throw new QvError('eif_version_unsupported', { value: String(version) });
  return version;
}

/** 0x1c section_offsets, 0x11c section_sizes: one slot per section, the others unused. */
function readTable(view: DataView): ImageHeader['table'] {
  const count = view.getUint16(26);
  if (count < LIMITS.eifSectionsMin || count > LIMITS.eifSectionsMax)
    throw new QvError('eif_section_count_invalid', { value: String(count) });
  const slots = Array.from({ length: SLOTS }, (_, index) => ({
    offset: view.getBigUint64(OFFSETS + index * 8),
    size: view.getBigUint64(SIZES + index * 8),
  }));
  if (slots.slice(count).some(({ offset, size }) => offset !== 0n || size !== 0n))
    throw new QvError('eif_reserved_not_zero', { path: 'section table' });
  return slots.slice(0, count);
}

/** @throws QvError eif_section_type_unknown, eif_flags_unknown */
export function readSectionHeader(bytes: Uint8Array, path: string): SectionHeader {
  const view = viewOf(bytes);
  const number = view.getUint16(0);
  // Numbered from 1; 0 is EifSectionInvalid. QEMU skips what it does not know, the hypervisor refuses it.
  const type = SECTION_TYPES[number - 1];
  if (type === undefined) throw new QvError('eif_section_type_unknown', { path, value: String(number) });
  const flags = view.getUint16(2);
  if (flags !== 0) throw new QvError('eif_flags_unknown', { path, value: hex(flags) });
  return { type, size: view.getBigUint64(4) };
}

const hex = (value: number): string => `0x${value.toString(16)}`;
