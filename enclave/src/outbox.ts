/**
 * Replies on their way out of one connection, one frame at a time: the next is handed to the kernel when the last has
 * left this process whole. So a host that does not read leaves signatures waiting here, where a freeze still reaches
 * them, and not in a buffer behind it (design 9).
 */
import type { Duplex } from 'node:stream';
import { framePieces } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import type { Subject } from './freeze.ts';

/** A reply that carries a signature: it leaves only while nothing stops its subject. */
export class Guarded<T> {
  readonly reply: T;
  readonly subject: Subject;

  constructor(reply: T, subject: Subject) {
    this.reply = reply;
    this.subject = subject;
  }
}

/**
 * A reply whose last field is a secret: zeros stand in its place until the frame leaves. Only that frame holds it then,
 * and both are wiped when it has left, or when it cannot any more.
 */
export class WithSecret<T> {
  readonly reply: T;
  readonly secret: Secret;

  constructor(reply: T, secret: Secret) {
    this.reply = reply;
    this.secret = secret;
  }
}

export interface Outgoing {
  readonly payload: Uint8Array;
  /** What its last bytes, zeros so far, are to be. */
  readonly secret?: Secret;
  /** What leaves instead once the subject is stopped. */
  readonly guarded?: { readonly subject: Subject; readonly refusal: () => Uint8Array };
}

interface Framed {
  readonly pieces: readonly Uint8Array[];
  readonly guarded: Outgoing['guarded'];
  readonly secret: Secret | undefined;
}

export class Outbox {
  readonly #stream: Duplex;
  readonly #isStopped: (subject: Subject) => boolean;
  readonly #onEmpty: () => void;
  readonly #waiting: Framed[] = [];
  #leaving: Framed | undefined;
  /** The frame on its way that holds a secret. */
  #secretFrame: Secret | undefined;

  constructor(stream: Duplex, isStopped: (subject: Subject) => boolean, onEmpty: () => void) {
    this.#stream = stream;
    this.#isStopped = isStopped;
    this.#onEmpty = onEmpty;
    stream.once('close', () => {
      for (const { secret } of this.#waiting) secret?.wipe();
      // A stream that ends in the middle of a write need not say so to whoever wrote.
      this.#secretFrame?.wipe();
    });
  }

  /** Nothing waits, and nothing is half out. */
  get isEmpty(): boolean {
    return this.#leaving === undefined && this.#waiting.length === 0;
  }

  /** More waits than a peer that reads leaves lying. */
  get isFull(): boolean {
    return this.#waiting.length >= LIMITS.outboxFullFrames;
  }

  /** @throws QvError frame_malformed when it is larger than a frame; then nothing is sent */
  send(reply: Outgoing): void {
    try {
      this.#take(reply);
    } catch (error) {
      reply.secret?.wipe();
      throw error;
    }
  }

  #take({ payload, guarded, secret }: Outgoing): void {
    const pieces = framePieces(payload);
    if (this.#stream.destroyed) {
      secret?.wipe();
      return;
    }
    if (secret !== undefined && payload.subarray(-secret.length).some((byte) => byte !== 0)) {
      throw new Error('a reply without a place for its secret');
    }
    this.#waiting.push({ pieces, guarded, secret });
    // A peer that does not read its replies is not read from either.
    if (this.#waiting.length > LIMITS.outboxFrames) this.#stream.pause();
    this.#next();
  }

  /**
   * After a freeze, or the end of a wallet: a signature that is half out must not be completed, and no frame can be
   * taken back.
   */
  purge(): void {
    const subject = this.#leaving?.guarded?.subject;
    if (subject !== undefined && this.#isStopped(subject)) this.#stream.destroy();
  }

  #next(): void {
    if (this.#leaving !== undefined || this.#stream.destroyed) return;
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#stream.resume();
      this.#onEmpty();
      return;
    }
    const { guarded, secret } = next;
    const isStopped = guarded !== undefined && this.#isStopped(guarded.subject);
    const pieces = isStopped ? framePieces(guarded.refusal()) : next.pieces;
    this.#leaving = isStopped ? { ...next, pieces, guarded: undefined } : next;
    if (secret !== undefined) {
      this.#writeSecret(pieces, secret);
      return;
    }
    for (const [index, piece] of pieces.entries()) {
      const isLast = index === pieces.length - 1;
      this.#stream.write(piece, (error) => {
        if (!isLast || error) return;
        this.#leaving = undefined;
        this.#next();
      });
    }
  }

  #writeSecret(pieces: readonly Uint8Array[], secret: Secret): void {
    const frame = framed(pieces, secret);
    this.#secretFrame = frame;
    frame.use((bytes) =>
      // secret-rule: the one key that leaves, to the host that asked for it
      this.#stream.write(bytes, (error) => {
        frame.wipe();
        if (error) return;
        this.#leaving = undefined;
        this.#next();
      }),
    );
  }
}

/** The frame with the secret in its place. Wipes the secret. */
function framed(pieces: readonly Uint8Array[], secret: Secret): Secret {
  const frame = new Secret(new ArrayBuffer(pieces.reduce((sum, piece) => sum + piece.length, 0)));
  frame.use((bytes) => {
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    secret.use((own) => bytes.set(own, bytes.length - own.length));
  });
  secret.wipe();
  return frame;
}
