/** The documents under test/vectors/attestation: real ones, and ones that must be refused, each with its provenance. */
import { readdirSync, readFileSync } from 'node:fs';
import { fromHex } from '@quantumvault/shared/bytes.ts';

const FOLDER = new URL('../../vectors/attestation/', import.meta.url);

export interface Vector<Sidecar> {
  readonly name: string;
  readonly file: URL;
  readonly bytes: Uint8Array;
  readonly sidecar: Sidecar;
}

export interface RealSidecar {
  readonly module_id: string;
  readonly timestamp_ms: number;
  readonly pcrs: Readonly<Record<string, string>>;
  readonly debug_mode: boolean;
  readonly payload_indefinite_map: boolean;
  readonly public_key: FieldFacts;
  readonly user_data: FieldFacts;
  readonly nonce: FieldFacts;
  readonly certificates: readonly { readonly subject: string }[];
}

interface FieldFacts {
  readonly present: boolean;
  readonly length: number | null;
  readonly hex?: string;
}

export interface NegativeSidecar {
  readonly expected: string;
}

function load<Sidecar>(folder: string): readonly Vector<Sidecar>[] {
  const base = new URL(folder, FOLDER);
  return readdirSync(base)
    .filter((file) => file.endsWith('.bin'))
    .map((file) => ({
      name: file.slice(0, -4),
      file: new URL(file, base),
      bytes: new Uint8Array(readFileSync(new URL(file, base))),
      sidecar: JSON.parse(readFileSync(new URL(file.replace(/bin$/, 'json'), base), 'utf8')) as Sidecar,
    }));
}

export const real = load<RealSidecar>('real/');
export const negative = load<NegativeSidecar>('negative/');

export function pcrsOf(sidecar: RealSidecar): Map<number, Uint8Array> {
  return new Map(Object.entries(sidecar.pcrs).map(([index, hex]) => [Number(index), fromHex(hex)]));
}

export function realVector(part: string): Vector<RealSidecar> {
  const found = real.find(({ name }) => name.includes(part));
  if (found === undefined) throw new Error(`no vector ${part}`);
  return found;
}
