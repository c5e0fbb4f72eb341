/**
 * What the types alone refuse, checked by `npm run types`: each line below has to be an error. What they let through,
 * text and logs above all, is the rule's (rule.ts).
 */
import { createPublicKey, timingSafeEqual } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { concatBytes, equalBytes, toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { encodeCbor } from '@quantumvault/shared/cbor.ts';
import { Secret } from '@quantumvault/shared/secret.ts';

export function refused(secret: Secret, other: Uint8Array): unknown {
  // @ts-expect-error its bytes have no name outside of the class
  secret.bytes;
  // @ts-expect-error nor a place
  secret[0];
  // @ts-expect-error it holds no items
  [...secret];
  // @ts-expect-error and is no bytes itself: neither to copy,
  Uint8Array.from(secret);
  // @ts-expect-error
  concatBytes(secret);
  // @ts-expect-error
  other.set(secret);
  // @ts-expect-error nor to turn into text,
  toHex(secret);
  // @ts-expect-error
  toBase64(secret);
  // @ts-expect-error
  new TextDecoder().decode(secret);
  // @ts-expect-error nor to serialise or write,
  encodeCbor(secret);
  // @ts-expect-error
  writeFileSync('/dev/null', secret);
  // @ts-expect-error nor to compare with bytes,
  equalBytes(secret, other);
  // @ts-expect-error
  timingSafeEqual(secret, other);
  // @ts-expect-error
  secret.equals(other);
  // @ts-expect-error
  secret === other;
  // @ts-expect-error nor to compute with
  secret * 2;
  // @ts-expect-error
  createPublicKey(secret);
  // @ts-expect-error nothing else is one, whatever it can do
  const alike: Secret = { length: 1, use: (work) => work(other), equals: () => true, wipe: () => undefined };
  // @ts-expect-error memory that V8 may move is not taken for a secret's own
  new Secret(other);
  // @ts-expect-error its length is not to be changed
  secret.length = 1;
  return alike;
}
