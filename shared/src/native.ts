/**
 * The typed face of the C addon (shared/native): AF_VSOCK as `stream.Duplex`, the ioctl of /dev/nsm, process hardening.
 * The addon makes system calls and watches descriptors; order, backpressure and errors are decided here.
 */
import { Duplex } from 'node:stream';
import { getSystemErrorName } from 'node:util';
import { QvError } from './errors.ts';
import { LIMITS } from './limits.ts';
import { formatTransportAddress, type Listener, type Transport, type TransportAddress } from './transport.ts';

/** An open socket of the addon. Its descriptor is closed by `close` alone. */
type Socket = { readonly socket: unique symbol };
/** An RSA key pair of the addon, in OpenSSL's memory. */
export type NativeRecipient = { readonly recipient: unique symbol };
type OnEvent = (status: number, events: number) => void;

/** What the addon exports. Numbers below zero are negative errnos. */
interface Native {
  listen(port: number, backlog: number, onEvent: OnEvent): Socket | number;
  connect(cid: number, port: number, onEvent: OnEvent): Socket | number;
  accept(listener: Socket, peer: Uint32Array, onEvent: OnEvent): Socket | number;
  watch(socket: Socket, events: number): number;
  read(socket: Socket, into: Uint8Array): number;
  write(socket: Socket, from: Uint8Array, offset: number): number;
  shutdown(socket: Socket): number;
  socketError(socket: Socket): number;
  close(socket: Socket): void;
  nsmRequest(path: string, request: Uint8Array): Promise<Uint8Array | number>;
  harden(): number;
  confine(role: number): number;
  limit(dataBytes: number, descriptors: number, threads: number): number;
  setClock(seconds: number, nanoseconds: number): number;
  mixRandomness(bytes: Uint8Array): number;
  recipientKey(): Promise<NativeRecipient | number>;
  recipientSpki(recipient: NativeRecipient): Uint8Array | number;
  recipientOpen(
    recipient: NativeRecipient,
    encryptedKey: Uint8Array,
    iv: Uint8Array,
    ciphertext: Uint8Array,
    work: Uint8Array,
  ): number;
  recipientDrop(recipient: NativeRecipient): void;
  wipeTraces(stackBytes: number): void;
  legacyOpen(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array, tag: Uint8Array, plaintext: Uint8Array): number;
  legacyScrypt(secret: Uint8Array, salt: Uint8Array, n: number, r: number, p: number, key: Uint8Array): number;
}

export type { Native };

const NOTHING = 0;
const READABLE = 1;
const WRITABLE = 2;
/** Pieces read or written before others get a turn; of those written each is at most the addon's WRITE_MAX. */
const PIECES_PER_TURN = 4;
const BACKLOG = 128;
/** Connections taken before others get a turn. */
const ACCEPTS_PER_TURN = 16;
const ACCEPT_PAUSE_MILLISECONDS = 100;

/** Of all streams: what is read is copied out of it before anything else runs. */
const scratch = new Uint8Array(2 * LIMITS.writeBytes);

export function systemError(call: string, failed: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(failed);
  return Object.assign(new Error(`${call} ${code}`), { code, errno: failed, syscall: call });
}

const isAgain = (result: number): boolean => {
  const code = getSystemErrorName(result);
  return code === 'EAGAIN' || code === 'EINTR';
};

/** @throws QvError native_missing when there is no such addon, or one of another machine or Node */
export function loadNative(path: string): Native {
  const module = { exports: {} };
  try {
    // Not `require`: a bundle has none for a path, and the addon is no part of a bundle.
    process.dlopen(module, path);
  } catch (error) {
    throw new QvError('native_missing', { path }, { cause: error });
  }
  return module.exports as Native;
}

/** One connection. Emits 'connect' once it is through, or 'error', never both. */
class VsockStream extends Duplex {
  readonly #native: Native;
  readonly #socket: Socket;
  #watched = NOTHING;
  #connecting: boolean;
  #wantsToRead = false;
  /** What waits for room, or for the connection. */
  #unblocked: (() => void) | undefined;

  constructor(native: Native, socket: Socket, connecting: boolean) {
    super({ allowHalfOpen: true });
    this.#native = native;
    this.#socket = socket;
    this.#connecting = connecting;
    this.#watch();
  }

  /** Watches for exactly what somebody waits for, so that nothing is read that nobody asked for. */
  #watch(): void {
    const reads = this.#wantsToRead && !this.#connecting ? READABLE : NOTHING;
    const writes = this.#connecting || this.#unblocked !== undefined ? WRITABLE : NOTHING;
    if (this.destroyed || (reads | writes) === this.#watched) return;
    this.#watched = reads | writes;
    const failed = this.#native.watch(this.#socket, this.#watched);
    if (failed < 0) this.destroy(systemError('watch', failed));
  }

