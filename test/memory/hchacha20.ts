/** HChaCha20 (draft-irtf-cfrg-xchacha-03 section 2.2), which makes the key that XChaCha20 encrypts one message with. */

const CONSTANTS = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
/** Columns, then diagonals (RFC 8439 section 2.3). */
const ROUND: readonly (readonly [number, number, number, number])[] = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
];
const DOUBLE_ROUNDS = 10;

/** @param nonce 16 bytes */
export function hchacha20(key: Uint8Array, nonce: Uint8Array): Uint8Array {
  if (key.length !== 32 || nonce.length !== 16) throw new RangeError('a key has 32 bytes, this nonce 16');
  const words = (bytes: Uint8Array): number[] => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return Array.from({ length: bytes.length / 4 }, (_, index) => view.getUint32(index * 4, true));
  };
  const state = Uint32Array.from([...CONSTANTS, ...words(key), ...words(nonce)]);
  for (let round = 0; round < DOUBLE_ROUNDS; round++) for (const at of ROUND) quarterRound(state, at);
  const result = new Uint8Array(32);
  const view = new DataView(result.buffer);
  for (const [index, word] of [...state.subarray(0, 4), ...state.subarray(12)].entries()) {
    view.setUint32(index * 4, word, true);
  }
  return result;
}

function quarterRound(state: Uint32Array, [a, b, c, d]: readonly [number, number, number, number]): void {
  const step = (sum: number, other: number, turned: number, bits: number): void => {
    state[sum] = (state[sum] as number) + (state[other] as number);
    const word = (state[turned] as number) ^ (state[sum] as number);
    state[turned] = (word << bits) | (word >>> (32 - bits));
  };
  step(a, b, d, 16);
  step(c, d, b, 12);
  step(a, b, d, 8);
  step(c, d, b, 7);
}
