/** qv successor remove: nobody may follow a wallet's owner any more. */
import { changeCommand } from '../successor/change.ts';

export const successorRemove = changeCommand({
  name: 'successor remove',
  summary: 'Take back who may become a wallet’s owner, and any claim of his.',
  details: [
    'For the machine of the owner. Where the successor’s key is in wrong hands, this ends it. Once the delay of a',
    'claim has passed it comes too late.',
  ],
  run: (client, owner, of) => client.nameSuccessor({ ...of, owner, successor: null }),
  done: 'Removed: nobody else can become the owner.',
});
