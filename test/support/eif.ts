/**
 * Writes enclave images, right ones and wrong ones: every field can be overruled. The PCRs are computed here from the
 * published formula by Node's hash, so that nothing of what is tested takes part.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';

export const TYPE = { invalid: 0, kernel: 1, cmdline: 2, ramdisk: 3, signature: 4, metadata: 5, unknown: 6 } as const;

export interface SectionSpec {
  readonly type: number;
  readonly data: Uint8Array;
  readonly flags?: number;
  /** In the section header; its length unless given. */
  readonly size?: bigint;
}

export interface ImageSpec {
  readonly sections: readonly SectionSpec[];
  readonly magic?: string;
  readonly version?: number;
  readonly flags?: number;
  readonly reserved?: number;
  readonly count?: number;
  /** Overrule slots of the tables. */
  readonly offsets?: Readonly<Record<number, bigint>>;
  readonly sizes?: Readonly<Record<number, bigint>>;
  readonly unused?: number;
  /** Behind the last section; part of the CRC. */
  readonly trailing?: Uint8Array;
  readonly crc?: number;
}

export const section = (type: keyof typeof TYPE, data: Uint8Array | string): SectionSpec => ({
  type: TYPE[type],
  data: typeof data === 'string' ? utf8(data) : data,
});

export const METADATA = JSON.stringify({
  ImageName: 'test',
  ImageVersion: '1',
  BuildMetadata: { BuildTime: 'now', BuildTool: 't', BuildToolVersion: '0', OperatingSystem: 'o', KernelVersion: 'k' },
  DockerInfo: {},
  CustomMetadata: {},
});

export const kernel = section('kernel', 'a kernel');
export const cmdline = section('cmdline', 'reboot=k panic=30');
export const metadata = section('metadata', METADATA);
export const ramdisk = (text = 'init'): SectionSpec => section('ramdisk', text);

/** In eif_build's order. */
export const plainSections: readonly SectionSpec[] = [kernel, cmdline, metadata, ramdisk(), ramdisk('application')];

/** The header's 548 bytes without a CRC. */
export function writeHeader(spec: ImageSpec): Uint8Array {
  const { sections, magic = '.eif', version = 4, flags = 0, reserved = 0, unused = 0 } = spec;
  const bytes = new Uint8Array(548);
  const view = new DataView(bytes.buffer);
  bytes.set(utf8(magic));
  view.setUint16(4, version);
  view.setUint16(6, flags);
  view.setBigUint64(8, 1n << 30n);
  view.setBigUint64(16, 2n);
  view.setUint16(24, reserved);
  view.setUint16(26, spec.count ?? sections.length);
  let offset = 548n;
  for (let slot = 0; slot < 32; slot++) {
    const length = sections[slot]?.data.length;
    const size = length === undefined ? 0n : (sections[slot]?.size ?? BigInt(length));
    view.setBigUint64(28 + slot * 8, spec.offsets?.[slot] ?? (length === undefined ? 0n : offset));
    view.setBigUint64(284 + slot * 8, spec.sizes?.[slot] ?? size);
    offset += length === undefined ? 0n : 12n + BigInt(length);
  }
  view.setUint32(540, unused);
  return bytes;
}

export function sectionHeader({ type, flags = 0, size, data }: SectionSpec): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, type);
  view.setUint16(2, flags);
  view.setBigUint64(4, size ?? BigInt(data.length));
  return bytes;
}

export function writeImage(spec: ImageSpec): Uint8Array {
  const header = writeHeader(spec);
  const body = concatBytes(
    ...spec.sections.flatMap((each) => [sectionHeader(each), each.data]),
    spec.trailing ?? new Uint8Array(),
  );
  const crc = spec.crc ?? crc32(body, crc32(header.subarray(0, 544)));
  new DataView(header.buffer).setUint32(544, crc);
  return concatBytes(header, body);
}

export function measured(...parts: readonly Uint8Array[]): string {
  const content = createHash('sha384').update(concatBytes(...parts));
  return createHash('sha384').update(new Uint8Array(48)).update(content.digest()).digest('hex');
}

/** PCR0, 1 and 2 in hex. */
export function expectedPcrs(sections: readonly SectionSpec[]): readonly [string, string, string] {
  const isRamdisk = ({ type }: SectionSpec): boolean => type === TYPE.ramdisk;
  const [first, ...others] = sections.filter(isRamdisk);
  const all = sections.filter(({ type }) => type >= TYPE.kernel && type <= TYPE.ramdisk);
  const data = (list: readonly SectionSpec[]): readonly Uint8Array[] => list.map((each) => each.data);
  const bootstrap = all.filter((each) => !isRamdisk(each) || each === first);
  return [measured(...data(all)), measured(...data(bootstrap)), measured(...data(others))];
}
