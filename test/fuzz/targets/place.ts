/** Where targets put what is read from a file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One file, written anew for each input; private, as most of them have to be. */
export class Place {
  #folder = '';

  readonly open = async (): Promise<void> => {
    this.#folder = mkdtempSync(join(tmpdir(), 'qv-fuzz-'));
  };

  readonly close = async (): Promise<void> => rmSync(this.#folder, { recursive: true, force: true });

  write(bytes: Uint8Array): string {
    const path = join(this.#folder, 'file');
    writeFileSync(path, bytes, { mode: 0o600 });
    return path;
  }
}
