/**
 * Keys that somebody puts where others read them: the command line shows in the list of processes and stays in the
 * shell's history, the environment goes to every child. Nothing is read from either; what looks like a key is refused,
 * without being repeated.
 */
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import nacl from 'tweetnacl';

const VARIABLE = /^QV_(?:(?:IMPORT|PRIVATE|SECRET|WALLET)_)?(?:KEY|SEED|MNEMONIC|PASSPHRASE)$/;
/** Words of BIP-39 have three to eight letters, and a mnemonic at least twelve. */
const MNEMONIC = /(?:^|\s)(?:[a-z]{3,8}\s+){11}[a-z]{3,8}(?:\s|$)/;
const JSON_ARRAY = /\[\s*(?:\d{1,3}\s*,\s*){31}/;
const PAIR_TEXT = /^[1-9A-HJ-NP-Za-km-z]{86,88}$/;
/** What could be a seed, and is no path that anybody has. */
const SEED_TEXT = /^(?:[1-9A-HJ-NP-Za-km-z]{43,44}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128})$/;

/** @throws QvError key_exposed, with the name of the variable at most */
export function refuseExposedKeys(argv: readonly string[], environment: NodeJS.ProcessEnv): void {
  const named = Object.keys(environment).find((name) => VARIABLE.test(name) && environment[name] !== '');
  if (named !== undefined) throw exposed(`the environment, as ${named}`);
  const words = argv.flatMap((word) => word.split('='));
  if (words.some(isKey) || MNEMONIC.test(argv.join(' '))) throw exposed('the command line');
}

/** What is no file is not repeated when it may be a key. @throws QvError key_exposed */
export function refuseKeyAsPath(path: string): void {
  if (isKey(path) || SEED_TEXT.test(path)) throw exposed('the command line, in place of a path');
}

const exposed = (where: string): QvError =>
  new QvError('key_exposed', { value: `${where}; qv reads keys from a descriptor, a private file or the terminal` });

/** An address or a signature is as long as a seed or a pair: of a pair the halves belong together. */
function isKey(word: string): boolean {
  if (MNEMONIC.test(word) || JSON_ARRAY.test(word)) return true;
  return PAIR_TEXT.test(word) && isPair(word);
}

function isPair(word: string): boolean {
  let pair: Uint8Array;
  try {
    pair = fromBase58(word, 64);
  } catch {
    return false;
  }
  return equalBytes(nacl.sign.keyPair.fromSeed(pair.subarray(0, 32)).publicKey, pair.subarray(32));
}
