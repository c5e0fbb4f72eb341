/** What an enclave has attested about itself: the `user_data` of its boot's documents (design 10). */
import type { Hash } from '../brands.ts';
import { bootId, field, fixed, type Infer, maybe, purposeStruct, text } from '../protocol/wire.ts';

const PRINTABLE = /^[\x20-\x7e]*$/;

/** 512 bytes at most (AWS 3.2.2.2). */
export const userDataCodec = purposeStruct('qv/user-data/v1', {
  bootKey: field(1, bootId),
  /** The X25519 key, born in this boot, that imports are sealed to; absent in builds without import. */
  importKey: maybe(2, fixed(32)),
  configHash: field(3, fixed<Hash>(32)),
  logOrigin: field(4, text(128, PRINTABLE)),
  version: field(5, text(32, PRINTABLE)),
});
export type UserData = Infer<typeof userDataCodec>;
