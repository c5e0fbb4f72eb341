/** Signatures on their way out when their wallet is frozen or ends: refusals leave in their place, and say why. */
import { duplexPair } from 'node:stream';
import { Guarded } from '@quantumvault/enclave/outbox.ts';
import { type Handlers, InFlight, type Served, type Stop, serve } from '@quantumvault/enclave/server.ts';
import { framePieces, readFrames } from '@quantumvault/shared/frames.ts';
import { decodeReplyHead, encodeRequest, isRefusal } from '@quantumvault/shared/protocol/messages.ts';
import { expect, it } from 'vitest';
import { until } from '../support/temporary.ts';
import { party } from '../support/wallet-kit.ts';

const subject = { wallet: party().address, requester: party().address };

async function replyWith(stopped: () => Stop | undefined): Promise<string> {
  const [near, far] = duplexPair();
  const note = new Uint8Array(100).fill(1);
  const served: Served = {
    phase: () => 'serving',
    handlers: { checkpoint: () => new Guarded({ note }, subject) } as unknown as Handlers,
    names: ['checkpoint'],
    stopOf: ({ wallet }) => (wallet === subject.wallet ? stopped() : undefined),
    outboxes: new Set(),
    log: () => undefined,
  };
  serve({ stream: near, underWay: 0, asked: () => undefined }, new InFlight(), served);
  let reply: Uint8Array | undefined;
  readFrames(far, (frame) => {
    reply = frame;
  });
  for (const piece of framePieces(encodeRequest(7, 'checkpoint', {}))) far.write(piece);
  await until('it answers', () => reply !== undefined);
  far.destroy();
  const read = decodeReplyHead(reply as Uint8Array).read('checkpoint');
  return isRefusal(read) ? read.code : 'left';
}

it.each<[Stop | undefined, string]>([
  [undefined, 'left'],
  ['frozen', 'frozen'],
  ['wallet_retired', 'wallet_retired'],
])('stopped by %s: %s', async (stop, outcome) => {
  expect(await replyWith(() => stop)).toBe(outcome);
});
