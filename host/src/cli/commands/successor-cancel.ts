/** qv successor cancel: a wallet's owner is still there. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import type { Arguments } from '../command.ts';
import { changeCommand } from '../successor/change.ts';

export const successorCancel = changeCommand({
  name: 'successor cancel',
  summary: 'Cancel the claim of a wallet’s successor, before its delay has passed.',
  details: [
    'For the machine of the owner. The successor stays named, and can claim again: qv successor remove ends that.',
    'Without an answer of an attested enclave nothing was cancelled. If the host, or its database, names no claim',
    'while the log shows one, or another number of changes, --successor and --change say what the log shows.',
    'A host that refuses to carry it is one to be replaced before the delay has passed.',
  ],
  options: {
    successor: { value: '<address>', help: 'whose claim, where the host says another or none: the log has it' },
  },
  read: (args) => void successorOf(args),
  run: (client, owner, of, args) => client.cancelClaim({ ...of, owner, ...successorOf(args) }),
  done: 'Cancelled.',
});

/** @throws QvError base58_malformed */
function successorOf(args: Arguments): { readonly successor?: Address } {
  const text = args.optional('successor');
  return text === undefined ? {} : { successor: address(text, '--successor') };
}
