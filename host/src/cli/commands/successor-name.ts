/** qv successor name: who may follow a wallet's owner. */
import { address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Successor } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Arguments } from '../command.ts';
import { changeCommand } from '../successor/change.ts';

export const successorName = changeCommand({
  name: 'successor name',
  summary: 'Name who may become a wallet’s owner, so many days after his claim.',
  details: [
    'For the machine of the owner. Whoever has the successor’s key can claim the wallet; the claim is on record',
    'at once, and until the delay has passed the owner ends it with qv successor cancel, or for good with',
    'qv successor remove. It takes the place of who was named before, and ends a claim that runs.',
    'Whoever has the owner’s key can cancel for ever. Choose a delay in which you notice a claim for certain.',
  ],
  options: {
    successor: { value: '<address>', help: 'the successor’s key, of an ordinary wallet', required: true },
    'delay-days': { value: '<days>', help: `from his claim on, 1 to ${LIMITS.successorDelayDays}`, required: true },
  },
  read: (args) => void successorOption(args),
  run: (client, owner, of, args) => client.nameSuccessor({ ...of, owner, successor: successorOption(args) }),
  done: 'Named.',
});

/** @throws QvError base58_malformed, usage_invalid */
function successorOption(args: Arguments): Successor {
  const text = args.text('delay-days');
  const delayDays = Number(text);
  if (!/^[1-9][0-9]{0,2}$/.test(text) || delayDays > LIMITS.successorDelayDays)
    throw new QvError('usage_invalid', { value: `--delay-days is 1 to ${LIMITS.successorDelayDays}` });
  return { key: address(args.text('successor'), '--successor'), delayDays };
}
