/** qv policy next: the policy that follows one, with other requesters: how a requester's key is replaced. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import {
  ENCLAVE_FEATURES,
  type Policy,
  parsePolicy,
  policyBytes,
  policyHash,
  policyJson,
} from '@quantumvault/shared/policy/policy.ts';
import type { Arguments, Command } from '../command.ts';
import { readPolicy } from '../policy-input.ts';
import { oneOperand } from '../text-input.ts';

export const policyNext: Command = {
  name: 'policy next',
  summary: 'Print the next epoch of a policy, with requesters added or removed and nothing else changed.',
  details: [
    'To replace a requester’s key without a gap: enable an epoch that names both keys, have the trading backend use',
    'the new one, then enable an epoch without the old one. What windows have counted stays counted. From the',
    'moment at which the second one is enabled the enclave refuses the old key, for repeats of old requests, too.',
    'Next: qv policy check, then qv policy statement --previous <the file that this one follows>.',
  ],
  operands: '<file|->',
  options: {
    'add-requester': { value: '<key>', help: 'may ask for signatures from then on', multiple: true },
    'remove-requester': { value: '<key>', help: 'may not any more', multiple: true },
  },
  run: async (args) => {
    const before = await readPolicy(oneOperand(args, 'policy'), ENCLAVE_FEATURES);
    const requesters = changed(args, before);
    // Parsed like any other: what nobody could enable is refused here.
    const policy = parsePolicy({ ...policyJson(before), epoch: before.epoch + 1, requesters: [...requesters] });
    const bytes = policyBytes(policy);
    return {
      exit: 'ok',
      json: {
        policy: policyJson(policy),
        epoch: policy.epoch,
        requesters: policy.requesters,
        policyHash: toHex(policyHash(bytes)),
        previousHash: toHex(policyHash(policyBytes(before))),
      },
      text: () => JSON.stringify(policyJson(policy), undefined, 2).split('\n'),
    };
  },
};

/** @throws QvError usage_invalid, base58_malformed */
function changed(args: Arguments, { requesters }: Policy): ReadonlySet<Address> {
  const listed = (option: string): readonly Address[] => args.list(option).map((text) => address(text, `--${option}`));
  const [added, removed] = [listed('add-requester'), listed('remove-requester')];
  const wrong = (value: string): QvError => new QvError('usage_invalid', { value });
  if (added.length + removed.length === 0) throw wrong('nothing changes: give --add-requester or --remove-requester');
  const result = new Set(requesters);
  for (const one of removed) if (!result.delete(one)) throw wrong(`--remove-requester ${one}: not a requester`);
  for (const one of added) {
    if (result.has(one) || removed.includes(one)) throw wrong(`--add-requester ${one}: a requester already`);
    result.add(one);
  }
  return result;
}
