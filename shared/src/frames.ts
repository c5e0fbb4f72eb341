/**
 * Frames over any duplex byte stream: a 4-byte big-endian length, then that many bytes (design 5).
 * A peer that breaks the framing cannot be understood again, so its stream is destroyed.
 */
import type { Duplex } from 'node:stream';
import { QvError } from './errors.ts';
import { LIMITS } from './limits.ts';

const PREFIX_BYTES = 4;
/** Chunks kept apart: each costs hundreds of bytes more than it brings, and a peer may send single bytes. */
const CHUNKS_APART = 64;

/** Collects stream chunks into whole frames. Memory is bounded by one frame and one chunk. */
export class FrameReader {
  /** What came since the last whole frame; joined when it holds one, or is in many pieces, so that copies are few. */
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  /** Bytes to wait for: a prefix, then the frame it announces. */
  #wanted = PREFIX_BYTES;

  add(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#chunks.length > CHUNKS_APART) this.#chunks = [Buffer.concat(this.#chunks)];
  }

  /** The next whole frame of what was added. @throws QvError frame_malformed */
  next(): Uint8Array | undefined {
    while (this.#bytes >= this.#wanted) {
      const joined = this.#joined();
      const length = joined.readUInt32BE(0);
      // Refused from the prefix alone: a claimed length never reserves memory.
      if (length === 0 || length > LIMITS.frameBytes)
        throw new QvError('frame_malformed', { value: `length ${length}` });
      const end = PREFIX_BYTES + length;
      if (joined.length < end) {
        this.#wanted = end;
        continue;
      }
      const rest = joined.subarray(end);
      this.#chunks = rest.length === 0 ? [] : [rest];
      this.#bytes = rest.length;
      this.#wanted = PREFIX_BYTES;
      return Uint8Array.from(joined.subarray(PREFIX_BYTES, end));
    }
    return undefined;
  }

  /** One chunk is not copied again for every frame in it. */
  #joined(): Buffer {
    const [only, ...more] = this.#chunks;
    const joined =
      only !== undefined && more.length === 0
        ? Buffer.from(only.buffer, only.byteOffset, only.length)
        : Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }

  /** True when the stream may end here without cutting a frame. */
  get idle(): boolean {
    return this.#bytes === 0;
  }
}

/** One frame in pieces of at most LIMITS.writeBytes, as vsock needs them. */
export function framePieces(payload: Uint8Array): Buffer[] {
  if (payload.length === 0 || payload.length > LIMITS.frameBytes) {
    throw new QvError('frame_malformed', { value: `length ${payload.length}` });
  }
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(payload.length);
  const whole = Buffer.concat([prefix, payload]);
  const pieces: Buffer[] = [];
  for (let at = 0; at < whole.length; at += LIMITS.writeBytes) pieces.push(whole.subarray(at, at + LIMITS.writeBytes));
  return pieces;
}

/** Writes one frame; resolves to false when the peer should be given time to drain. */
export function writeFrame(stream: Duplex, payload: Uint8Array): boolean {
  let roomy = true;
  for (const piece of framePieces(payload)) roomy = stream.write(piece);
  return roomy;
}

/**
 * Calls `onFrame` for each frame, and `onEnd` once the peer has ended and all were given. A malformed frame destroys the
 * stream with its QvError. While the stream is paused, frames of a chunk that came before wait, too: one chunk may hold
 * thousands of them.
 */
export function readFrames(
  stream: Duplex,
  onFrame: (payload: Uint8Array) => void,
  onEnd: () => void = () => undefined,
): void {
  const reader = new FrameReader();
  let hasEnded = false;
  const drain = (): void => {
    try {
      while (!stream.destroyed && !stream.isPaused()) {
        const frame = reader.next();
        if (frame !== undefined) {
          onFrame(frame);
          continue;
        }
        if (!hasEnded) return;
        hasEnded = false;
        if (!reader.idle) throw new QvError('frame_malformed', { value: 'stream ended inside a frame' });
        onEnd();
        return;
      }
    } catch (error) {
      stream.destroy(error as Error);
    }
  };
  stream.on('data', (chunk: Uint8Array) => {
    reader.add(chunk);
    drain();
  });
  stream.on('resume', drain);
  stream.on('end', () => {
    hasEnded = true;
    drain();
  });
}
