/** Inputs on disk: corpus/<target>/<name>, and findings/<target>/<hash>. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const FOLDER = join(import.meta.dirname, '..');
/** What the script has made of a target's seeds; all others were found. */
export const SEED = 'seed-';

export interface Stored {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export function readStored(kind: 'corpus' | 'findings', target: string): readonly Stored[] {
  const folder = join(FOLDER, kind, target);
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).sort();
  return names.map((name) => ({ name, bytes: new Uint8Array(readFileSync(join(folder, name))) }));
}

/** Returns the path. */
export function store(kind: 'corpus' | 'findings', target: string, name: string, bytes: Uint8Array): string {
  const folder = join(FOLDER, kind, target);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
}

export const nameOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16);