  /** Both directions are tried whatever the event said: a spurious one costs a call, a missed one a hang. */
  onEvent(status: number): void {
    if (this.destroyed) return;
    if (status < 0 || this.#connecting) {
      const failed = this.#native.socketError(this.#socket);
      // libuv stops watching when it reports a fault.
      if (status < 0) this.#watched = NOTHING;
      if (failed < 0) {
        this.destroy(systemError(this.#connecting ? 'connect' : 'poll', failed));
        return;
      }
      if (this.#connecting) {
        this.#connecting = false;
        this.emit('connect');
      }
    }
    const unblocked = this.#unblocked;
    this.#unblocked = undefined;
    unblocked?.();
    for (let piece = 0; piece < PIECES_PER_TURN && this.#wantsToRead && this.#readOnce(); piece++);
    this.#watch();
  }

  /** False when there is nothing to read now. */
  #readOnce(): boolean {
    if (this.destroyed) return false;
    const count = this.#native.read(this.#socket, scratch);
    if (count < 0) {
      if (!isAgain(count)) this.destroy(systemError('read', count));
      return false;
    }
    this.#wantsToRead = false;
    // push() asks for more by _read, at once or when its reader has caught up.
    this.push(count === 0 ? null : Buffer.from(scratch.subarray(0, count)));
    return count > 0;
  }

  override _read(): void {
    this.#wantsToRead = true;
    this.#watch();
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error) => void): void {
    this.#writeFrom(chunk, 0, done);
  }

  #writeFrom(chunk: Uint8Array, from: number, done: (error?: Error) => void): void {
    let offset = from;
    for (let piece = 0; piece < PIECES_PER_TURN && !this.#connecting && offset < chunk.length; piece++) {
      const count = this.#native.write(this.#socket, chunk, offset);
      if (count < 0 && !isAgain(count)) {
        done(systemError('write', count));
        return;
      }
      if (count <= 0) break;
      offset += count;
    }
    if (offset < chunk.length) this.#whenUnblocked(() => this.#writeFrom(chunk, offset, done));
    else done();
  }

  override _final(done: (error?: Error) => void): void {
    if (this.#connecting) {
      this.#whenUnblocked(() => this._final(done));
      return;
    }
    const failed = this.#native.shutdown(this.#socket);
    // A peer that is gone needs no notice that we have finished.
    done(failed < 0 && getSystemErrorName(failed) !== 'ENOTCONN' ? systemError('shutdown', failed) : undefined);
  }

  #whenUnblocked(work: () => void): void {
    this.#unblocked = work;
    this.#watch();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#unblocked = undefined;
    this.#native.close(this.#socket);
    done(error);
  }
}

/** @returns the stream, or a negative errno */
function streamOf(native: Native, open: (onEvent: OnEvent) => Socket | number, connecting: boolean) {
  let stream: VsockStream | undefined;
  const socket = open((status) => stream?.onEvent(status));
  if (typeof socket === 'number') return socket;
  stream = new VsockStream(native, socket, connecting);
  return stream;
}

/** Fails like a connection that did not come about: after its caller has had time to listen. */
function failedStream(error: Error): Duplex {
  return new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() }).destroy(error);
}

export interface VsockOptions {
  /** The only CID, or CIDs, whose connections are taken; a listener without one takes none. */
  readonly acceptFrom?: number | readonly number[];
}

/**
 * AF_VSOCK. Listens on every CID of this machine, whatever the address says, and hangs up at once on a peer that is
 * not `acceptFrom`. Its streams end in each direction by itself, never hand more than 32 KiB to the kernel in one
 * call, and never block.
 */
export function vsockTransport(native: Native, { acceptFrom = [] }: VsockOptions = {}): Transport {
  return {
    listen: async (address, onConnection) =>
      new VsockListener(native, vsockAddress(address).port, [acceptFrom].flat(), onConnection),
    connect(address) {
      const { cid, port } = vsockAddress(address);
      const stream = streamOf(native, (onEvent) => native.connect(cid, port, onEvent), true);
      return typeof stream === 'number' ? failedStream(systemError('connect', stream)) : stream;
    },
  };
}

