/** The auditor's own way of reading leaves reads and refuses what the one way does. */
import { LeafReader } from '@quantumvault/shared/evidence/audit/decode.ts';
import { decodeLeaf, leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { refusalOf } from '../../../support/codes.ts';
import { Deployment, nodeSha256 } from '../../../support/log-builder.ts';

const deployment = new Deployment();
const log = await deployment.start();
const wallet = log.wallet();
wallet.repeat(wallet.sign({ tokens: [{ mint: wallet.owner, amount: 3n }] }));
wallet.deny();
log.resume(log.freeze());
wallet.moveTo(await deployment.start({ follows: log.predecessor() }));
const entries = deployment.logs.flatMap((each) => each.entries);
const reader = new LeafReader(nodeSha256);

test('leaves of every kind', () => {
  for (const entry of entries) {
    expect(reader.decode(entry)).toEqual(decodeLeaf(entry));
    expect(reader.hash(entry)).toEqual(leafHash(entry));
  }
});

test('whatever was changed', () => {
  fc.assert(
    fc.property(fc.nat(entries.length - 1), fc.nat(), fc.integer({ min: 1, max: 255 }), (which, at, flip) => {
      const changed = Uint8Array.from(entries[which] as Uint8Array);
      const index = Math.min(at % 400, changed.length - 1);
      changed[index] = (changed[index] ?? 0) ^ flip;
      const refusal = refusalOf(() => decodeLeaf(changed));
      if (refusal === undefined) expect(reader.decode(changed)).toEqual(decodeLeaf(changed));
      else expect(refusalOf(() => reader.decode(changed))).toMatchObject({ code: refusal.code, facts: refusal.facts });
    }),
    { numRuns: 3_000 },
  );
});

test('what is no map', () => {
  for (const bytes of [Uint8Array.of(0), Uint8Array.of(0x80), new Uint8Array()]) {
    const refusal = refusalOf(() => decodeLeaf(bytes));
    expect(refusalOf(() => reader.decode(bytes))?.code).toBe(refusal?.code);
  }
});
