/**
 * libsodium's guarded memory on the owner's machine: between guard pages, left out of core files, locked as far as the
 * system lets this user lock any, inaccessible while it is not open. What work with it left on the stack goes, too.
 */
import type { Sodium } from './sodium.ts';
import { overwriteStack } from './stack.ts';

/** One allocation. Whoever makes one wipes it. */
export class GuardedMemory {
  readonly #sodium: Sodium;
  readonly #memory: Buffer;
  #depth = 0;

  /** libsodium aborts the process when there is no memory: callers allocate few, and of fixed sizes. */
  constructor(sodium: Sodium, bytes: number) {
    this.#sodium = sodium;
    this.#memory = sodium.sodium_malloc(bytes);
    sodium.sodium_memzero(this.#memory);
    sodium.sodium_mprotect_noaccess(this.#memory);
  }

  /** Lends the bytes for one call. None of them may be kept or returned. */
  open<T>(use: (memory: Buffer) => T): T {
    this.#enter();
    try {
      return use(this.#memory);
    } finally {
      this.#leave();
    }
  }

  /** The same for work that waits: the pages stay readable in between, to this process. */
  async openWhile<T>(use: (memory: Buffer) => Promise<T>): Promise<T> {
    this.#enter();
    try {
      return await use(this.#memory);
    } finally {
      this.#leave();
    }
  }

  wipe(): void {
    this.open((memory) => this.#sodium.sodium_memzero(memory));
  }

  #enter(): void {
    if (this.#depth++ === 0) this.#sodium.sodium_mprotect_readwrite(this.#memory);
  }

  #leave(): void {
    if (--this.#depth > 0) return;
    this.#sodium.sodium_mprotect_noaccess(this.#memory);
    overwriteStack();
  }
}
