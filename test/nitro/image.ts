/**
 * The enclave image: sections in the order that AWS's eif_build writes them, the application exactly as
 * enclave.Dockerfile lays it out, without a configuration, which comes in a ramdisk of its own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { buildImageTree } from '../../enclave/build.ts';
import { METADATA, section, writeImage } from '../support/eif.ts';
import { imageCommand, imageEnvironment } from '../support/image-command.ts';
import { cpioArchive, folderEntries } from '../vm/cpio.ts';
import { commandEntries, systemEntries } from './guest.ts';
import type { NitroMachine } from './machine.ts';

/** Of AWS's own command line, what this kernel and this emulator need. */
export const CMDLINE = 'console=ttyS0 random.trust_cpu=on';

export interface EnclaveImage {
  readonly machine: NitroMachine;
  readonly init: string;
  /** From `applicationRamdisk`. */
  readonly application: Uint8Array;
  /** The measured configuration file. */
  readonly config: string;
  /** Default CMDLINE. */
  readonly cmdline?: string;
}

/** Writes the image file. Every ramdisk in it is measured: the first into PCR1, the others into PCR2, all into PCR0. */
export function writeEnclaveImage(file: string, image: EnclaveImage): void {
  const { machine, init, application, config, cmdline = CMDLINE } = image;
  const system = cpioArchive([
    ...systemEntries(machine, init),
    { kind: 'file', path: 'heartbeat', content: new Uint8Array() },
  ]);
  const measuredConfig = cpioArchive([
    { kind: 'file', path: 'rootfs/enclave/config.json', content: Buffer.from(config) },
  ]);
  const ramdisks = [system, application, measuredConfig];
  const sections = [
    section('kernel', readFileSync(machine.kernel)),
    section('cmdline', cmdline),
    section('metadata', METADATA),
    ...ramdisks.map((ramdisk) => section('ramdisk', padded(ramdisk))),
  ];
  writeFileSync(file, writeImage({ sections }));
}

/** The production bundle with everything it needs, built in `folder`, and the command of the image. */
export async function applicationRamdisk(folder: string): Promise<Uint8Array> {
  const tree = join(folder, 'tree');
  await buildImageTree({ outDir: tree });
  return cpioArchive([...folderEntries(tree, 'rootfs'), ...commandEntries(imageCommand(), imageEnvironment())]);
}

/** One archive begins where the last one ended; a boundary of 512 bytes suits every reader. */
function padded(ramdisk: Uint8Array): Uint8Array {
  return concatBytes(ramdisk, new Uint8Array((512 - (ramdisk.length % 512)) % 512));
}
