/** Hex and base64 from bytes to bytes, for keys: `fromHex` and `fromBase64` take strings, and are for public values. */

const NONE = 0xff;
const PAD = 0x3d;

function digits(alphabet: string): Uint8Array {
  const table = new Uint8Array(256).fill(NONE);
  for (const [digit, character] of [...alphabet].entries()) table[character.charCodeAt(0)] = digit;
  return table;
}

const HEX = digits('0123456789abcdef');
for (const [digit, character] of [...'ABCDEF'].entries()) HEX[character.charCodeAt(0)] = 10 + digit;
const BASE64 = digits('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');

/**
 * Digits in either case.
 * @param into written from its beginning
 * @returns how many bytes; undefined when it is no hex, or of more bytes than there is room for
 */
export function readHexBytes(text: Uint8Array, into: Uint8Array): number | undefined {
  const length = text.length / 2;
  if (!Number.isInteger(length) || length > into.length) return undefined;
  let fault = 0;
  for (let at = 0; at < length; at++) {
    const [high, low] = [HEX[text[2 * at] ?? 0] ?? NONE, HEX[text[2 * at + 1] ?? 0] ?? NONE];
    // A digit has no bit above the fourth.
    fault |= (high | low) & 0xf0;
    into[at] = (high << 4) | low;
  }
  return fault === 0 ? length : undefined;
}

/** RFC 4648 section 4, with its padding and without bits beyond the last byte. @returns as `readHexBytes` */
export function readBase64Bytes(text: Uint8Array, into: Uint8Array): number | undefined {
  if (text.length % 4 !== 0) return undefined;
  const pads = text.at(-1) !== PAD ? 0 : text.at(-2) === PAD ? 2 : 1;
  const length = (text.length / 4) * 3 - pads;
  if (length > into.length) return undefined;
  let fault = 0;
  let bits = 0;
  let held = 0;
  let at = 0;
  for (const byte of text.subarray(0, text.length - pads)) {
    const digit = BASE64[byte] ?? NONE;
    fault |= digit & 0xc0;
    held = ((held << 6) | (digit & 0x3f)) & 0xffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    into[at++] = held >> bits;
  }
  fault |= held & ((1 << bits) - 1);
  return fault === 0 ? length : undefined;
}
