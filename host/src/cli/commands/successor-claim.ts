/** qv successor claim: the delay after which a successor may become a wallet's owner begins. */
import { changeCommand } from '../successor/change.ts';

export const successorClaim = changeCommand({
  name: 'successor claim',
  summary: 'Claim a wallet as its successor: the delay begins, and the owner can see it.',
  details: [
    'For the machine of the successor. Meanwhile the wallet goes on under its owner’s policy, and whatever is',
    'frozen stays frozen. The owner ends the claim with one signature until the delay has passed.',
  ],
  signer: 'successor',
  run: (client, successor, of) => client.claimWallet({ ...of, successor }),
  done: 'Claimed: the delay runs.',
});
