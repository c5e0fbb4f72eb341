/**
 * Reads a wallet's key on the machine of its owner: from a descriptor, a private file, or typed without echo. What is
 * read stays in one piece of guarded memory, as bytes; no string is made of any of it, and it is wiped before this
 * returns. What remains is the 32-byte seed, in guarded memory of its own.
 */
import { type Address, addressBytes } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { NO_PATH } from './derivation-path.ts';
import { GuardedMemory } from './guarded-memory.ts';
import { formOf, type KeyForm, seedFrom } from './key-forms.ts';
import { readSecretBytes, type SecretSource } from './key-source.ts';
import { OwnedSeed } from './owned-seed.ts';
import { loadSodium, type Sodium } from './sodium.ts';
import { layout, WORK_BYTES, type WorkMemory } from './work-memory.ts';

export type { KeyForm } from './key-forms.ts';
export type { SecretSource } from './key-source.ts';
export { OwnedSeed } from './owned-seed.ts';

export interface ReadSeedOptions {
  /** A line break at its end does not count. */
  readonly key: SecretSource;
  /** Default: as the bytes themselves tell. */
  readonly form?: KeyForm;
  /** Of a mnemonic; default none. A line break at its end does not count. */
  readonly passphrase?: SecretSource;
  /** Of a mnemonic: a path of SLIP-0010, or `none`; default m/44'/501'/0'/0'. */
  readonly path?: string;
  /** The wallet that the key has to be the one of. */
  readonly wallet?: Address;
}

/**
 * The caller wipes what it gets.
 * @throws QvError key_malformed, key_pair_mismatch, key_wallet_mismatch, key_file_unsafe, mnemonic_malformed,
 *   mnemonic_checksum_invalid, passphrase_malformed, derivation_path_malformed, input_unreadable, body_too_large,
 *   key_exposed, usage_invalid; none with a byte of what was read
 */
export async function readSeed(options: ReadSeedOptions): Promise<OwnedSeed> {
  const sodium = await loadSodium();
  const work = new GuardedMemory(sodium, WORK_BYTES);
  try {
    return await work.openWhile((memory) => readInto(layout(memory), sodium, options));
  } finally {
    work.wipe();
  }
}

async function readInto(part: WorkMemory, sodium: Sodium, options: ReadSeedOptions): Promise<OwnedSeed> {
  const { passphrase: passphraseSource, path, wallet } = options;
  const key = await readSecretBytes(options.key, part.key, part.chunk, 'Key (what you type is not shown): ');
  const form = options.form ?? formOf(key);
  if (form !== 'mnemonic' && (passphraseSource !== undefined || path !== undefined)) {
    throw new QvError('usage_invalid', { value: 'a passphrase or a path goes with a mnemonic, and this is none' });
  }
  const passphrase =
    passphraseSource === undefined
      ? part.passphrase.subarray(0, 0)
      : withoutLineBreak(await readSecretBytes(passphraseSource, part.passphrase, part.chunk, 'Passphrase: '));
  const isExpected = options.form !== undefined || wallet !== undefined;
  const seed = seedFrom(sodium, key, form, { passphrase, isExpected, ...(path !== undefined && { path }) }, part);
  if (wallet !== undefined && sodium.sodium_memcmp(seed, addressBytes(wallet)))
    throw new QvError('key_malformed', { value: 'this is the address of the wallet, not its key' });
  const owned = new OwnedSeed(sodium, seed, part.secretKey);
  if (wallet === undefined || owned.address === wallet) return owned;
  owned.wipe();
  const hint = form === 'mnemonic' && path !== NO_PATH ? '; the path or the passphrase may be another one' : '';
  throw new QvError('key_wallet_mismatch', { value: `what was read is the key of ${owned.address}${hint}` });
}

function withoutLineBreak(text: Buffer): Buffer {
  let end = text.length;
  if (text[end - 1] === 0x0a) end--;
  if (text[end - 1] === 0x0d) end--;
  return text.subarray(0, end);
}
