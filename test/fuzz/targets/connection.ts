/**
 * A connection of the enclave, as whoever has the host may use it: frames of requests, good and bad. The handlers answer
 * samples; what is tested is what stands in front of them and writes their answers.
 */
import { duplexPair } from 'node:stream';
import { Connections, type Handlers, InFlight, serve } from '@quantumvault/enclave/server.ts';
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { FrameReader, framePieces, readFrames } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import {
  decodeReplyHead,
  decodeRequestHead,
  encodeRequest,
  isRefusal,
  type MessageName,
} from '@quantumvault/shared/protocol/messages.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import type { Mutator } from '../engine/mutate.ts';
import { must, type Target } from '../engine/target.ts';
import { NAMES, REPLIES, REQUESTS } from './messages.ts';

const handlers = Object.fromEntries(NAMES.map((name) => [name, () => REPLIES[name]])) as unknown as Handlers;

/** Whole frames at the beginning; undefined where one is refused. */
function framesOf(stream: Uint8Array): { frames: Uint8Array[]; isWhole: boolean } {
  const reader = new FrameReader();
  const frames: Uint8Array[] = [];
  reader.add(stream);
  try {
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame);
  } catch {
    return { frames, isWhole: false };
  }
  return { frames, isWhole: reader.idle };
}

const inner = cborMutator();
/** One frame changed inside, and framed again. */
const changeFrame: Mutator = (input, material) => {
  const { frames } = framesOf(input);
  const at = material.random.below(frames.length);
  const frame = frames[at];
  const made = frame && inner(frame, material);
  if (made === undefined || made.length === 0 || made.length > LIMITS.frameBytes) return undefined;
  return concatBytes(...frames.flatMap((old, index) => framePieces(index === at ? made : old)));
};

interface Asked {
  readonly id: number;
  readonly name: MessageName;
}

/** The requests in front of the first that has no head. */
function asked(frames: readonly Uint8Array[]): readonly Asked[] {
  const found: Asked[] = [];
  for (const frame of frames) {
    try {
      found.push(decodeRequestHead(frame));
    } catch {
      break;
    }
  }
  return found;
}

export const enclaveConnection: Target = {
  name: 'enclave-connection',
  covers: ['enclave/src/server.ts#serve', 'enclave/src/outbox.ts#Outbox'],
  seeds: () => ({
    status: concatBytes(...framePieces(encodeRequest(1, 'status', REQUESTS.status))),
    some: concatBytes(
      ...(['attest', 'freeze', 'sign'] as const).flatMap((name, id) =>
        framePieces(encodeRequest(id, name, REQUESTS[name])),
      ),
    ),
    more: concatBytes(
      ...(['walletCreate', 'take', 'policyEnable', 'leavesGet'] as const).flatMap((name, id) =>
        framePieces(encodeRequest(id, name, REQUESTS[name])),
      ),
    ),
  }),
  mutators: [changeFrame, changeFrame],
  maxBytes: 8 * 1024,
  codes: [],
  executions: 400,
  async run(input) {
    const { frames, isWhole } = framesOf(input);
    const requests = asked(frames);
    const [near, far] = duplexPair();
    const logged: string[] = [];
    const connection = new Connections().admit(near);
    must(connection !== undefined, 'no room for the first connection');
    serve(connection, new InFlight(), {
      phase: () => 'serving',
      handlers,
      names: NAMES,
      stopOf: () => undefined,
      outboxes: new Set(),
      log: (line) => logged.push(line),
    });
    const replies: Uint8Array[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    readFrames(far, (reply) => replies.push(reply), resolve);
    far.on('error', () => resolve());
    near.once('close', () => setImmediate(resolve));
    far.end(input);
    await promise;
    for (const end of [near, far]) end.on('error', () => undefined).destroy();
    must(
      logged.every((line) => !line.includes('unexpected')),
      `unexpected: ${logged.join('; ')}`,
    );
    const waiting = [...requests];
    const codes = replies.map((bytes) => {
      const reply = decodeReplyHead(bytes);
      const at = waiting.findIndex(({ id }) => id === reply.id);
      const request = waiting.splice(at, 1)[0];
      must(at >= 0 && request !== undefined, 'an answer that nobody asked for');
      const body = reply.read(request.name);
      return isRefusal(body) && 'code' in body ? body.code : request.name;
    });
    // A peer that breaks the framing is hung up on, and what it asked before may be lost with it.
    if (isWhole && requests.length === frames.length) must(waiting.length === 0, 'a request without an answer');
    return codes;
  },
};
