// read as host/src/anything.ts
import { createHmac } from 'node:crypto';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { Secret } from '@quantumvault/shared/secret.ts';

/** Through names, patterns and choices. */
export function names(secret: Secret, other: Secret, choice: boolean): void {
  secret.use((bytes) => {
    const again = bytes;
    let last: Uint8Array = new Uint8Array();
    last = again;
    const { buffer, length } = last;
    const [first, ...rest] = last;
    toHex(again); // flagged: turned into text
    toHex(last); // flagged: turned into text
    toHex(new Uint8Array(buffer)); // flagged: turned into text
    console.log(length);
    console.log(first); // flagged: logged
    console.log(rest); // flagged: logged
    toHex(choice ? last : new Uint8Array()); // flagged: turned into text
    toHex((last as Uint8Array | undefined) ?? new Uint8Array()); // flagged: turned into text
    const { seed } = { seed: bytes };
    toHex(seed); // flagged: turned into text
  });
  const mine = choice ? secret : other;
  console.log(mine); // flagged: logged
}

const module: { last?: Uint8Array } = {};

/** Through parts of what is written into. */
export function parts(secret: Secret): void {
  const local = { inner: new Uint8Array(new ArrayBuffer(32)) };
  secret.use((bytes) => {
    local.inner.set(bytes);
    module.last = bytes;
  });
  console.log(local); // flagged: logged
  console.log(module.last); // flagged: logged
}

/** Through functions of the file, whichever comes first. */
export function functions(secret: Secret): void {
  secret.use((bytes) => show('seed', bytes));
  secret.use((bytes) => toHex(half(bytes))); // flagged: turned into text
  secret.use((bytes) => last('a', 'b', bytes));
  secret.use(print);
  lend(secret, (bytes) => toHex(bytes)); // flagged: turned into text
}

function show(name: string, bytes: Uint8Array): void {
  console.log(name, bytes); // flagged: logged
}

function half(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(16);
}

const last = (...parts: readonly unknown[]): void => console.log(parts); // flagged: logged

function print(bytes: Uint8Array): void {
  console.log(bytes); // flagged: logged
}

function lend<T>(secret: Secret, work: (bytes: Uint8Array) => T): T {
  return secret.use((bytes) => work(bytes.subarray(0, 16)));
}

/** By names that are not declared. */
export function unnamed(secret: Secret): void {
  secret.use(function () {
    // biome-ignore lint/complexity/noArguments: what the rule is to find
    console.log(arguments); // flagged: logged
  });
  let byte = 0;
  secret.use((bytes) => {
    for (byte of bytes) console.log(byte); // flagged: logged
  });
  const lends = secret.use.bind(secret); // flagged: lent under another name
  lends((bytes) => bytes.length);
}

/** Through fields and methods. */
export class Keys {
  readonly #keys: Secret[] = [];
  readonly #memory: Uint8Array = new Uint8Array(new ArrayBuffer(64));

  add(bytes: Uint8Array): void {
    const secret = Secret.take(bytes);
    this.#keys.push(secret);
    secret.use((lent) => this.#memory.set(lent));
  }

  show(): void {
    for (const key of this.#keys) console.log(key); // flagged: logged
    console.log(this.#first()); // flagged: logged
    console.log(this.#memory); // flagged: logged
  }

  /** A MAC is public; the key in a closure is not. */
  mac(message: Uint8Array): Uint8Array | undefined {
    return this.#keys[0]?.use((bytes) => {
      const later = (): void => console.log(bytes); // flagged: logged
      later();
      return createHmac('sha256', bytes).update(message).digest();
    });
  }

  #first(): Uint8Array {
    return this.#memory.subarray(0, 32);
  }
}
