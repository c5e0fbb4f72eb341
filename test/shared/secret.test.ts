import { execFileSync } from 'node:child_process';
import { Console } from 'node:console';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { format, inspect } from 'node:util';
import { deserialize, serialize } from 'node:v8';
import { MessageChannel } from 'node:worker_threads';
import { encodeCbor } from '@quantumvault/shared/cbor.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import sodium from 'sodium-native';
import { expect, test } from 'vitest';
import { expectCode } from '../support/codes.ts';

const BYTES = Uint8Array.from({ length: 32 }, (_, index) => index + 0x41);
const secretOf = (bytes: Uint8Array = BYTES): Secret => Secret.take(Uint8Array.from(bytes));

/** Whatever form a leak of BYTES could have in a text. */
const LEAKS = ['4142', 'ABCD', '65', 'QUJD', '0x41'];

test('take moves: the bytes are lent as they were, and what was given is wiped', () => {
  const given = Uint8Array.from(BYTES);
  const secret = Secret.take(given);
  expect(given).toEqual(new Uint8Array(32));
  expect(secret.length).toBe(32);
  expect(secret.use((bytes) => [...bytes])).toEqual([...BYTES]);
  expect(() => Secret.take(new Uint8Array())).toThrow(RangeError);
});

test('no text, number or JSON comes of it, whatever asks', async () => {
  const secret = secretOf();
  const loose = secret as unknown as string & number;
  const attempts: (() => unknown)[] = [
    () => secret.toString(),
    () => String(secret),
    () => `${secret}`,
    () => `${loose}x`,
    () => loose + loose,
    () => loose * 1,
    () => +loose,
    () => loose < 1,
    () => Number(secret),
    () => secret.valueOf(),
    () => secret.toJSON(),
    () => JSON.stringify(secret),
    () => JSON.stringify({ nested: [secret] }),
    () => [secret].join(),
    () => Object.keys({})[loose],
    () => ({ [loose]: 1 }),
    () => Buffer.from(loose),
    () => new TextDecoder().decode(loose as never),
    () => format('%s', secret),
    () => format('%d', secret),
    () => format('%j', secret),
  ];
  for (const [index, attempt] of attempts.entries()) {
    let outcome: unknown;
    try {
      outcome = attempt();
    } catch (error) {
      for (const leak of LEAKS) expect(`${error}`, `attempt ${index}`).not.toContain(leak);
      continue;
    }
    throw new Error(`attempt ${index} gave ${inspect(outcome)}`);
  }
  for (const attempt of attempts.slice(0, 6)) await expectCode(attempt, 'secret_exposed');
});

test('inspection shows a placeholder, at any depth and with every option', () => {
  const secret = secretOf();
  expect(inspect(secret)).toBe('[secret]');
  const all = { showHidden: true, depth: null, getters: true, showProxy: true };
  expect(inspect({ a: [{ b: secret }] }, all)).toContain('{ b: [secret] }');
  expect(inspect(new Map([[secret, secret]]))).toBe('Map(1) { [secret] => [secret] }');
  expect(format('%o %O', secret, secret)).toBe('[secret] [secret]');
  let printed = '';
  const stream = new Writable({
    write(chunk, _, done) {
      printed += String(chunk);
      done();
    },
  });
  const console = new Console(stream, stream);
  console.log(secret, { secret });
  console.error(secret);
  console.dir(secret, { showHidden: true });
  console.table([secret]);
  for (const leak of LEAKS) expect(printed).not.toContain(leak);
  expect(printed).toContain('[secret] { secret: [secret] }');
  // Without the custom inspection nothing is there to print either.
  for (const leak of LEAKS) expect(inspect(secret, { ...all, customInspect: false })).not.toContain(leak);
});

