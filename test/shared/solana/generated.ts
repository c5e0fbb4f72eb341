/** Messages that fast-check makes: always sane, so that whatever differs is a decoder's fault. */
import { type Address, addressOf } from '@quantumvault/shared/brands.ts';
import type { Instruction, Message, MessageConfig, MessageVersion } from '@quantumvault/shared/solana/message.ts';
import fc from 'fast-check';

export const anyAddress: fc.Arbitrary<Address> = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(addressOf);

const anyConfig: fc.Arbitrary<MessageConfig> = fc.record(
  {
    priorityFeeLamports: fc.bigInt(0n, (1n << 64n) - 1n),
    computeUnitLimit: fc.integer({ min: 0, max: 0xffff_ffff }),
    loadedAccountsBytes: fc.integer({ min: 0, max: 0xffff_ffff }),
    heapBytes: fc.integer({ min: 32, max: 256 }).map((kib) => kib * 1024),
  },
  { requiredKeys: [] },
);

const anyVersion: fc.Arbitrary<MessageVersion> = fc.constantFrom('legacy', '0', '1');

/** 1 to 12 keys, up to 6 instructions over them, and for version 0 up to two lookups. */
export const anyMessage: fc.Arbitrary<Message> = fc
  .record({
    version: anyVersion,
    keyCount: fc.integer({ min: 2, max: 12 }),
    tableCount: fc.integer({ min: 0, max: 2 }),
  })
  .chain(({ version, keyCount, tableCount }) => {
    const loads = version === '0' ? tableCount : 0;
    const indexes = fc.uniqueArray(fc.integer({ min: 0, max: 255 }), { minLength: 2, maxLength: 6 });
    return fc
      .record({
        keys: fc.uniqueArray(anyAddress, { minLength: keyCount + loads, maxLength: keyCount + loads }),
        loaded: fc.array(indexes, { minLength: loads, maxLength: loads }),
        signers: fc.integer({ min: 1, max: Math.min(keyCount, 4) }),
        readonlySigned: fc.nat(),
        readonlyUnsigned: fc.nat(),
        lifetime: fc.uint8Array({ minLength: 32, maxLength: 32 }),
        config: anyConfig,
      })
      .chain((made) => {
        const total = keyCount + made.loaded.flat().length;
        const anyInstruction: fc.Arbitrary<Instruction> = fc.record({
          programIndex: fc.integer({ min: 1, max: keyCount - 1 }),
          accountIndexes: fc.array(fc.integer({ min: 0, max: total - 1 }), { maxLength: 10 }),
          data: fc.uint8Array({ maxLength: 40 }),
        });
        return fc.array(anyInstruction, { maxLength: 6 }).map(
          (instructions): Message => ({
            version,
            header: {
              requiredSignatures: made.signers,
              readonlySigned: made.readonlySigned % made.signers,
              readonlyUnsigned: made.readonlyUnsigned % (keyCount - made.signers + 1),
            },
            accountKeys: made.keys.slice(0, keyCount),
            lifetime: made.lifetime,
            instructions,
            lookups: made.loaded.map((entries, index) => ({
              table: made.keys[keyCount + index] ?? addressOf(new Uint8Array(32)),
              writableIndexes: entries.slice(0, entries.length >> 1),
              readonlyIndexes: entries.slice(entries.length >> 1),
            })),
            config: version === '1' ? made.config : {},
          }),
        );
      });
  });
