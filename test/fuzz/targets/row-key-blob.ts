/** The blob of the fleet's row key, which the host keeps: one ciphertext of KMS, or that and what a second key opens. */
import { readRowKeyBlob, rowKeyBlobCodec } from '@quantumvault/enclave/row-key.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { blobs, filled } from './samples.ts';

export const rowKeyBlob: Target = {
  name: 'row-key-blob',
  covers: ['enclave/src/row-key.ts#readRowKeyBlob'],
  seeds: () => ({
    one: filled(184, 1),
    both: encodeAs(rowKeyBlobCodec, { ciphertext: filled(184, 1), second: blobs.second }),
  }),
  mutators: [cborMutator()],
  maxBytes: 1_024,
  codes: [],
  executions: 3_000,
  run(input) {
    const read = accept(readRowKeyBlob(input));
    const { ciphertext, second } = read;
    if (second === undefined) must(equalBytes(ciphertext, input), 'another ciphertext than what came');
    else mustEqualBytes(encodeAs(rowKeyBlobCodec, { ciphertext, second }), input, 'more than one spelling');
    return read;
  },
};
