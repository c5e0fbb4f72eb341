/** Our own CBOR: what is accepted is what the encoder would have written. */

import { fromHex } from '@quantumvault/shared/bytes.ts';
import { type CborValue, decodeCbor, encodeCbor, scanCbor } from '@quantumvault/shared/cbor.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { isRefused, mustEndThere } from './checks.ts';

const nested = (depth: number): CborValue => (depth === 0 ? 1 : [nested(depth - 1)]);

/** Deepest item, and how many there are. */
function survey(value: CborValue): { depth: number; items: number } {
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return { depth: 0, items: 1 };
  const inner = (value instanceof Map ? [...value.keys(), ...value.values()] : value) as readonly CborValue[];
  const found = inner.map(survey);
  return {
    depth: found.reduce((most, { depth }) => Math.max(most, depth + 1), found.length === 0 ? 0 : 1),
    items: found.reduce((sum, { items }) => sum + items, 1),
  };
}

export const cbor: Target = {
  name: 'cbor',
  covers: ['shared/src/cbor.ts#decodeCbor', 'shared/src/cbor.ts#scanCbor'],
  seeds: () => ({
    map: encodeCbor(
      new Map<number | string, CborValue>([
        [0, 1],
        [1, 'text'],
        [24, new Uint8Array(30)],
        [256, null],
        ['a', true],
        ['bb', false],
      ]),
    ),
    list: encodeCbor([0, 23, 24, 255, 256, 65535, 65536, 4294967295, 'ü', new Uint8Array(300)]),
    deep: encodeCbor(nested(LIMITS.cborDepth)),
    nested: encodeCbor(new Map([[0, new Map([[0, [new Map([[1, 'x']])]]])]])),
    many: encodeCbor(Array.from({ length: 400 }, (_, index) => index)),
    empty: encodeCbor(new Map()),
  }),
  mutators: [cborMutator()],
  dictionary: [
    'f4',
    'f6',
    'f7',
    'f90000',
    'fb7ff8000000000000',
    'c0',
    'd818',
    '1800',
    '190000',
    '1a0000ffff',
    '1b0000000100000000',
    '5f',
    '7f',
    '9f',
    'bf',
    'ff',
    '20',
    '7a7fffffff',
    '9a00004e21',
    '6378c3ff',
    'd9dff9',
  ].map((hex) => fromHex(hex)),
  maxBytes: LIMITS.frameBytes + 64,
  codes: ['cbor_malformed'],
  executions: 8_000,
  run(input) {
    const isScanned = !isRefused(scanCbor, input);
    const value = accept(decodeCbor(input));
    must(isScanned, 'decoded what the scan refuses');
    mustEqualBytes(encodeCbor(value), input, 'it encodes to other bytes');
    mustEndThere(decodeCbor, input);
    const { depth, items } = survey(value);
    must(depth <= LIMITS.cborDepth && items <= LIMITS.cborItems, `${items} items, ${depth} deep`);
    must(!('length' in Object(input)) || input.length <= LIMITS.frameBytes, 'larger than a frame');
    return value;
  },
};
