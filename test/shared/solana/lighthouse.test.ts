/** The four Lighthouse assertions of a balance bracket: as the program's own client writes them, and nothing else. */
import { readFileSync } from 'node:fs';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { decodeAssertion } from '@quantumvault/shared/solana/lighthouse.ts';
import { describe, expect, it } from 'vitest';
import { STRANGER, WALLET } from '../policy/cases.ts';
import {
  assertionData,
  type Named,
  tokensAtLeast,
  tokensAtMost,
  walletAtLeast,
  walletAtMost,
} from '../policy/lighthouse.ts';
import { bytes } from '../policy/messages.ts';

describe('assertions', () => {
  interface Vectors {
    readonly accepted: readonly {
      data: string;
      reads: { bound: string; of: string; amount: string; owner?: string };
    }[];
    readonly mainnet: readonly { data: string; instruction: string; logLevel: number; assertions: readonly Named[] }[];
  }
  const vectors = JSON.parse(
    readFileSync(new URL('../../vectors/solana/lighthouse/assertions.dev.json', import.meta.url), 'utf8'),
  ) as Vectors;

  it.each(vectors.accepted)('the client writes: $name', ({ data, reads }) => {
    const decoded = decodeAssertion(fromHex(data));
    expect({ ...decoded, amount: decoded?.amount.toString() }).toEqual(reads);
    const { bound, of, amount, owner = '' } = reads;
    const build = of === 'lamports' ? { most: walletAtMost, least: walletAtLeast } : undefined;
    const built =
      build !== undefined
        ? build[bound as 'most' | 'least'](WALLET, amount)
        : bound === 'most'
          ? tokensAtMost(STRANGER, amount)
          : tokensAtLeast(STRANGER, amount, owner);
    expect(built.data).toEqual(fromHex(data));
  });

  it.each(vectors.accepted)('one byte of $name changes what it says or makes it unknown', ({ data, reads }) => {
    const original = fromHex(data);
    const size = reads.owner === undefined ? 8 : 40;
    let known = 0;
    for (let index = 0; index < original.length; index++) {
      const changed = original.slice();
      changed[index] = (changed[index] ?? 0) ^ 1;
      const decoded = decodeAssertion(changed);
      if (decoded === undefined) continue;
      known++;
      expect(decoded).not.toEqual(decodeAssertion(original));
    }
    expect(known).toBe(size);
    expect(decodeAssertion(original.subarray(1))).toBeUndefined();
    expect(decodeAssertion(original.subarray(0, -1))).toBeUndefined();
    expect(decodeAssertion(bytes(original, 0))).toBeUndefined();
  });

  it.each(vectors.mainnet)('of the main network are written alike, and unknown: $data', (vector) => {
    expect(assertionData(vector.instruction, vector.assertions, vector.logLevel)).toEqual(fromHex(vector.data));
    expect(decodeAssertion(fromHex(vector.data))).toBeUndefined();
  });

  it('of the largest amounts', () => {
    const most = 2n ** 64n - 1n;
    expect(decodeAssertion(walletAtMost(WALLET, most).data)?.amount).toBe(most);
    expect(decodeAssertion(walletAtMost(WALLET, 0n).data)?.amount).toBe(0n);
  });
});
