/** qv successor complete: a successor whose delay has passed becomes the owner. */
import { changeCommand } from '../successor/change.ts';

export const successorComplete = changeCommand({
  name: 'successor complete',
  summary: 'Become a wallet’s owner as its successor, once the delay of the claim has passed.',
  details: [
    'For the machine of the successor. From then on no policy counts until the new owner enables one, with a higher',
    'epoch and the hash of the one before. Windows go on, and whatever is frozen stays frozen.',
    'When the answer was lost, qv successor show says who owns the wallet.',
  ],
  signer: 'successor',
  run: (client, successor, of) => client.completeTakeover({ ...of, successor }),
  done: 'Taken over. Next: a policy.',
});
