/**
 * Requests from the host: framed, bounded, checked against the phase, dispatched. A fault of one request is that
 * request's refusal; a broken frame ends its connection; neither touches another request.
 */
import type { Duplex } from 'node:stream';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { printableFact } from '@quantumvault/shared/evidence/leaf.ts';
import { readFrames } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import {
  decodeRequestHead,
  encodeRefusal,
  encodeReply,
  type MessageName,
  type Phase,
  type Refusal,
  type ReplyOf,
  type RequestOf,
} from '@quantumvault/shared/protocol/messages.ts';
import type { Subject } from './freeze.ts';
import { Guarded, Outbox, type Outgoing, WithSecret } from './outbox.ts';
import { LEGAL } from './phases.ts';
import { Denial } from './sign.ts';

type Answer<N extends MessageName> = ReplyOf<N> | Guarded<ReplyOf<N>> | WithSecret<ReplyOf<N>>;
export type Handlers = {
  readonly [N in MessageName]: (request: RequestOf<N>) => Answer<N> | Promise<Answer<N>>;
};

/** A freeze, or the end of its wallet. */
export type Stop = 'frozen' | 'wallet_retired';

export interface Served {
  readonly phase: () => Phase;
  readonly handlers: Handlers;
  /** What this listener serves; on the control connection only the stop button. */
  readonly names: readonly MessageName[];
  /** What keeps a signature from leaving. */
  readonly stopOf: (subject: Subject) => Stop | undefined;
  /** Of all connections, for the freeze. */
  readonly outboxes: Set<Outbox>;
  readonly log: (line: string) => void;
}

/** Requests and bytes under way on all connections of one listener. */
export class InFlight {
  readonly #turns: (() => void)[] = [];
  #requests = 0;
  #bytes = 0;

  /** Starts this after everything that waits already, at one per turn of the event loop. */
  turn(start: () => void): void {
    this.#turns.push(start);
    if (this.#turns.length === 1) setImmediate(() => this.#next());
  }

  #next(): void {
    this.#turns[0]?.();
    this.#turns.shift();
    // Immediates asked for inside an immediate run after the loop has looked at its sockets.
    if (this.#turns.length > 0) setImmediate(() => this.#next());
  }

  /** @throws QvError overloaded */
  enter(bytes: number): () => void {
    if (this.#requests >= LIMITS.inFlightRequests || this.#bytes + bytes > LIMITS.inFlightBytes) {
      throw new QvError('overloaded', { path: 'inFlight' });
    }
    this.#requests++;
    this.#bytes += bytes;
    return () => {
      this.#requests--;
      this.#bytes -= bytes;
    };
  }
}

/** One connection of a listener. */
export interface Connection {
  readonly stream: Duplex;
  /** Requests of it that have no answer yet. */
  underWay: number;
  /** It has sent a whole request. */
  asked(): void;
}

/**
 * Connections of one listener. Whatever runs on the parent may open them, and hold them: one too many takes the place
 * of another that waits for no answer, of who has never asked anything before who has, the longest silent first.
 */
export class Connections {
  /** In the order of coming. */
  readonly #mute = new Set<Connection>();
  /** In the order of the last request. */
  readonly #heard = new Set<Connection>();

  /** Undefined when there is no room; the stream is then hung up on. */
  admit(stream: Duplex): Connection | undefined {
    if (this.#mute.size + this.#heard.size >= LIMITS.connections && !this.#makeRoom()) {
      stream.destroy();
      return undefined;
    }
    const asked = (): void => {
      if (this.#forget(connection)) this.#heard.add(connection);
    };
    const connection: Connection = { stream, underWay: 0, asked };
    this.#mute.add(connection);
    stream.once('close', () => this.#forget(connection));
    return connection;
  }

  #makeRoom(): boolean {
    const idle = [...this.#mute, ...this.#heard].find(({ underWay }) => underWay === 0);
    if (idle === undefined) return false;
    this.#forget(idle);
    idle.stream.destroy();
    return true;
  }

  #forget(connection: Connection): boolean {
    return this.#mute.delete(connection) || this.#heard.delete(connection);
  }
}

export function serve(connection: Connection, inFlight: InFlight, served: Served): void {
  const { stream } = connection;
  let peerEnded = false;
  /** A peer that has finished sending still gets the replies to what it sent. */
  const endIfDone = (): void => {
    if (peerEnded && connection.underWay === 0 && outbox.isEmpty) stream.end();
  };
  const outbox = new Outbox(stream, (subject) => served.stopOf(subject) !== undefined, endIfDone);
  served.outboxes.add(outbox);
  stream.once('close', () => served.outboxes.delete(outbox));
  const onFrame = (payload: Uint8Array): void => {
    const { id, name, body } = decodeRequestHead(payload);
    connection.asked();
    let leave: (() => void) | undefined;
    try {
      requireLegal(served, name);
      leave = inFlight.enter(payload.length);
    } catch (error) {
      outbox.send({ payload: encodeRefusal(id, toRefusal(error, name, served.log)) });
      return;
    }
    connection.underWay++;
    // One request starts per turn of the loop: a chunk full of frames cannot hold the stop button up.
    inFlight.turn(async () => {
      try {
        // The phase may have changed in between.
        requireLegal(served, name);
        // Whoever does not read gets no more of what would have to wait for him in memory.
        if (outbox.isFull) throw new QvError('overloaded', { path: 'outbox' });
        const handle = served.handlers[name] as (request: unknown) => unknown;
        outbox.send(outgoing(id, name, await handle(body()), served.stopOf));
      } catch (error) {
        outbox.send({ payload: encodeRefusal(id, toRefusal(error, name, served.log)) });
      } finally {
        leave();
        connection.underWay--;
        endIfDone();
      }
    });
  };
  readFrames(stream, onFrame, () => {
    peerEnded = true;
    endIfDone();
  });
  stream.on('error', (error) => served.log(`connection: ${codeOf(error)}`));
}

function outgoing(id: number, name: MessageName, answer: unknown, stopOf: Served['stopOf']): Outgoing {
  if (answer instanceof WithSecret)
    return { payload: encodeReply(id, name, answer.reply as never), secret: answer.secret };
  if (!(answer instanceof Guarded)) return { payload: encodeReply(id, name, answer as never) };
  const { reply, subject } = answer;
  const refusal = (): Uint8Array => encodeRefusal(id, { code: stopOf(subject) ?? 'frozen' });
  return { payload: encodeReply(id, name, reply as never), guarded: { subject, refusal } };
}

/** @throws QvError frozen, enclave_not_ready */
function requireLegal({ phase, names }: Served, name: MessageName): void {
  const now = phase();
  if (!names.includes(name)) throw new QvError('enclave_not_ready', { path: name, value: 'not served here' });
  if (LEGAL[now].includes(name)) return;
  throw now === 'frozen' ? new QvError('frozen') : new QvError('enclave_not_ready', { path: name, value: now });
}

function toRefusal(error: unknown, name: MessageName, log: Served['log']): Refusal {
  const code = codeOf(error);
  // What nobody foresaw is logged by its kind alone: its text could hold bytes of a request.
  if (code === 'internal') log(`${name}: unexpected ${error instanceof Error ? error.name : typeof error}`);
  if (!(error instanceof QvError)) return { code };
  const path = error.facts.path === undefined ? undefined : printableFact(error.facts.path, 128);
  const value = error.facts.value === undefined ? undefined : printableFact(error.facts.value, 256);
  return {
    code,
    ...(path !== undefined && { path }),
    ...(value !== undefined && { value }),
    ...(error instanceof Denial && { receipt: error.receipt }),
  };
}
