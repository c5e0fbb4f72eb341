import { Duplex, duplexPair } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { FrameReader, framePieces, readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';

const frame = fc.uint8Array({ minLength: 1, maxLength: 2000 });

/** Everything that is whole after this chunk. */
function push(reader: FrameReader, chunk: Uint8Array): Uint8Array[] {
  reader.add(chunk);
  const frames: Uint8Array[] = [];
  for (let next = reader.next(); next !== undefined; next = reader.next()) frames.push(next);
  return frames;
}

/** V8's own, without a flag on the command line. */
function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

describe('frames', () => {
  it('arrive whole however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }),
        (frames, cuts) => {
          const bytes = Buffer.concat(frames.flatMap((payload) => framePieces(payload)));
          const reader = new FrameReader();
          const received: Uint8Array[] = [];
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const size = cuts[turn % cuts.length] ?? 1;
            received.push(...push(reader, bytes.subarray(at, at + size)));
            at += size;
          }
          expect(received).toEqual(frames);
          expect(reader.idle).toBe(true);
        },
      ),
    );
  });

  it('that arrive byte by byte keep few of the chunks they came in', async () => {
    const collect = garbageCollector();
    const reader = new FrameReader();
    const chunks: WeakRef<Uint8Array>[] = [];
    const feed = (byte: number): void => {
      const chunk = Uint8Array.of(byte);
      chunks.push(new WeakRef(chunk));
      expect(push(reader, chunk)).toEqual([]);
    };
    // A peer that never ends its frame: each chunk costs hundreds of times the byte that it brings.
    for (const byte of [0, 1, 0, 0]) feed(byte);
    for (let count = 0; count < 5_000; count++) feed(7);
    // References that were looked at stay alive until the turn is over.
    await new Promise((resolve) => setTimeout(resolve, 10));
    collect();
    expect(chunks.filter((chunk) => chunk.deref() !== undefined).length).toBeLessThan(200);
    const rest = new Uint8Array(LIMITS.frameBytes - 5_000).fill(7);
    expect(push(reader, rest)).toEqual([new Uint8Array(LIMITS.frameBytes).fill(7)]);
    expect(reader.idle).toBe(true);
  });

  it('are never written in pieces above the limit', () => {
    const payload = new Uint8Array(LIMITS.frameBytes);
    const pieces = framePieces(payload);
    expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThanOrEqual(LIMITS.writeBytes);
    expect(Buffer.concat(pieces)).toHaveLength(payload.length + 4);
  });

  it('refuse an empty or oversized payload on both sides', async () => {
    await expectCode(() => framePieces(new Uint8Array(0)), 'frame_malformed');
    await expectCode(() => framePieces(new Uint8Array(LIMITS.frameBytes + 1)), 'frame_malformed');
    await expectCode(() => push(new FrameReader(), Uint8Array.of(0, 0, 0, 0)), 'frame_malformed');
    await expectCode(() => push(new FrameReader(), Uint8Array.of(0xff, 0xff, 0xff, 0xff)), 'frame_malformed');
    await expectCode(() => push(new FrameReader(), Uint8Array.of(0, 1, 0, 1)), 'frame_malformed');
  });

  it('go over a stream; a broken prefix or a cut frame ends it', async () => {
    const [left, right] = duplexPair();
    const received: Uint8Array[] = [];
    readFrames(right, (payload) => received.push(payload));
    writeFrame(left, Uint8Array.of(1, 2, 3));
    await new Promise((resolve) => setImmediate(resolve));
    expect(received).toEqual([Uint8Array.of(1, 2, 3)]);
    const broken = new Promise<unknown>((resolve) => right.once('error', resolve));
    left.write(Uint8Array.of(0xff, 0, 0, 0));
    expect(codeOf(await broken)).toBe('frame_malformed');

    const cut = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
    const ended = new Promise<unknown>((resolve) => cut.once('error', resolve));
    readFrames(cut, () => undefined);
    cut.push(Uint8Array.of(0, 0, 0, 9, 1));
    cut.push(null);
    expect(codeOf(await ended)).toBe('frame_malformed');
  });

  it('of one chunk wait while the stream is paused, and none is lost or doubled', async () => {
    const [left, right] = duplexPair();
    const received: number[] = [];
    let ends = 0;
    const onFrame = ([first = 0]: Uint8Array): void => {
      received.push(first);
      // Like a server whose replies nobody reads.
      if (received.length % 10 === 0) right.pause();
    };
    readFrames(right, onFrame, () => ends++);
    left.end(Buffer.concat(Array.from({ length: 35 }, (_, index) => framePieces(Uint8Array.of(index))).flat()));
    const turns = () => new Promise((resolve) => setTimeout(resolve, 5));
    for (const count of [10, 20, 30]) {
      await turns();
      expect(received).toHaveLength(count);
      expect(ends).toBe(0);
      right.resume();
    }
    await turns();
    expect(received).toEqual(Array.from({ length: 35 }, (_, index) => index));
    expect(ends).toBe(1);
  });

  it('never throw anything but their own error on arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 })), (chunks) => {
        const reader = new FrameReader();
        try {
          for (const chunk of chunks) push(reader, chunk);
        } catch (error) {
          expect(error).toBeInstanceOf(QvError);
        }
      }),
    );
  });
});
