/** Documents and expectations as files, in the forms in which auditors have them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { negative, type RealSidecar, realVector, type Vector } from '../../shared/attestation/vectors.ts';

const folder = mkdtempSync(join(tmpdir(), 'qv-audit-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

export function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

export interface Document {
  readonly vector: Vector<RealSidecar>;
  readonly path: string;
  readonly pcr0: string;
}

/** A real document by a part of its name. */
export function realDocument(part: string): Document {
  const vector = realVector(part);
  return { vector, path: fileURLToPath(vector.file), pcr0: vector.sidecar.pcrs['0'] ?? '' };
}

export function negativeDocument(name: string): string {
  const found = negative.find((vector) => vector.name === name);
  if (found === undefined) throw new Error(`no vector ${name}`);
  return fileURLToPath(found.file);
}

/** PCR0 to 2 as nitro-cli prints them. */
export function measurements({ vector }: Document): Record<string, string> {
  const { pcrs } = vector.sidecar;
  return { PCR0: pcrs['0'] ?? '', PCR1: pcrs['1'] ?? '', PCR2: pcrs['2'] ?? '' };
}

export const production = realDocument('54ae0f97');
export const debug = realDocument('debug-blocky-f67dfb87');
/** The negative vectors derive from this one. */
export const mutated = realDocument('19b71700');
