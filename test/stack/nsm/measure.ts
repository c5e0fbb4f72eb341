/**
 * Measurements by the formula of AWS's enclave image files: PCRn = SHA384(48 zero bytes || SHA384(data)), where data
 * is kernel + command line + all ramdisks for PCR0, kernel + command line + first ramdisk for PCR1, and the
 * remaining ramdisks for PCR2. Headers, names and boundaries between sections are not measured.
 *
 * The local stack has no kernel and no ramdisks; `standInImage` says what takes their places.
 */
import { createHash } from 'node:crypto';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';

export const PCR_BYTES = 48;
export const ZERO_PCR: Uint8Array = new Uint8Array(PCR_BYTES);

export interface Image {
  readonly kernel: Uint8Array;
  readonly cmdline: Uint8Array;
  readonly ramdisks: readonly Uint8Array[];
}

export interface Measurements {
  readonly pcr0: Uint8Array;
  readonly pcr1: Uint8Array;
  readonly pcr2: Uint8Array;
}

export function sha384(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha384');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** What a register holds after one value was put into its zero state. PCR3 and PCR4 take the text itself. */
export function extendZero(data: Uint8Array): Uint8Array {
  return sha384(ZERO_PCR, data);
}

export function measure(image: Image): Measurements {
  const [first = new Uint8Array(), ...rest] = image.ramdisks;
  return {
    pcr0: extendZero(sha384(image.kernel, image.cmdline, ...image.ramdisks)),
    pcr1: extendZero(sha384(image.kernel, image.cmdline, first)),
    pcr2: extendZero(sha384(...rest)),
  };
}

/** Four-byte big-endian lengths before each file, so that no byte moves from one file to another unseen. */
export function lengthPrefixed(files: readonly Uint8Array[]): Uint8Array {
  return concatBytes(
    ...files.flatMap((file) => {
      const prefix = Buffer.alloc(4);
      prefix.writeUInt32BE(file.length);
      return [prefix, file];
    }),
  );
}

export interface StandInParts {
  /** The version of the Node binary that runs the enclave, as `process.version` prints it. */
  readonly nodeVersion: string;
  /** The enclave's command line. */
  readonly cmdline: string;
  /** sodium-native's addon. */
  readonly addon: Uint8Array;
  /** The enclave's bundle files, then its measured configuration. */
  readonly files: readonly Uint8Array[];
}

export function standInImage(parts: StandInParts): Image {
  return {
    kernel: utf8(parts.nodeVersion),
    cmdline: utf8(parts.cmdline),
    ramdisks: [parts.addon, lengthPrefixed(parts.files)],
  };
}
