/** Where an image's bytes come from: a file, a browser's Blob, memory. Read front to back, each byte once. */
import { QvError } from '../errors.ts';

export interface ImageSource {
  /** Bytes; measured once, before the first read. */
  readonly size: number;
  /**
   * Up to `length` bytes from `offset`; fewer only when fewer are at hand, none only at the end. What it returns is
   * not used after the next call, so one buffer can serve them all.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export function memorySource(bytes: Uint8Array): ImageSource {
  return { size: bytes.length, read: async (offset, length) => bytes.subarray(offset, offset + length) };
}

/** The bytes of a stretch in pieces of at most `chunkBytes`. @throws QvError eif_truncated when the source ends early */
export async function* readPieces(
  source: ImageSource,
  offset: number,
  length: number,
  chunkBytes: number,
): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < length; ) {
    const wanted = Math.min(chunkBytes, length - done);
    const piece = await source.read(offset + done, wanted);
    // A file that shrinks while it is read; and a source that gives more than it was asked for is not believed either.
    if (piece.length === 0 || piece.length > wanted) throw new QvError('eif_truncated', { path: `${offset + done}` });
    yield piece;
    done += piece.length;
  }
}

/** A copy of a short stretch. @throws QvError eif_truncated */
export async function readWhole(source: ImageSource, offset: number, length: number): Promise<Uint8Array> {
  const whole = new Uint8Array(length);
  let at = 0;
  for await (const piece of readPieces(source, offset, length, length)) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
