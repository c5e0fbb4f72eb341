/**
 * The two keys that live as long as a boot: nobody outside knows them, and each has its place in guarded memory. The
 * public halves tell which bytes there are the keys; from then on every other copy is looked for.
 */
import { addressBytes, type BootId } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import nacl from 'tweetnacl';
import { isGuarded, mappingAt, PAGE_BYTES, type Snapshot } from './process-memory.ts';
import type { Secret } from './secrets.ts';

export interface BootPublicKeys {
  readonly boot: BootId;
  readonly importKey: Uint8Array;
}

/** @throws Error when one of them is not in guarded memory */
export function bootKeys(snapshot: Snapshot, { boot, importKey }: BootPublicKeys): readonly Secret[] {
  const bootKey = addressBytes(boot);
  // libsodium ends an allocation where its pages end; a boot key is followed by its public half, an import key by none.
  const seed = keyBehind(snapshot, 64, (bytes) => {
    return equalBytes(bytes.subarray(32), bootKey) && equalBytes(publicHalf(bytes.subarray(0, 32)), bootKey);
  });
  const secret = keyBehind(snapshot, 32, (bytes) =>
    equalBytes(nacl.box.keyPair.fromSecretKey(bytes).publicKey, importKey),
  );
  if (seed === undefined || secret === undefined) throw new Error('boot key or import key is not in guarded memory');
  return [
    { kind: 'boot key', of: 'this boot', bytes: seed.subarray(0, 32) },
    { kind: 'import key', of: 'this boot', bytes: secret },
  ];
}

const publicHalf = (seed: Uint8Array): Uint8Array => nacl.sign.keyPair.fromSeed(seed).publicKey;

/** The last bytes of a guarded page, if they are the ones. */
function keyBehind(snapshot: Snapshot, length: number, isIt: (bytes: Uint8Array) => boolean): Uint8Array | undefined {
  for (const run of snapshot.runs) {
    for (let end = PAGE_BYTES; end <= run.length; end += PAGE_BYTES) {
      if (!isGuarded(mappingAt(snapshot, run.address + end - 1))) continue;
      const bytes = new Uint8Array(snapshot.bytes.subarray(run.offset + end - length, run.offset + end));
      if (isIt(bytes)) return bytes;
    }
  }
  return undefined;
}
