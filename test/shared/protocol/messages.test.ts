import { fromHex } from '@quantumvault/shared/bytes.ts';
import { type CborValue, decodeCbor, encodeCbor } from '@quantumvault/shared/cbor.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import {
  decodeReplyHead,
  decodeRequestHead,
  encodeRefusal,
  encodeReply,
  encodeRequest,
  isRefusal,
  MESSAGES,
  type MessageName,
} from '@quantumvault/shared/protocol/messages.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';

const attest = { nonce: new Uint8Array(32).fill(1) };

describe('messages', () => {
  it('have kinds of their own', () => {
    const kinds = Object.values(MESSAGES).map(({ kind }) => kind);
    expect(new Set(kinds).size).toBe(kinds.length);
  });

  it('travel there and back', () => {
    const { id, name, body } = decodeRequestHead(encodeRequest(7, 'attest', attest));
    expect([id, name]).toEqual([7, 'attest']);
    expect(body()).toEqual(attest);
    const reply = decodeReplyHead(encodeReply(7, 'attest', { document: fromHex('84') }));
    expect(reply.id).toBe(7);
    expect(reply.read('attest')).toEqual({ document: fromHex('84') });
    const refusal = decodeReplyHead(encodeRefusal(8, { code: 'frozen', path: 'a', value: 'b' })).read('sign');
    expect(isRefusal(refusal) && refusal.code).toBe('frozen');
  });

  it('are refused with another kind, other keys or a missing part', async () => {
    const frame = (entries: [number, CborValue][]) => encodeCbor(new Map(entries));
    const body = new Map([[0, attest.nonce]]);
    for (const entries of [
      [
        [0, 99],
        [1, 1],
        [2, body],
      ],
      [
        [0, 2],
        [1, 1],
      ],
      [
        [0, 2],
        [2, body],
      ],
      [
        [0, 2],
        [1, 1],
        [2, body],
        [3, 1],
      ],
      [
        [0, 'attest'],
        [1, 1],
        [2, body],
      ],
    ] as [number, CborValue][][]) {
      await expectCode(() => decodeRequestHead(frame(entries)), 'message_malformed');
    }
    await expectCode(() => decodeRequestHead(encodeCbor([1, 2])), 'message_malformed');
    await expectCode(() => decodeReplyHead(frame([[0, 1]])), 'message_malformed');
    await expectCode(
      () =>
        decodeReplyHead(
          frame([
            [0, 1],
            [1, body],
            [2, body],
          ]),
        ),
      'message_malformed',
    );
    await expectCode(
      () =>
        decodeRequestHead(
          frame([
            [0, 2],
            [1, 1],
            [2, new Map([[0, new Uint8Array(15)]])],
          ]),
        ).body(),
      'message_malformed',
    );
    await expectCode(
      () =>
        decodeRequestHead(
          frame([
            [0, 2],
            [1, 1],
            [2, new Map([[1, attest.nonce]])],
          ]),
        ).body(),
      'message_malformed',
    );
    await expectCode(
      () =>
        decodeRequestHead(
          frame([
            [0, 2],
            [1, 1],
            [2, null],
          ]),
        ).body(),
      'message_malformed',
    );
  });

  it('never lead to anything but a QvError, on arbitrary and mutated frames', () => {
    const names = Object.keys(MESSAGES) as MessageName[];
    const attempt = (bytes: Uint8Array): void => {
      try {
        const { body } = decodeRequestHead(bytes);
        body();
      } catch (error) {
        expect(error).toBeInstanceOf(QvError);
      }
      try {
        const { read } = decodeReplyHead(bytes);
        for (const name of names) {
          try {
            read(name);
          } catch (error) {
            expect(error).toBeInstanceOf(QvError);
          }
        }
      } catch (error) {
        expect(error).toBeInstanceOf(QvError);
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), attempt));
    const valid = encodeRequest(1, 'sign', {
      id: 'a' as never,
      timestamp: '1',
      body: attest.nonce,
      signature: new Uint8Array(64) as never,
      policy: { bytes: attest.nonce, mac: attest.nonce },
      blobs: { salt: attest.nonce, executionKey: attest.nonce, sealedSeed: attest.nonce, sealedState: attest.nonce },
    });
    expect(decodeCbor(valid)).toBeInstanceOf(Map);
    fc.assert(
      fc.property(fc.nat(valid.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const copy = Uint8Array.from(valid);
        copy[at] = value;
        attempt(copy);
      }),
      { numRuns: 2000 },
    );
  });
});
