/** A backup's database, put together again from its parts. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { QvError } from '@quantumvault/shared/errors.ts';
import { orUnwritable } from '../atomic-file.ts';
import { listedParts } from './folder.ts';
import type { Manifest } from './manifest.ts';
import { readPart } from './parts.ts';

/**
 * Every byte is hashed on its way. Durable when it returns; a file that is left after a refusal is for the caller.
 * @param to made anew, mode 0600
 * @throws QvError backup_damaged, output_unwritable
 */
export async function assemble(
  root: string,
  manifest: Manifest,
  to: string,
  onProgress: (done: number, of: number) => void = () => undefined,
): Promise<void> {
  const parts = await listedParts(root, manifest);
  const whole = createHash('sha256');
  let bytes = 0;
  const file = await orUnwritable(to, () => open(to, 'wx', 0o600));
  try {
    for (const name of parts) {
      const part = await readPart(root, name);
      whole.update(part);
      bytes += part.length;
      await orUnwritable(to, () => file.writeFile(part));
      onProgress(bytes, manifest.bytes);
    }
    if (bytes !== manifest.bytes || whole.digest('hex') !== manifest.sha256)
      throw new QvError('backup_damaged', { path: 'parts', value: 'together they are not the database' });
    await orUnwritable(to, () => file.sync());
  } finally {
    await file.close();
  }
}
