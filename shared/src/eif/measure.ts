/**
 * Measures an enclave image file: what AWS's tools call PCR0, 1, 2 and 8, and everything that those do not say.
 * `measureImage` is its own checklist. Bounded memory, any runtime; README.md has the reasons.
 */
import { QvError } from '../errors.ts';
import { type JsonObject, parseStrictJson } from '../json.ts';
import type { ImageHeader } from './format.ts';
import { readLayout, type Section } from './layout.ts';
import { type Progress, readContents } from './measurements.ts';
import { PORTABLE, type Primitives } from './primitives.ts';
import { examineSignature, type Failure, type SignatureFindings } from './signature.ts';
import type { ImageSource } from './source.ts';

export interface MeasureOptions {
  /** The time at which the signing certificate's validity is looked at: now, by the caller's clock. */
  readonly nowMs: number;
  readonly primitives?: Primitives;
  readonly onProgress?: Progress;
}

export interface ImageReport {
  /** The CRC holds and, if the image is signed, so does its signature. */
  readonly ok: boolean;
  /** The first check that does not hold. The measurements are still those of the bytes. */
  readonly failure?: Failure;
  readonly size: number;
  readonly header: Pick<ImageHeader, 'version' | 'architecture' | 'defaultMemory' | 'defaultCpus'>;
  readonly sections: readonly Section[];
  readonly crc32: { readonly stated: number; readonly computed: number };
  /** 0, 1 and 2, and 8 of a signed image; 48 bytes each. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  /** The first 4,096 bytes, as text. Measured, but see NOT_COVERED for where it ends. */
  readonly commandLine: string;
  readonly signature?: SignatureFindings;
  /** Whoever holds the file can write anything here and keep every PCR. Absent in versions 2 and 3 without it. */
  readonly unmeasuredMetadata?: JsonObject;
  readonly notCovered: readonly string[];
}

/** What two images with the same PCRs may still differ in. */
export const NOT_COVERED: readonly string[] = [
  'header: version, architecture, default memory and CPUs',
  'metadata section: name, version, build and container information',
  'section headers and boundaries: bytes moved between cmdline and first ramdisk keep PCR0, 1 and 2; compare the sizes',
  'order and position of the signature and metadata sections',
  'signature: PCR8 measures the certificate, not that it signed',
];

/**
 * @throws QvError eif_* when the bytes are no image that the format allows: the first reason found. A CRC or a
 * signature that does not hold is not thrown but reported, with the measurements.
 */
export async function measureImage(source: ImageSource, options: MeasureOptions): Promise<ImageReport> {
  const { primitives = PORTABLE, onProgress = () => {}, nowMs } = options;
  const layout = await readLayout(source);
  const contents = await readContents(source, layout, primitives, onProgress);
  const { header, sections } = layout;
  const report = {
    size: source.size,
    header,
    sections,
    crc32: { stated: header.crc32, computed: contents.crc32 },
    commandLine: new TextDecoder().decode(contents.commandLine),
    notCovered: NOT_COVERED,
  };
  const pcrs = new Map([contents.pcr0, contents.pcr1, contents.pcr2].entries());
  if (header.crc32 !== contents.crc32) {
    // Damaged: what the small sections seem to say is not worth reading.
    const value = `${crcText(header.crc32)}, not ${crcText(contents.crc32)}`;
    return { ...report, ok: false, failure: { code: 'eif_crc_mismatch', value }, pcrs };
  }
  const unmeasuredMetadata = contents.metadata && readMetadata(contents.metadata);
  const signature =
    contents.signature && (await examineSignature(contents.signature, contents.pcr0, primitives, nowMs));
  if (signature !== undefined) pcrs.set(8, signature.pcr8);
  const failure = signature?.failure;
  return {
    ...report,
    ok: failure === undefined,
    ...(failure && { failure }),
    pcrs,
    ...(signature && { signature }),
    ...(unmeasuredMetadata && { unmeasuredMetadata }),
  };
}

export const crcText = (crc: number): string => crc.toString(16).padStart(8, '0');

/** nitro-cli reads no image without JSON here; its schema is not checked, because nothing in it is to be believed. */
function readMetadata(bytes: Uint8Array): JsonObject {
  let value: unknown;
  try {
    value = parseStrictJson(bytes);
  } catch (error) {
    const why = error instanceof QvError ? (error.facts.value ?? '') : 'syntax';
    throw new QvError('eif_metadata_malformed', { path: 'metadata', value: why }, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new QvError('eif_metadata_malformed', { path: 'metadata', value: 'not an object' });
  return value as JsonObject;
}
