/** qv key-policy role: what the instance role's own policy has to say. */
import type { Command } from '../command.ts';
import { instancePolicy } from '../key-policy.ts';

export const keyPolicyRole: Command = {
  name: 'key-policy role',
  summary: 'Print the IAM policy that the instance role needs for the KMS keys that an image names.',
  details: [
    'A key of another account is used only if both sides agree: its own policy, which qv init kms-policy writes,',
    'and this one, of the role. Name every key of the image: the current one, its replicas, those before, the',
    'second one. It gives nothing away: the keys’ policies ask for an attestation besides.',
  ],
  options: {
    key: { value: '<arn>', help: 'full ARN of a key', required: true, multiple: true },
  },
  run: async (args) => {
    const { regionOfKey } = await import('../kms-key.ts');
    const keys = [...new Set(args.list('key'))];
    for (const key of keys) regionOfKey(key);
    const policy = instancePolicy(keys);
    return { exit: 'ok', json: { policy }, text: () => JSON.stringify(policy, undefined, 2).split('\n') };
  },
};
