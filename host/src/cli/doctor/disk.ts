/** Room for what has to be written before a signature leaves. */
import { dirname } from 'node:path';
import type { Facts } from './facts.ts';
import { type Finding, failed, ok, skipped, systemCodeOf, warning } from './finding.ts';

const MEBIBYTE = 1024 * 1024;
/** Below it SQLite's log alone may not find room. */
const LEAST_BYTES = 64 * MEBIBYTE;
const LITTLE_BYTES = 1024 * MEBIBYTE;
const LITTLE_SHARE = 0.05;

export function checkDisk({ config: { store, freezeMarkers }, machine }: Facts): readonly Finding[] {
  const directories = [...new Set([dirname(store.sqlite), dirname(freezeMarkers)])];
  return directories.map((directory) => {
    try {
      const { freeBytes, totalBytes, freeFiles, totalFiles } = machine.space(directory);
      const left = `${directory}: ${Math.floor(freeBytes / MEBIBYTE)} MiB of ${Math.floor(totalBytes / MEBIBYTE)} free`;
      const fix = 'Make room, or grow the volume: without it nothing more is signed.';
      if (freeBytes < LEAST_BYTES) return failed('disk', left, fix);
      // Some file systems count no files.
      if (totalFiles > 0 && freeFiles === 0) return failed('disk', `${directory}: no inode is left`, fix);
      if (freeBytes < LITTLE_BYTES || freeBytes < LITTLE_SHARE * totalBytes) return warning('disk', left, fix);
      return ok('disk', left);
    } catch (error) {
      return skipped('disk', `${directory}: ${systemCodeOf(error) ?? String(error)}`);
    }
  });
}
