/** Frames of a byte stream, however it is cut into chunks. The first byte of an input says how. */
import { duplexPair } from 'node:stream';
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { FrameReader, framePieces, readFrames } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { must, mustEqualBytes, type Target } from '../engine/target.ts';
import { filled } from './samples.ts';

interface Frames {
  readonly frames: readonly Uint8Array[];
  readonly fault: string | undefined;
  readonly idle: boolean;
}

function read(chunks: readonly Uint8Array[]): Frames {
  const reader = new FrameReader();
  const frames: Uint8Array[] = [];
  try {
    for (const chunk of chunks) {
      reader.add(chunk);
      for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame);
    }
  } catch (error) {
    if (!(error instanceof QvError) || error.code !== 'frame_malformed') throw error;
    return { frames, fault: error.facts.value, idle: false };
  }
  return { frames, fault: undefined, idle: reader.idle };
}

/** Chunks of 1 to 255 bytes, or of very many lengths. */
function cut(input: Uint8Array): readonly Uint8Array[] {
  const size = Math.max(1, input[0] ?? 1);
  const stream = input.subarray(1);
  const chunks: Uint8Array[] = [];
  for (
    let at = 0, step = size;
    at < stream.length;
    at += step, step = size === 255 ? (step * 7 + 3) % 4_099 || 1 : size
  )
    chunks.push(stream.subarray(at, at + step));
  return chunks;
}

function sameFrames(a: Frames, b: Frames): boolean {
  return (
    a.frames.length === b.frames.length &&
    a.frames.every((frame, index) => Buffer.compare(frame, b.frames[index] ?? new Uint8Array()) === 0) &&
    a.fault === b.fault
  );
}

const framed = (...lengths: readonly number[]): Uint8Array =>
  concatBytes(Uint8Array.of(3), ...lengths.flatMap((length) => framePieces(filled(length, length & 0xff))));

const seeds = () => ({
  one: framed(5),
  several: framed(1, 2, 300),
  small: concatBytes(Uint8Array.of(255), ...Array.from({ length: 70 }, () => framePieces(Uint8Array.of(1))).flat()),
  'too-long': Uint8Array.of(1, 0, 1, 0, 1, 0),
  empty: Uint8Array.of(1, 0, 0, 0, 0),
});

export const frames: Target = {
  name: 'frames',
  covers: ['shared/src/frames.ts#FrameReader'],
  seeds,
  dictionary: [
    Uint8Array.of(0, 0, 0, 1),
    Uint8Array.of(0, 1, 0, 0),
    Uint8Array.of(0, 1, 0, 1),
    Uint8Array.of(0, 0, 0, 0),
  ],
  maxBytes: 72 * 1024,
  codes: [],
  executions: 1_200,
  run(input) {
    const stream = input.subarray(1);
    const whole = read([stream]);
    must(sameFrames(read(cut(input)), whole), 'other frames when the stream is cut');
    const again = concatBytes(...whole.frames.flatMap(framePieces));
    mustEqualBytes(again, stream.subarray(0, again.length), 'frames are not what stands in the stream');
    for (const frame of whole.frames)
      must(frame.length > 0 && frame.length <= LIMITS.frameBytes, `a frame of ${frame.length} bytes`);
    const rest = stream.length - again.length;
    const length = rest < 4 ? undefined : new DataView(stream.buffer, stream.byteOffset + again.length).getUint32(0);
    const isRefused = length !== undefined && (length === 0 || length > LIMITS.frameBytes);
    must((whole.fault !== undefined) === isRefused, 'refused and accepted lengths');
    must(isRefused || length === undefined || rest < 4 + length, 'a whole frame was not given');
    must(whole.fault !== undefined || whole.idle === (rest === 0), 'idle');
    return whole.frames;
  },
};

/** The same over a stream with backpressure, paused and resumed now and then. */
export const frameStream: Target = {
  name: 'frame-stream',
  covers: ['shared/src/frames.ts#readFrames'],
  seeds,
  maxBytes: 8 * 1024,
  codes: [],
  executions: 300,
  async run(input) {
    const expected = read([input.subarray(1)]);
    // As a socket is: what we write stays open when the peer has ended.
    const [stream, peer] = duplexPair();
    const frames: Uint8Array[] = [];
    const { promise, resolve } = Promise.withResolvers<unknown>();
    let pauses = (input[0] ?? 0) % 5;
    readFrames(
      stream,
      (frame) => {
        frames.push(frame);
        if (pauses-- > 0) {
          stream.pause();
          setImmediate(() => stream.resume());
        }
      },
      () => resolve(undefined),
    );
    stream.once('error', resolve);
    for (const chunk of cut(input)) peer.write(chunk);
    peer.end();
    const error = await promise;
    for (const end of [stream, peer]) end.on('error', () => undefined).destroy();
    must(error === undefined || (error instanceof Error && error.name === 'QvError'), `ends with ${String(error)}`);
    const fault = error instanceof QvError ? error.facts.value : undefined;
    const wanted = expected.fault ?? (expected.idle ? undefined : 'stream ended inside a frame');
    must(sameFrames({ ...expected, frames, fault }, { ...expected, fault: wanted }), 'other frames over a stream');
    return frames;
  },
};
