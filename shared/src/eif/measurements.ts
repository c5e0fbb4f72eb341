/**
 * One pass over an image: the CRC of everything, the measurements of what is measured, and a copy of the small
 * sections. Memory is one chunk and those copies, whatever the image's size.
 *
 * PCRn = SHA384(48 zero bytes || SHA384(data of its sections, in file order)) ("EIF Measurements"):
 * PCR0 kernel, cmdline and all ramdisks; PCR1 kernel, cmdline and the first ramdisk; PCR2 the other ramdisks.
 */
import { concatBytes } from '../bytes.ts';
import { LIMITS } from '../limits.ts';
import { CRC_OFFSET, HEADER_BYTES, SECTION_HEADER_BYTES } from './format.ts';
import type { Layout, Section } from './layout.ts';
import type { Primitives, RunningHash } from './primitives.ts';
import { type ImageSource, readPieces } from './source.ts';

/** Called after each piece; `done` reaches `total`. */
export type Progress = (done: number, total: number) => void;

export interface Contents {
  readonly crc32: number;
  readonly pcr0: Uint8Array;
  readonly pcr1: Uint8Array;
  readonly pcr2: Uint8Array;
  /** The beginning of it. */
  readonly commandLine: Uint8Array;
  readonly metadata?: Uint8Array;
  readonly signature?: Uint8Array;
}

/** PCRn, given a hash over what it measures. */
export function register(primitives: Primitives, measured: RunningHash): Uint8Array {
  const hash = primitives.sha384();
  hash.update(concatBytes(new Uint8Array(48), Uint8Array.from(measured.digest())));
  return Uint8Array.from(hash.digest());
}

/** @throws QvError eif_truncated when the source has become shorter */
export async function readContents(
  source: ImageSource,
  { headerBytes, sectionHeaderBytes, sections }: Layout,
  primitives: Primitives,
  onProgress: Progress,
): Promise<Contents> {
  const image = primitives.sha384();
  const bootstrap = primitives.sha384();
  const application = primitives.sha384();
  const firstRamdisk = sections.find(({ type }) => type === 'ramdisk');
  const hashesOf = (section: Section): readonly RunningHash[] => {
    if (section.type === 'kernel' || section.type === 'cmdline') return [image, bootstrap];
    if (section.type !== 'ramdisk') return [];
    return [image, section === firstRamdisk ? bootstrap : application];
  };
  const kept = {
    cmdline: new Keeper(LIMITS.eifCommandLineShownBytes),
    metadata: new Keeper(),
    signature: new Keeper(),
  };
  let crc = primitives.crc32(headerBytes.subarray(0, CRC_OFFSET), 0);
  let done = HEADER_BYTES;
  for (const [index, section] of sections.entries()) {
    crc = primitives.crc32(sectionHeaderBytes[index] ?? new Uint8Array(), crc);
    done += SECTION_HEADER_BYTES;
    const hashes = hashesOf(section);
    const keeper = section.type === 'kernel' || section.type === 'ramdisk' ? undefined : kept[section.type];
    const start = section.offset + SECTION_HEADER_BYTES;
    for await (const piece of readPieces(source, start, section.size, LIMITS.eifChunkBytes)) {
      crc = primitives.crc32(piece, crc);
      for (const hash of hashes) hash.update(piece);
      keeper?.add(piece);
      done += piece.length;
      onProgress(done, source.size);
    }
  }
  const has = (wanted: Section['type']): boolean => sections.some(({ type }) => type === wanted);
  return {
    crc32: crc,
    pcr0: register(primitives, image),
    pcr1: register(primitives, bootstrap),
    pcr2: register(primitives, application),
    commandLine: kept.cmdline.bytes(),
    ...(has('metadata') && { metadata: kept.metadata.bytes() }),
    ...(has('signature') && { signature: kept.signature.bytes() }),
  };
}

/** Copies pieces, which their source may overwrite. The layout has bounded the sections that are kept whole. */
class Keeper {
  readonly #pieces: Uint8Array[] = [];
  #room: number;

  constructor(room = Number.POSITIVE_INFINITY) {
    this.#room = room;
  }

  add(piece: Uint8Array): void {
    const copy = piece.slice(0, Math.min(piece.length, this.#room));
    this.#room -= copy.length;
    if (copy.length > 0) this.#pieces.push(copy);
  }

  bytes(): Uint8Array {
    return concatBytes(...this.#pieces);
  }
}
