// read as host/src/anything.ts
import type { Secret } from '@quantumvault/shared/secret.ts';

interface Log {
  info(facts: unknown, text?: string): void;
}

export class Holder {
  readonly #key: Secret;
  readonly #log: Log;

  constructor(key: Secret, log: Log) {
    this.#key = key;
    this.#log = log;
  }

  show(): void {
    console.log(this.#key); // flagged: logged
    console.error('key', { key: this.#key }); // flagged: logged
    this.#log.info({ key: this.#key }, 'made'); // flagged: logged
    this.#key.use((bytes) => console.log(bytes)); // flagged: logged
    this.#key.use((bytes) => this.#log.info({ bytes })); // flagged: logged
    this.#key.use((bytes) => this.#log.info([...bytes])); // flagged: logged
    this.#key.use(console.log); // flagged: logged
  }

  fail(): void {
    this.#key.use((bytes) => {
      throw new Error('unfit', { cause: bytes }); // flagged: handed to Error, of which nothing is known
    });
  }
}
