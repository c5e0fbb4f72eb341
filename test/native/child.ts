/** One scenario in a process of its own: `child.ts <addon> <scenario> <options as JSON>`. Prints its result as JSON. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { type Envelope, parseEnvelope } from '@quantumvault/enclave/cms.ts';
import { nativeRecipientKeys } from '@quantumvault/enclave/native-recipient.ts';
import { harden, loadNative, mixRandomness, nsmDevice, vsockTransport } from '@quantumvault/shared/native.ts';
import { sealForRecipient } from '../stack/kms/envelope.ts';
import { SCENARIOS, type ScenarioName } from './scenarios.ts';

// The machine's own vsock is nobody's to play with.
if (!readFileSync('/proc/self/maps', 'latin1').includes('vsock-over-unix'))
  throw new Error('the stand-in for vsock is not in place');

const [addon = '', name = '', options = '{}'] = process.argv.slice(2);
const native = loadNative(addon);
const CID = Number(process.env['QV_SHIM_CID']);
const transport = vsockTransport(native, { acceptFrom: CID });
const address = { kind: 'vsock', cid: CID, port: 5000 } as const;

/** A peer with another CID than the one that is taken is hung up on before anything is read. */
async function foreignPeer(): Promise<void> {
  let served = 0;
  const strict = vsockTransport(native, { acceptFrom: CID + 1 });
  const nobody = vsockTransport(native);
  for (const [index, picky] of [strict, nobody].entries()) {
    const at = { ...address, port: 6000 + index };
    const listener = await picky.listen(at, () => served++);
    const stream = transport.connect(at);
    stream.on('error', () => undefined);
    stream.write('hello');
    stream.resume();
    await new Promise((resolve) => stream.once('close', resolve).once('end', () => stream.destroy()));
    await listener.close();
  }
  assert.equal(served, 0);
}

/** No descriptor left: the listener rests instead of spinning, and takes who waits once there are some again. */
async function noDescriptors(): Promise<{ turns: number }> {
  const { openSync, closeSync } = await import('node:fs');
  let served = 0;
  const listener = await transport.listen(address, (stream) => {
    served++;
    stream.resume().end();
  });
  const held: number[] = [];
  const stream = transport.connect(address);
  const answered = new Promise((resolve) => stream.once('close', resolve));
  try {
    for (;;) held.push(openSync('/dev/null', 'r'));
  } catch {}
  let turns = 0;
  const idle = setInterval(() => turns++, 10);
  const used = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 400));
  const { user, system } = process.cpuUsage(used);
  clearInterval(idle);
  assert.equal(served, 0);
  // Spinning would have taken all of the 400 ms.
  assert.ok(user + system < 300_000, `${user + system} us of processor time`);
  for (const descriptor of held) closeSync(descriptor);
  stream.resume().end('x');
  await answered;
  assert.equal(served, 1);
  await listener.close();
  return { turns };
}

async function nsm(): Promise<unknown> {
  const device = nsmDevice(native);
  const ask = (request: Uint8Array): Promise<string> =>
    device.request(request).then(
      (response) => Buffer.from(response).toString('latin1'),
      (error: NodeJS.ErrnoException) => error.code ?? error.message,
    );
  const many = await Promise.all(Array.from({ length: 50 }, (_, index) => ask(Buffer.from(`request ${index}`))));
  return {
    many,
    longest: (await ask(Buffer.alloc(0x1000, 65))).length,
    tooLong: await ask(Buffer.alloc(0x1001)),
    absent: await nsmDevice(native, '/dev/no-such-device')
      .request(Buffer.of(1))
      .catch((error: NodeJS.ErrnoException) => error.code),
  };
}

