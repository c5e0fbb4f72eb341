/** Enclave image files that QEMU boots, in the order of sections that AWS's eif_build writes. */
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { METADATA, type SectionSpec, section, writeImage } from '../support/eif.ts';

export interface ImageParts {
  readonly kernel: Uint8Array;
  readonly cmdline: string;
  /** cpio archives; the kernel unpacks them one over the other. */
  readonly ramdisks: readonly Uint8Array[];
}

export function enclaveImage({ kernel, cmdline, ramdisks }: ImageParts): Uint8Array {
  return writeImage({ sections: sectionsOf({ kernel, cmdline, ramdisks }) });
}

function sectionsOf({ kernel, cmdline, ramdisks }: ImageParts): SectionSpec[] {
  return [
    section('kernel', kernel),
    section('cmdline', cmdline),
    section('metadata', METADATA),
    ...ramdisks.map((ramdisk) => section('ramdisk', padded(ramdisk))),
  ];
}

/** One archive begins where the last one ended; a boundary of 512 bytes suits every reader. */
function padded(ramdisk: Uint8Array): Uint8Array {
  return concatBytes(ramdisk, new Uint8Array((512 - (ramdisk.length % 512)) % 512));
}