class VsockListener implements Listener {
  readonly #native: Native;
  readonly #socket: Socket;
  readonly #acceptFrom: readonly number[];
  readonly #onConnection: (stream: Duplex) => void;
  readonly #open = new Set<Duplex>();
  readonly #peer = new Uint32Array(2);
  #pause: NodeJS.Timeout | undefined;
  #closed = false;

  /** @throws Error with the errno, such as EADDRINUSE */
  constructor(native: Native, port: number, acceptFrom: readonly number[], onConnection: (stream: Duplex) => void) {
    this.#native = native;
    this.#acceptFrom = acceptFrom;
    this.#onConnection = onConnection;
    const socket = native.listen(port, BACKLOG, (status) => this.#onEvent(status));
    if (typeof socket === 'number') throw systemError('listen', socket);
    this.#socket = socket;
    native.watch(socket, READABLE);
  }

  #onEvent(status: number): void {
    // libuv stops watching when it reports a fault.
    if (status < 0) this.#rest();
    else this.#accept();
  }

  #accept(): void {
    for (let taken = 0; taken < ACCEPTS_PER_TURN && !this.#closed; taken++) {
      const failed = this.#acceptOne();
      if (failed === 0) continue;
      // No descriptors, no memory: what waits would wake us at once again, for nothing.
      if (!isAgain(failed) && getSystemErrorName(failed) !== 'ECONNABORTED') this.#rest();
      return;
    }
  }

  #rest(): void {
    this.#native.watch(this.#socket, NOTHING);
    this.#pause = setTimeout(() => this.#native.watch(this.#socket, READABLE), ACCEPT_PAUSE_MILLISECONDS);
  }

  /** @returns 0, or a negative errno */
  #acceptOne(): number {
    const stream = streamOf(this.#native, (onEvent) => this.#native.accept(this.#socket, this.#peer, onEvent), false);
    if (typeof stream === 'number') return stream;
    const [cid] = this.#peer;
    if (cid === undefined || !this.#acceptFrom.includes(cid)) {
      stream.destroy();
      return 0;
    }
    this.#open.add(stream);
    stream.once('close', () => this.#open.delete(stream));
    this.#onConnection(stream);
    return 0;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#pause);
    this.#native.close(this.#socket);
    for (const stream of this.#open) stream.destroy();
  }
}

function vsockAddress(address: TransportAddress): TransportAddress & { readonly kind: 'vsock' } {
  if (address.kind !== 'vsock') throw new QvError('transport_unsupported', { value: formatTransportAddress(address) });
  return address;
}

/** /dev/nsm: one request in CBOR to one response in CBOR, on a worker thread. */
export function nsmDevice(native: Native, path = '/dev/nsm'): { request(request: Uint8Array): Promise<Uint8Array> } {
  return {
    request: async (request) => {
      const response = await native.nsmRequest(path, request);
      if (typeof response === 'number') throw systemError('nsm', response);
      return response;
    },
  };
}

/**
 * No core file, memory that other processes of this user cannot read, no privileges gained by executing files.
 * @throws Error with the errno of what the kernel refused
 */
export function harden(native: Native): void {
  const failed = native.harden();
  if (failed < 0) throw systemError('harden', failed);
}

const ROLES = { vault: 0, agent: 1 } as const;

/**
 * Gives up the system calls that nothing in such a process needs, for good: shared/native/qv_process.c lists them.
 * @throws Error with the errno of a kernel that cannot
 */
export function confine(native: Native, role: keyof typeof ROLES): void {
  const failed = native.confine(ROLES[role]);
  if (failed < 0) throw systemError('confine', failed);
}

/**
 * Limits, for good, the memory this process can write to, its open files, and the threads of its user.
 * @throws Error with the errno
 */
export function limitResources(
  native: Native,
  limits: { readonly dataBytes: number; readonly descriptors: number; readonly threads: number },
): void {
  const failed = native.limit(limits.dataBytes, limits.descriptors, limits.threads);
  if (failed < 0) throw systemError('limit', failed);
}

/** Sets the system's clock. @throws Error EPERM without CAP_SYS_TIME */
export function setSystemClock(native: Native, milliseconds: number): void {
  const failed = native.setClock(Math.floor(milliseconds / 1000), (milliseconds % 1000) * 1_000_000);
  if (failed < 0) throw systemError('clock_settime', failed);
}

/**
 * Mixes 1 to 256 bytes into the kernel's random numbers, so that the very next ones depend on them.
 * @throws Error EPERM without CAP_SYS_ADMIN
 */
export function mixRandomness(native: Native, bytes: Uint8Array): void {
  const failed = native.mixRandomness(bytes);
  if (failed < 0) throw systemError('mixRandomness', failed);
}