test('nothing can be enumerated, spread, copied, cloned, serialised or attached', async () => {
  const secret = secretOf();
  expect(Reflect.ownKeys(secret)).toEqual([]);
  expect(Object.entries({ ...secret })).toEqual([]);
  expect(Object.assign({}, secret)).toEqual({});
  for (const key in secret) throw new Error(`enumerable: ${key}`);
  expect(() => [...(secret as unknown as Iterable<number>)]).toThrow(TypeError);
  expect(() => Uint8Array.from(secret as unknown as ArrayLike<number>).some((byte) => byte > 0)).not.toThrow();
  expect(Uint8Array.from(secret as unknown as ArrayLike<number>).some((byte) => byte > 0)).toBe(false);
  expect(Reflect.ownKeys(structuredClone(secret))).toEqual([]);
  expect(serialize(secret).includes(Buffer.from(BYTES.subarray(0, 4)))).toBe(false);
  expect(Reflect.ownKeys(deserialize(serialize(secret)) as object)).toEqual([]);
  const { port1, port2 } = new MessageChannel();
  const received = new Promise((resolve) => port2.once('message', resolve));
  port1.postMessage({ secret });
  expect(await received).toEqual({ secret: {} });
  port1.close();
  expect(() => Object.assign(secret, { copy: 1 })).toThrow(TypeError);
  expect(() => encodeCbor(new Map([[1, secret as never]]))).toThrow();
});

test('equals compares all of the bytes, and only secrets', () => {
  const secret = secretOf();
  expect(secret.equals(secretOf())).toBe(true);
  for (let index = 0; index < BYTES.length; index++)
    for (const bit of [1, 0x80]) {
      const other = Uint8Array.from(BYTES);
      other[index] = (other[index] ?? 0) ^ bit;
      expect(secret.equals(secretOf(other))).toBe(false);
    }
  expect(secret.equals(secretOf(BYTES.subarray(1)))).toBe(false);
});

test('wiped bytes are zero and gone: nothing uses them as a key', async () => {
  const memory = new ArrayBuffer(64);
  new Uint8Array(memory).fill(7);
  const secret = new Secret(memory, 16, 32);
  secret.wipe();
  secret.wipe();
  expect([...new Uint8Array(memory)]).toEqual([...Array(16).fill(7), ...Array(32).fill(0), ...Array(16).fill(7)]);
  await expectCode(() => secret.use(() => 1), 'secret_exposed');
  await expectCode(() => secret.equals(secretOf()), 'secret_exposed');
  await expectCode(() => secretOf().equals(secret), 'secret_exposed');
});

test('bytes do not come back from use, nor does work that has not ended', async () => {
  const secret = secretOf();
  await expectCode(() => secret.use((bytes) => bytes), 'secret_exposed');
  await expectCode(() => secret.use((bytes) => bytes.subarray(1, 3)), 'secret_exposed');
  await expectCode(() => secret.use((bytes) => new DataView(bytes.buffer)), 'secret_exposed');
  await expectCode(() => secret.use(async () => undefined), 'secret_exposed');
  expect(() =>
    secret.use(() => {
      throw new RangeError('its own');
    }),
  ).toThrow('its own');
});

test('works over guarded memory of libsodium', () => {
  const memory = sodium.sodium_malloc(96);
  sodium.sodium_memzero(memory);
  const secret = new Secret(memory.buffer as ArrayBuffer, memory.byteOffset + 32, 32);
  secret.use((bytes) => bytes.set(BYTES));
  expect([...memory.subarray(32, 64)]).toEqual([...BYTES]);
  sodium.sodium_mprotect_noaccess(memory);
  sodium.sodium_mprotect_readwrite(memory);
  expect(secret.equals(secretOf())).toBe(true);
  secret.wipe();
  expect([...memory]).toEqual(Array(96).fill(0));
  expect(() => new Secret(memory.buffer as ArrayBuffer, memory.byteOffset, 97)).toThrow(RangeError);
});

test('no copy is left in memory after a wipe; of arrays that V8 allocated there is one', () => {
  const program = join(import.meta.dirname, 'secret-copies.ts');
  const output = execFileSync(process.execPath, ['--expose-gc', program], { encoding: 'utf8' });
  const { secret, array } = JSON.parse(output) as { secret: number; array: number };
  expect(secret).toBe(0);
  // The control: what is searched would be found.
  expect(array).toBeGreaterThan(0);
});
