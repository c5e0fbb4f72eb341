/** HMAC-SHA-512 and PBKDF2 in guarded memory, against Node's, around the block size. */
import { createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { HmacSha512, pbkdf2Sha512 } from '@quantumvault/host/cli/import/sha512.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { inWork, sodium } from './work.ts';

it.each([1, 63, 64, 127, 128, 129, 255, 256, 300])('HMAC with a key of %i bytes', (length) => {
  const key = randomBytes(length);
  inWork((part) => {
    const hmac = new HmacSha512(sodium, key, part);
    for (const size of [0, 1, 111, 112, 127, 128, 129, 1_000]) {
      const message = randomBytes(size);
      hmac.mac(message, part.masterSeed);
      expect(toHex(part.masterSeed)).toBe(createHmac('sha512', key).update(message).digest('hex'));
    }
  });
});

it('HMAC over what it is written to', () => {
  inWork((part) => {
    part.masterSeed.fill(7);
    const expected = createHmac('sha512', 'key').update(part.masterSeed).digest('hex');
    new HmacSha512(sodium, Buffer.from('key'), part).mac(part.masterSeed, part.masterSeed);
    expect(toHex(part.masterSeed)).toBe(expected);
  });
});

it('PBKDF2 with any password, salt and count', () => {
  const passwords = fc.uint8Array({ minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(
      passwords,
      fc.uint8Array({ maxLength: 100 }),
      fc.integer({ min: 1, max: 40 }),
      (password, salt, count) => {
        inWork((part) => {
          const numbered = Buffer.concat([salt, Buffer.alloc(4, 0xff)]);
          pbkdf2Sha512(sodium, password, numbered, count, part.pair, part.masterSeed, part);
          expect(toHex(part.masterSeed)).toBe(pbkdf2Sync(password, salt, count, 64, 'sha512').toString('hex'));
        });
      },
    ),
  );
});
