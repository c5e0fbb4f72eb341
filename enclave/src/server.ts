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
import { Guarded, Outbox, type Outgoing } from './outbox.ts';
import { LEGAL } from './phases.ts';
import { Denial } from './sign.ts';

type Answer<N extends MessageName> = ReplyOf<N> | Guarded<ReplyOf<N>>;
export type Handlers = {
  readonly [N in MessageName]: (request: RequestOf<N>) => Answer<N> | Promise<Answer<N>>;
};

export interface Served {
  readonly phase: () => Phase;
  readonly handlers: Handlers;
  /** What this listener serves; on the control connection only the stop button. */
  readonly names: readonly MessageName[];
  readonly isStopped: (subject: Subject) => boolean;
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

/** Connections of one listener; one too many is hung up on. */
export class Connections {
  #open = 0;

  admit(stream: Duplex): boolean {
    if (this.#open >= LIMITS.connections) {
      stream.destroy();
      return false;
    }
    this.#open++;
    stream.once('close', () => this.#open--);
    return true;
  }
}

export function serve(stream: Duplex, inFlight: InFlight, served: Served): void {
  let underWay = 0;
  let peerEnded = false;
  /** A peer that has finished sending still gets the replies to what it sent. */
  const endIfDone = (): void => {
    if (peerEnded && underWay === 0 && outbox.isEmpty) stream.end();
  };
  const outbox = new Outbox(stream, served.isStopped, endIfDone);
  served.outboxes.add(outbox);
  stream.once('close', () => served.outboxes.delete(outbox));
  readFrames(stream, (payload) => {
    const { id, name, body } = decodeRequestHead(payload);
    let leave: (() => void) | undefined;
    try {
      requireLegal(served, name);
      leave = inFlight.enter(payload.length);
    } catch (error) {
      outbox.send({ payload: encodeRefusal(id, toRefusal(error, name, served.log)) });
      return;
    }
    underWay++;
    // One request starts per turn of the loop: a chunk full of frames cannot hold the stop button up.
    inFlight.turn(async () => {
      try {
        // The phase may have changed in between.
        requireLegal(served, name);
        const handle = served.handlers[name] as (request: unknown) => unknown;
        outbox.send(outgoing(id, name, await handle(body())));
      } catch (error) {
        outbox.send({ payload: encodeRefusal(id, toRefusal(error, name, served.log)) });
      } finally {
        leave();
        underWay--;
        endIfDone();
      }
    });
  });
  stream.on('end', () => {
    peerEnded = true;
    endIfDone();
  });
  stream.on('error', (error) => served.log(`connection: ${codeOf(error)}`));
}

function outgoing(id: number, name: MessageName, answer: unknown): Outgoing {
  if (!(answer instanceof Guarded)) return { payload: encodeReply(id, name, answer as never) };
  const { reply, subject } = answer;
  const refusal = encodeRefusal(id, { code: 'frozen' });
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
