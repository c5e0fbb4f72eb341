/** Properties of the decoder over generated and damaged bytes. */
import { addressOf } from '@quantumvault/shared/brands.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { decodeMessage, encodeMessage } from '@quantumvault/shared/solana/message.ts';
import { encodeTransaction, inspectTransaction } from '@quantumvault/shared/solana/transaction.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyMessage } from './generated.ts';
import { corpus, kitView, ourView, web3View, wireOf } from './vectors.ts';

const numRuns = Number(process.env['PROPERTY_RUNS'] ?? 300);

/** Accepted and byte-exact, or refused with a code of the decoder: nothing else may happen. */
function expectDecidedCleanly(wire: Uint8Array): void {
  try {
    expect(encodeTransaction(inspectTransaction(wire).transaction)).toEqual(wire);
  } catch (error) {
    expect(codeOf(error)).toMatch(/^transaction_/);
  }
}

describe('generated messages', () => {
  it('are what kit and web3.js read', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const bytes = encodeMessage(message);
        expect(decodeMessage(bytes)).toEqual(message);
        expect(kitView(bytes)).toEqual(ourView(message));
        if (message.version !== '1') expect(web3View(bytes)).toEqual(ourView(message));
      }),
      { numRuns },
    );
  });

  it('survive the wire', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const signatures = Array.from({ length: message.header.requiredSignatures }, (_, index) =>
          new Uint8Array(64).fill(index),
        );
        const wire = encodeTransaction({ signatures, messageBytes: encodeMessage(message) });
        fc.pre(wire.length <= (message.version === '1' ? 4096 : 1232));
        const { transaction } = inspectTransaction(wire);
        expect(transaction.signatures).toEqual(signatures);
        expect(transaction.message).toEqual(message);
      }),
      { numRuns },
    );
  });
});

describe('damaged bytes', () => {
  it('random ones are decided cleanly', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), (wire) => expectDecidedCleanly(wire)),
      { numRuns },
    );
  });

  it('one changed, removed or added byte is decided cleanly', () => {
    const wires = corpus.transactions.map(wireOf);
    fc.assert(
      fc.property(
        fc.constantFrom(...wires),
        fc.nat(),
        fc.integer({ min: 0, max: 255 }),
        fc.constantFrom('change', 'remove', 'add'),
        (wire, position, byte, how) => {
          const at = position % wire.length;
          const tail = wire.subarray(how === 'add' ? at : at + 1);
          const middle = how === 'remove' ? [] : [byte];
          expectDecidedCleanly(Uint8Array.of(...wire.subarray(0, at), ...middle, ...tail));
        },
      ),
      { numRuns: numRuns * 5 },
    );
  });

  it('every prefix is refused', () => {
    for (const record of corpus.transactions.slice(0, 20)) {
      const wire = wireOf(record);
      for (let length = 0; length < wire.length; length++)
        expect(() => inspectTransaction(wire.subarray(0, length))).toThrow();
    }
  });
});

describe('accounts', () => {
  it('are as many as one transaction may lock, static and loaded', () => {
    const { messageBytes } = inspectTransaction(wireOf(corpus.transactions[0] ?? { base64: '' })).transaction;
    const message = decodeMessage(messageBytes);
    const loading = (count: number): Uint8Array => {
      const table = addressOf(new Uint8Array(32).fill(1));
      const writableIndexes = Array.from({ length: count - message.accountKeys.length }, (_, index) => index);
      return encodeMessage({ ...message, version: '0', lookups: [{ table, writableIndexes, readonlyIndexes: [] }] });
    };
    expect(decodeMessage(loading(64)).lookups).toHaveLength(1);
    expect(() => decodeMessage(loading(65))).toThrow('transaction_keys_too_many');
  });
});
