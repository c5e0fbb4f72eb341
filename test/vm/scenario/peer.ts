/** Somebody on the parent who speaks to the enclave over vsock without the host's manners. */
import { once } from 'node:events';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { loadNative, vsockTransport } from '@quantumvault/shared/native.ts';
import { decodeReplyHead, encodeRequest, isRefusal } from '@quantumvault/shared/protocol/messages.ts';
import { parseTransportAddress, type Transport } from '@quantumvault/shared/transport.ts';
import { IMAGE } from './layout.ts';

/** Only a guest has the addon there; the names of the steps are read elsewhere, too. */
let transport: Transport | undefined;

export function connectTo(address: string): Duplex {
  transport ??= vsockTransport(loadNative(join(IMAGE, 'qv-native.node')));
  const stream = transport.connect(parseTransportAddress(address));
  stream.on('error', () => undefined);
  return stream;
}

export interface Burst {
  /** Replies that are the enclave's status. */
  readonly answered: number;
  /** Refusals by code. */
  readonly refused: Readonly<Record<string, number>>;
  /** Sent on a connection that was hung up on before they were answered. */
  readonly hungUp: number;
}

/** Many status requests at once on one connection. @throws Error for a reply that is neither an answer nor a refusal */
export async function burst(address: string, requests: number): Promise<Burst> {
  const stream = connectTo(address);
  const refused: Record<string, number> = {};
  const waiting = new Set(Array.from({ length: requests }, (_, index) => index + 1));
  let answered = 0;
  const fault = Promise.withResolvers<never>();
  const done = new Promise<void>((resolve) => {
    stream.once('close', resolve);
    stream.once('end', resolve);
    readFrames(stream, (payload) => {
      const { id, read } = decodeReplyHead(payload);
      if (!waiting.delete(id)) fault.reject(new Error(`a reply to request ${id}, which nobody waits for`));
      const reply = read('status');
      if (isRefusal(reply)) refused[reply.code] = (refused[reply.code] ?? 0) + 1;
      else answered += 1;
      if (waiting.size === 0) resolve();
    });
  });
  for (const id of [...waiting]) {
    if (stream.destroyed) break;
    if (!writeFrame(stream, encodeRequest(id, 'status', {}))) await Promise.race([once(stream, 'drain'), done]);
  }
  await Promise.race([done, fault.promise]);
  stream.destroy();
  return { answered, refused, hungUp: waiting.size };
}

export interface StuckPeer {
  /** Bytes that the enclave does not take. */
  readonly stuckBytes: () => number;
  readonly letGo: () => void;
}

/** Sends requests and takes no reply, until the enclave takes no more either. */
export async function neverReads(address: string): Promise<StuckPeer> {
  const stream = connectTo(address);
  await once(stream, 'connect');
  const request = encodeRequest(1, 'status', {});
  for (let samplesStuck = 0; samplesStuck < 20 && !stream.destroyed; ) {
    const before = stream.writableLength;
    if (before === 0) for (let count = 0; count < 2000; count++) writeFrame(stream, request);
    await sleep(50);
    samplesStuck = before > 0 && stream.writableLength === before ? samplesStuck + 1 : 0;
  }
  return { stuckBytes: () => stream.writableLength, letGo: () => void stream.destroy() };
}