function hardened(): unknown {
  harden(native);
  const status = readFileSync('/proc/self/status', 'latin1');
  return {
    core: /^Max core file size +(\S+) +(\S+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.slice(1),
    noNewPrivileges: /^NoNewPrivs:\t(\d)/m.exec(status)?.[1],
  };
}

function mixes(): unknown {
  try {
    mixRandomness(native, new Uint8Array(256).fill(42));
    mixRandomness(native, Uint8Array.of(7));
  } catch (error) {
    return { failed: (error as NodeJS.ErrnoException).code };
  }
  for (const wrong of [new Uint8Array(0), new Uint8Array(257)])
    assert.throws(() => mixRandomness(native, wrong), RangeError);
  return {};
}

/** Sockets that are open when their environment ends, and values that nobody holds any more. */
async function teardown(): Promise<void> {
  for (let round = 0; round < 5; round++) {
    const worker = new Worker(new URL('./teardown.ts', import.meta.url), { workerData: { addon, round } });
    const code = await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    assert.equal(code, 0);
  }
}

/** Our own mistakes are TypeErrors, never crashes. */
function misuse(): void {
  const functions = native as unknown as Record<string, (...values: unknown[]) => unknown>;
  const nonsense = [undefined, null, 1, -1, 1.5, 'x', {}, [], () => 0, new Uint8Array(4), new Uint32Array(2), 1n];
  for (const [name, call] of Object.entries(functions)) {
    // These would do what they are asked to, with the whole machine.
    if (['harden', 'confine', 'setClock', 'mixRandomness', 'recipientKey', 'wipeTraces'].includes(name)) continue;
    assert.throws(() => call(), name);
    for (const value of nonsense)
      for (const other of nonsense) {
        if (name === 'nsmRequest' && value === 'x' && other instanceof Uint8Array) continue;
        if (name === 'listen' || name === 'connect') assert.throws(() => call(value, other), name);
        else assert.throws(() => call(value, other, 0), name);
      }
  }
  for (const value of nonsense) {
    if (!(value instanceof Uint8Array)) assert.throws(() => functions['mixRandomness']?.(value), TypeError);
  }
  for (const value of nonsense) if (typeof value !== 'number') assert.throws(() => functions['confine']?.(value));
  for (const role of [-1, 2]) assert.throws(() => native.confine(role), RangeError);
  const socket = native.listen(7000, 1, () => undefined);
  assert.ok(typeof socket !== 'number');
  native.close(socket);
  native.close(socket);
  assert.ok(native.watch(socket, 1) < 0);
  assert.ok(native.read(socket, new Uint8Array(8)) < 0);
  assert.ok(native.write(socket, new Uint8Array(8), 0) < 0);
  assert.ok(native.shutdown(socket) < 0);
  assert.throws(() => native.write(socket, new Uint8Array(8), 9), RangeError);
  assert.throws(() => native.read(socket, new Uint16Array(8) as unknown as Uint8Array), TypeError);
}

/** What is sealed for a key opens with it, into the caller's memory alone; anything else is one refusal. */
async function recipient(): Promise<void> {
  const keys = nativeRecipientKeys(native);
  const [key, other] = await Promise.all([keys.generate(), keys.generate()]);
  assert.notDeepEqual(key.spki, other.spki);
  const secret = randomBytes(32);
  const work = Buffer.alloc(512, 0xee);
  const isZero = (): boolean => work.every((byte) => byte === 0);
  const sealed = (bytes = secret): Envelope => parseEnvelope(sealForRecipient(bytes, key.spki));
  for (let round = 0; round < 50; round++) {
    work.fill(0xee);
    assert.ok(key.open(sealed(), work));
    assert.deepEqual(work, Buffer.concat([secret, Buffer.alloc(480)]));
  }
  const flipped = (bytes: Uint8Array, at: number): Uint8Array =>
    bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
  const good = sealed();
  const refused: Envelope[] = [
    parseEnvelope(sealForRecipient(secret, other.spki)),
    { ...good, encryptedKey: new Uint8Array(256) },
    { ...good, encryptedKey: new Uint8Array(256).fill(0xff) },
    ...[0, 128, 255].map((at) => ({ ...good, encryptedKey: flipped(good.encryptedKey, at) })),
    // The block of the padding, and the one before it, which changes the padding's bytes.
    ...[16, 31, 32, 47].map((at) => ({ ...good, ciphertext: flipped(good.ciphertext, at) })),
    // Contents of another length that have three blocks, too.
    sealed(Buffer.concat([secret, Buffer.alloc(1)])),
    sealed(Buffer.concat([secret, Buffer.alloc(15)])),
  ];
  for (const envelope of refused) {
    work.fill(0xee);
    assert.equal(key.open(envelope, work), false);
    assert.ok(isZero());
  }
  // CBC has no MAC: a changed IV changes the key, and what the key opens says so.
  assert.ok(key.open({ ...good, iv: flipped(good.iv, 0) }, work));
  assert.deepEqual(work.subarray(0, 32), flipped(secret, 0));
  assert.throws(() => key.open({ ...good, iv: new Uint8Array(15) }, work), RangeError);
  assert.throws(() => key.open({ ...good, ciphertext: new Uint8Array(64) }, work), RangeError);
  assert.throws(() => key.open({ ...good, encryptedKey: new Uint8Array(255) }, work), RangeError);
  assert.throws(() => key.open(good, Buffer.alloc(300)), RangeError);
  key.drop();
  key.drop();
  assert.equal(key.open(good, work), false);
  assert.ok(isZero());
  const socket = native.listen(7001, 1, () => undefined) as never;
  assert.throws(() => native.recipientDrop(socket), TypeError);
  native.close(socket);
  const raw = (await native.recipientKey()) as never;
  assert.throws(() => native.close(raw), TypeError);
  assert.ok((native.recipientSpki(raw) as Uint8Array).length === 294);
  native.recipientDrop(raw);
  assert.ok((native.recipientSpki(raw) as number) < 0);
}

const own: Readonly<Record<string, () => unknown>> = {
  foreignPeer,
  noDescriptors,
  nsm,
  hardened,
  mixes,
  teardown,
  misuse,
  recipient,
};
const scenario = own[name] ?? (() => SCENARIOS[name as ScenarioName]({ transport, address, ...JSON.parse(options) }));
const result = await scenario();
globalThis.gc?.();
process.stdout.write(`${JSON.stringify(result ?? {})}\n`);
