/** Options of commands that read a wallet's key. Such a command says `readsKey`. */
import { address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Arguments, OptionSpec } from '../command.ts';
import { DEFAULT_PATH, NO_PATH, parseDerivationPath } from './derivation-path.ts';
import { KEY_FORMS, type KeyForm } from './key-forms.ts';
import type { ReadSeedOptions, SecretSource } from './read-key.ts';

export const KEY_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  wallet: { value: '<address>', help: 'the wallet whose key it is; another key is refused', required: true },
  'key-fd': { value: '<n>', help: 'read the key from this open descriptor; default: asked on the terminal, unseen' },
  'key-file': { value: '<path>', help: 'read the key from this file, which only its owner may read' },
  'key-form': { value: '<form>', help: `${KEY_FORMS.join(', ')}; default: as the bytes tell` },
  passphrase: { help: 'the mnemonic has a passphrase: ask for it, unseen' },
  'passphrase-fd': { value: '<n>', help: 'read the passphrase of the mnemonic from this open descriptor' },
  path: {
    value: '<path>',
    help: `derivation path of the mnemonic, or ${NO_PATH} as solana-keygen new has it; default ${DEFAULT_PATH}`,
  },
};

/** What `--help` says of them, in lines. */
export const KEY_DETAILS: readonly string[] = [
  'The key is a keypair file of the Solana CLI, 32 or 64 bytes as they are or in base58, or a mnemonic of',
  'BIP-39 (English). It never stands on the command line or in the environment, where others can read it.',
  'Of open descriptors npx passes on 0 alone; node_modules/.bin/qv takes any.',
];

const wrong = (value: string): QvError => new QvError('usage_invalid', { value });

/** @throws QvError usage_invalid, base58_malformed, derivation_path_malformed */
export function keyOptions(args: Arguments): ReadSeedOptions {
  const [keyDescriptor, keyFile] = [descriptor(args, 'key-fd'), args.optional('key-file')];
  const passphraseDescriptor = descriptor(args, 'passphrase-fd');
  if (keyDescriptor !== undefined && keyFile !== undefined) throw wrong('--key-fd or --key-file, not both');
  if (passphraseDescriptor !== undefined && args.flag('passphrase'))
    throw wrong('--passphrase asks for it, --passphrase-fd reads it: not both');
  if (keyDescriptor !== undefined && keyDescriptor === passphraseDescriptor)
    throw wrong('--key-fd and --passphrase-fd are one descriptor');
  const form = formOption(args.optional('key-form'));
  const path = args.optional('path');
  // Before anybody is asked to type.
  if (path !== undefined) parseDerivationPath(path);
  const passphrase: SecretSource | undefined = args.flag('passphrase')
    ? 'terminal'
    : passphraseDescriptor === undefined
      ? undefined
      : { descriptor: passphraseDescriptor };
  const wallet = args.optional('wallet');
  return {
    key:
      keyFile !== undefined
        ? { file: keyFile }
        : keyDescriptor === undefined
          ? 'terminal'
          : { descriptor: keyDescriptor },
    ...(form !== undefined && { form }),
    ...(passphrase !== undefined && { passphrase }),
    ...(path !== undefined && { path }),
    ...(wallet !== undefined && { wallet: address(wallet, 'wallet') }),
  };
}

function formOption(text: string | undefined): KeyForm | undefined {
  if (text === undefined) return undefined;
  const form = KEY_FORMS.find((known) => known === text);
  if (form === undefined) throw wrong(`--key-form is one of ${KEY_FORMS.join(', ')}`);
  return form;
}

/** Not repeated when it is none: somebody may have taken it for the place of the key. */
function descriptor(args: Arguments, name: string): number | undefined {
  const text = args.optional(name);
  if (text === undefined) return undefined;
  if (!/^(?:0|[1-9]\d{0,3})$/.test(text)) throw wrong(`--${name} is the number of an open descriptor`);
  return Number(text);
}
