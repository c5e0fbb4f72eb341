/** Paths of SLIP-0010 for Ed25519, where every step is hardened: `m/44'/501'/0'/0'`. They are public. */
import { QvError } from '@quantumvault/shared/errors.ts';

/** What Phantom, Solflare, Ledger and `solana-keygen` with `?key=0/0` use for a first account. */
export const DEFAULT_PATH = "m/44'/501'/0'/0'";
/** No derivation: the first half of the mnemonic's seed, as `solana-keygen new` and the CLI's `ASK` do without a path. */
export const NO_PATH = 'none';

const HARDENED = 0x8000_0000;
const MAX_STEPS = 10;

const wrong = (value: string): QvError => new QvError('derivation_path_malformed', { value });

/**
 * The steps' indexes, with the hardened bit; undefined for `none`; no steps for `m`.
 * @throws QvError derivation_path_malformed naming the step by its number
 */
export function parseDerivationPath(text: string): readonly number[] | undefined {
  if (text === NO_PATH) return undefined;
  const [root, ...steps] = text.split('/');
  // Nothing of it is shown: somebody may have put a passphrase there.
  if (root !== 'm') throw wrong(`it has to begin with m/, as ${DEFAULT_PATH}, or be ${NO_PATH}`);
  if (steps.length > MAX_STEPS) throw wrong(`more than ${MAX_STEPS} steps`);
  return steps.map((step, index) => {
    const [, digits] = /^(0|[1-9]\d{0,9})['hH]$/.exec(step) ?? [];
    const value = Number(digits ?? HARDENED);
    if (value < HARDENED) return value + HARDENED;
    const hint = /^\d+$/.test(step) ? ': Ed25519 has hardened steps alone, written with a quote' : '';
    throw wrong(`step ${index + 1} is no number below 2^31 with a quote behind it${hint}`);
  });
}
