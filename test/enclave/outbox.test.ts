import { Duplex } from 'node:stream';
import { Outbox, type Outgoing } from '@quantumvault/enclave/outbox.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { FrameReader } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { party } from '../support/wallet-kit.ts';

const subject = { wallet: party().address, requester: party().address };
const other = { wallet: party().address, requester: party().address };
const tick = () => new Promise((resolve) => setImmediate(resolve));

/** A peer that takes what is written only when it is told to. */
class Peer extends Duplex {
  readonly #reader = new FrameReader();
  readonly #pending: (() => void)[] = [];
  readonly frames: string[] = [];
  onWrite: (chunk: Uint8Array) => void = () => undefined;

  override _read(): void {}

  override _write(chunk: Uint8Array, _encoding: string, callback: () => void): void {
    this.onWrite(chunk);
    this.#pending.push(() => {
      this.#reader.add(chunk);
      for (let frame = this.#reader.next(); frame !== undefined; frame = this.#reader.next())
        this.frames.push(new TextDecoder().decode(frame));
      callback();
    });
  }

  /** Takes that many writes. */
  async swallow(count: number): Promise<void> {
    for (let taken = 0; taken < count; taken++) {
      this.#pending.shift()?.();
      await tick();
    }
  }
}

function start() {
  const peer = new Peer();
  const stopped = new Set<unknown>();
  let emptied = 0;
  const outbox = new Outbox(
    peer,
    ({ wallet }) => stopped.has(wallet),
    () => emptied++,
  );
  return { peer, outbox, stopped, emptied: () => emptied };
}

const plain = (text: string): Outgoing => ({ payload: utf8(text) });
const signature = (text: string, of = subject): Outgoing => ({
  payload: utf8(text),
  guarded: { subject: of, refusal: () => utf8(`frozen ${text}`) },
});

describe('a reply with a secret in it', () => {
  const place = (text: string) => Uint8Array.of(...utf8(text), ...new Uint8Array(3));
  const secretOf = (text: string) => Secret.take(utf8(text));

  it('has it in its last bytes when it leaves, and the frame is wiped when it has left', async () => {
    const { peer, outbox } = start();
    const secret = secretOf('abc');
    outbox.send(plain('before'));
    outbox.send({ payload: place('key:'), secret });
    outbox.send(plain('after'));
    // Until then it is nowhere else.
    expect(secret.use((bytes) => bytes.length)).toBe(3);
    const written: Uint8Array[] = [];
    peer.onWrite = (chunk) => written.push(chunk);
    await peer.swallow(3);
    expect(peer.frames).toEqual(['before', 'key:abc', 'after']);
    expect([...(written[0] ?? [])]).toEqual(Array(4 + 7).fill(0));
    await expectCode(() => secret.use(() => 0), 'secret_exposed');
  });

  it('takes it along when the peer is gone, before or while it waits', async () => {
    const { peer, outbox } = start();
    const [first, second, third] = [secretOf('abc'), secretOf('def'), secretOf('ghi')];
    outbox.send({ payload: place(''), secret: first });
    outbox.send({ payload: place(''), secret: second });
    peer.destroy();
    await tick();
    outbox.send({ payload: place(''), secret: third });
    for (const secret of [first, second, third]) await expectCode(() => secret.use(() => 0), 'secret_exposed');
  });

  it('is wiped in its frame, too, when the peer goes in the middle of taking it', async () => {
    const { peer, outbox } = start();
    const written: Uint8Array[] = [];
    peer.onWrite = (chunk) => written.push(chunk);
    outbox.send({ payload: place('key:'), secret: secretOf('abc') });
    expect(Buffer.from(written[0] ?? []).toString('latin1')).toContain('key:abc');
    // The write is never answered.
    peer.destroy();
    await tick();
    expect([...(written[0] ?? [])]).toEqual(Array(4 + 7).fill(0));
  });

  it('without a place for it is not sent', async () => {
    const { outbox } = start();
    const secret = secretOf('abc');
    expect(() => outbox.send({ payload: utf8('no place'), secret })).toThrow('without a place');
    await expectCode(() => secret.use(() => 0), 'secret_exposed');
    expect(outbox.isEmpty).toBe(true);
  });

  it('in a reply that fits no frame is wiped', async () => {
    const { outbox } = start();
    const secret = secretOf('abc');
    await expectCode(() => outbox.send({ payload: new Uint8Array(LIMITS.frameBytes + 1), secret }), 'frame_malformed');
    await expectCode(() => secret.use(() => 0), 'secret_exposed');
    expect(outbox.isEmpty).toBe(true);
  });
});

describe('replies on their way out', () => {
  it('leave in order, one frame at a time', async () => {
    const { peer, outbox, emptied } = start();
    for (const text of ['a', 'b', 'c']) outbox.send(plain(text));
    await tick();
    expect(peer.writableLength).toBe(4 + 1);
    await peer.swallow(2);
    expect(peer.frames).toEqual(['a', 'b']);
    expect([outbox.isEmpty, emptied()]).toEqual([false, 0]);
    await peer.swallow(1);
    expect(peer.frames).toEqual(['a', 'b', 'c']);
    expect([outbox.isEmpty, emptied()]).toEqual([true, 1]);
  });

  it('that carry a signature of what was frozen meanwhile are refusals when they leave', async () => {
    const { peer, outbox, stopped } = start();
    outbox.send(plain('first'));
    outbox.send(signature('signed'));
    outbox.send(signature('signed for another', other));
    stopped.add(subject.wallet);
    outbox.purge();
    outbox.send(signature('later'));
    await peer.swallow(4);
    expect(peer.frames).toEqual(['first', 'frozen signed', 'signed for another', 'frozen later']);
    expect(peer.destroyed).toBe(false);
  });

  it('that are half out when the freeze comes never come out whole', async () => {
    const { peer, outbox, stopped } = start();
    const large = { ...signature('x'), payload: new Uint8Array(LIMITS.frameBytes).fill(120) };
    outbox.send(large);
    await peer.swallow(1);
    stopped.add(subject.wallet);
    outbox.purge();
    expect(peer.destroyed).toBe(true);
    outbox.send(plain('nobody reads this'));
    await peer.swallow(3);
    expect(peer.frames).toEqual([]);
  });

  it('that do not concern the freeze are not disturbed by it', async () => {
    const { peer, outbox, stopped } = start();
    outbox.send(signature('on its way', other));
    stopped.add(subject.wallet);
    outbox.purge();
    expect(peer.destroyed).toBe(false);
    await peer.swallow(1);
    expect(peer.frames).toEqual(['on its way']);
  });

  it('stop the reading from a peer that does not read, until it does', async () => {
    const { peer, outbox } = start();
    peer.resume();
    for (let index = 0; index <= LIMITS.outboxFrames + 1; index++) outbox.send(plain(String(index)));
    expect(peer.isPaused()).toBe(true);
    await peer.swallow(LIMITS.outboxFrames + 2);
    expect(peer.isPaused()).toBe(false);
  });

  it('that are larger than a frame are refused, and leave the connection as it is', async () => {
    const { peer, outbox } = start();
    await expectCode(() => outbox.send({ payload: new Uint8Array(LIMITS.frameBytes + 1) }), 'frame_malformed');
    outbox.send(plain('next'));
    await peer.swallow(1);
    expect(peer.frames).toEqual(['next']);
  });
});
