import { fromBase58, toBase58 } from '@quantumvault/shared/base58.ts';
import { address, addressBytes, addressOf } from '@quantumvault/shared/brands.ts';
import { fromBase64, fromHex, toBase64, toHex, u64Bytes, u64FromBytes } from '@quantumvault/shared/bytes.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { PublicKey } from '@solana/web3.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';

const key = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe('base58', () => {
  it('agrees with web3.js on addresses, leading zeros included', () => {
    fc.assert(
      fc.property(key, fc.nat(8), (bytes, zeros) => {
        bytes.fill(0, 0, zeros);
        const text = new PublicKey(bytes).toBase58();
        expect(toBase58(bytes)).toBe(text);
        expect(fromBase58(text, 32)).toEqual(bytes);
        expect(addressBytes(address(text))).toEqual(bytes);
        expect(addressOf(bytes)).toBe(text);
      }),
    );
  });

  it.each([
    ['', 32],
    ['0', 1],
    ['l', 1],
    ['1'.repeat(31), 32],
    ['1'.repeat(33), 32],
    ['z'.repeat(44), 32],
    ['z'.repeat(1e6), 32],
  ])('refuses %#', async (text, length) => {
    await expectCode(() => fromBase58(text, length), 'base58_malformed');
  });
});

describe('base58 text', () => {
  it('is accepted exactly when it is what web3.js would print for those bytes', () => {
    const characters = [...'123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'];
    const text = fc.oneof(
      fc.array(fc.constantFrom(...characters), { minLength: 30, maxLength: 46 }).map((parts) => parts.join('')),
      fc
        .tuple(fc.nat(34), fc.array(fc.constantFrom(...characters), { maxLength: 44 }))
        .map(([ones, rest]) => '1'.repeat(ones) + rest.join('')),
    );
    fc.assert(
      fc.property(text, (input) => {
        let expected: boolean;
        try {
          expected = new PublicKey(input).toBase58() === input;
        } catch {
          expected = false;
        }
        let accepted: boolean;
        try {
          accepted = toBase58(fromBase58(input, 32)) === input;
        } catch {
          accepted = false;
        }
        expect(accepted).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('base64 and hex', () => {
  it('agree with Buffer and read only what they write', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
        expect(fromBase64(toBase64(bytes))).toEqual(bytes);
        expect(toHex(bytes)).toBe(Buffer.from(bytes).toString('hex'));
        expect(fromHex(toHex(bytes))).toEqual(bytes);
      }),
    );
  });

  it.each(['A', 'AA', 'AA=', 'AB==', 'AAB=', 'AAAA\n', ' AAAA', 'AA-_', 'AAAA====', '=AAA'])(
    'refuse base64 %j',
    async (text) => {
      await expectCode(() => fromBase64(text), 'base64_malformed');
    },
  );

  it.each(['0', 'AA', '0x00', 'zz', '00 '])('refuse hex %j', async (text) => {
    await expectCode(() => fromHex(text), 'hex_malformed');
  });
});

describe('u64', () => {
  it('round trips within its range only', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (n) => {
        expect(u64FromBytes(u64Bytes(n))).toBe(n);
      }),
    );
    expect(() => u64Bytes(1n << 64n)).toThrow(RangeError);
    expect(() => u64Bytes(-1n)).toThrow(RangeError);
    expect(() => u64FromBytes(new Uint8Array(7))).toThrow(RangeError);
  });
});

describe('transport addresses', () => {
  it('are unix:/path or vsock:CID:port', () => {
    expect(parseTransportAddress('unix:/run/qv.sock')).toEqual({ kind: 'unix', path: '/run/qv.sock' });
    expect(parseTransportAddress('vsock:16:5000')).toEqual({ kind: 'vsock', cid: 16, port: 5000 });
  });

  it.each([
    '',
    'unix:',
    'unix:relative',
    `unix:/${'x'.repeat(107)}`,
    'unix:/a\0b',
    'vsock:3',
    'vsock:03:1',
    'vsock:3:0',
    'vsock:4294967295:1',
    'vsock:3:4294967296',
    'tcp:1:2',
  ])('refuse %j', async (text) => {
    await expectCode(() => parseTransportAddress(text), 'address_malformed');
  });
});
