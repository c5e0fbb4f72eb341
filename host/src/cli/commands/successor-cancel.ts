/** qv successor cancel: a wallet's owner is still there. */
import { changeCommand } from '../successor/change.ts';

export const successorCancel = changeCommand({
  name: 'successor cancel',
  summary: 'Cancel the claim of a wallet’s successor, before its delay has passed.',
  details: [
    'For the machine of the owner. The successor stays named, and can claim again: qv successor remove ends that.',
    'Without an answer of an attested enclave nothing was cancelled. A host that refuses to carry it, or says that',
    'there is no claim while the log shows one, is one to be replaced before the delay has passed.',
  ],
  run: (client, owner, wallet) => client.cancelClaim({ owner, wallet }),
  done: 'Cancelled.',
});
