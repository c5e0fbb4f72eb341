/** An auditor’s own file. */
import { createHash } from 'node:crypto';
import { addressBytes, hash } from '@quantumvault/shared/brands.ts';
import { concatBytes, u64Bytes } from '@quantumvault/shared/bytes.ts';
import { type CborValue, encodeCbor } from '@quantumvault/shared/cbor.ts';
import { decodeSeen } from '@quantumvault/shared/evidence/audit/seen.ts';
import { SeenWriter } from '@quantumvault/shared/evidence/audit/seen-file.ts';
import type { Mutator } from '../engine/mutate.ts';
import { accept, must, type Target } from '../engine/target.ts';
import * as sample from './samples.ts';

const sha256 = (bytes: Uint8Array) => hash(new Uint8Array(createHash('sha256').update(bytes).digest()));

/** Whoever changes the file can hash it, too. */
const rightDigest: Mutator = (input) => {
  if (input.length < 32) return undefined;
  const body = input.subarray(0, input.length - 32);
  return concatBytes(body, sha256(body));
};

export const auditSeen: Target = {
  name: 'audit-seen',
  covers: ['shared/src/evidence/audit/seen.ts#decodeSeen'],
  seeds: () => ({ empty: seenFile(0, 0), boot: seenFile(1, 0), wallet: seenFile(1, 1) }),
  mutators: [rightDigest, (input, material) => rightDigest(changeRecord(input, material) ?? input, material)],
  maxBytes: 16 * 1024,
  codes: ['log_seen_malformed'],
  executions: 2_000,
  run(input) {
    const seen = accept(decodeSeen(input, sha256));
    must(seen.boots.size <= input.length && seen.wallets.size <= input.length, 'more than there is');
    return { logOrigin: seen.logOrigin, boots: [...seen.boots.keys()], wallets: [...seen.wallets.keys()] };
  },
};

/** Bytes of one record, behind its length, so that the next one is still found. */
const changeRecord: Mutator = (input, { random }) => {
  if (input.length < 60) return undefined;
  const copy = Uint8Array.from(input);
  for (let count = 1 + random.below(3); count > 0; count--) {
    const at = 17 + random.below(copy.length - 50);
    copy[at] = random.once(2) ? (copy[at] ?? 0) ^ (1 << random.below(8)) : random.below(256);
  }
  return copy;
};

/** As encodeSeen writes it of an audit, whose records have codecs of their own. */
function seenFile(boots: number, wallets: number): Uint8Array {
  const writer = new SeenWriter();
  const record = (entries: readonly (readonly [number, CborValue])[]): void =>
    writer.packed(encodeCbor(new Map(entries)));
  const u64 = (value: number): Uint8Array => u64Bytes(BigInt(value));
  const key = addressBytes(sample.wallet);
  record([
    [0, 'qv/audit-seen/v1'],
    [1, 'example.com/qv'],
    [2, boots],
    [3, wallets],
  ]);
  if (boots > 0) {
    const [first, last] = [u64(sample.time), u64(sample.time + 9)];
    record([
      [0, addressBytes(sample.boot)],
      [1, u64(7)],
      [2, sample.hash],
      [3, first],
      [4, last],
      [5, sample.hash],
      [6, sample.filled(40, 1)],
      [7, sample.hash],
      [8, addressBytes(sample.otherBoot)],
      [
        9,
        new Map([
          [0, addressBytes(sample.otherBoot)],
          [1, u64(3)],
          [2, first],
        ]),
      ],
      [10, 1],
      [11, 1],
    ]);
    writer.packed(sample.note);
    writer.packed(new Uint8Array());
    record([
      [0, sample.freezeId],
      [1, 'fleet'],
      [2, u64(2)],
      [3, first],
      [
        4,
        new Map([
          [0, u64(4)],
          [1, last],
        ]),
      ],
    ]);
    record([
      [0, u64(5)],
      [1, first],
      [2, key],
      [3, addressBytes(sample.requester)],
      [4, sample.requestId],
      [5, sample.hash],
      [6, sample.hash],
    ]);
  }
  if (wallets > 0) {
    record([
      [0, key],
      [1, addressBytes(sample.owner)],
      [2, 1],
      [3, sample.hash],
      [4, 1],
      [5, 1],
    ]);
    record([
      [0, addressBytes(sample.boot)],
      [1, u64(0)],
      [2, u64(3)],
    ]);
    writer.packed(concatBytes(u64(sample.time), u64(5), u64(5000)));
    record([[0, addressBytes(sample.mint)]]);
    writer.packed(concatBytes(u64(sample.time), u64(9)));
  }
  return writer.end(sha256);
}
