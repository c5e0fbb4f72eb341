/**
 * Bytes that nobody reads by accident: they cannot be printed, serialised, cloned or compared but in constant time, and
 * are lent for the length of one call. `npm run lint` follows them through that call (test/secret).
 *
 * They are held in an ArrayBuffer, never in an array that V8 allocated: one of up to 64 bytes, `Buffer.alloc` and
 * `Buffer.allocUnsafeSlow` included, is inside its moving heap, which leaves copies that nobody can wipe.
 */
import { QvError } from './errors.ts';

const exposed = (value: string): QvError => new QvError('secret_exposed', { value });

export class Secret {
  readonly #bytes: Uint8Array;
  #wiped = false;

  /**
   * Over memory that is there already, guarded memory included; who allocated it frees it. Guarded memory has to be
   * open during `use`, `equals` and `wipe`.
   * @throws RangeError when it is empty, or not inside of the memory
   */
  constructor(memory: ArrayBuffer, offset = 0, length = memory.byteLength - offset) {
    if (length === 0) throw new RangeError('a secret has bytes');
    this.#bytes = new Uint8Array(memory, offset, length);
    Object.freeze(this);
  }

  /** Moves bytes into memory of their own. What is given is wiped. */
  static take(bytes: Uint8Array): Secret {
    try {
      const secret = new Secret(new ArrayBuffer(bytes.length));
      secret.#bytes.set(bytes);
      return secret;
    } finally {
      bytes.fill(0);
    }
  }

  /** In bytes. */
  get length(): number {
    return this.#bytes.length;
  }

  /**
   * Lends the bytes to `work`, which returns before they may be wiped: nothing of them may be kept or returned.
   * @throws QvError secret_exposed after wipe(), or when the bytes or a promise come back; whatever `work` throws
   */
  use<T>(work: (bytes: Uint8Array) => T): T {
    if (this.#wiped) throw exposed('used after it was wiped');
    const result = work(this.#bytes);
    if (result instanceof Promise) throw exposed('lent to what has not ended');
    if (ArrayBuffer.isView(result) && result.buffer === this.#bytes.buffer) throw exposed('returned');
    return result;
  }

  /** Takes as long whatever the bytes are; only a difference of length shows. @throws QvError secret_exposed */
  equals(other: Secret): boolean {
    return this.use((mine) =>
      other.use((theirs) => {
        if (mine.length !== theirs.length) return false;
        let difference = 0;
        // secret-rule: bit by bit, without a branch
        for (let index = 0; index < mine.length; index++) difference |= (mine[index] ?? 0) ^ (theirs[index] ?? 0);
        return difference === 0;
      }),
    );
  }

  /** For good. Repeating it does nothing. */
  wipe(): void {
    if (this.#wiped) return;
    this.#wiped = true;
    this.#bytes.fill(0);
  }

  /** @throws QvError secret_exposed, as do the next three: String(), templates, + and JSON end here. */
  toString(): never {
    throw exposed('turned into text');
  }

  toJSON(): never {
    throw exposed('turned into JSON');
  }

  valueOf(): never {
    throw exposed('turned into a value');
  }

  [Symbol.toPrimitive](): never {
    throw exposed('turned into a value');
  }

  /** What console and util.inspect print; a log of an object around it is no reason to fail. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[secret]';
  }
}
