/** qv init kms-key */
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Command } from '../command.ts';
import { table, tick } from '../terminal.ts';

export const initKmsKey: Command = {
  name: 'init kms-key',
  summary: 'Create the KMS key of a deployment, usable by nobody until an image is named.',
  details: [
    'Run it with the credentials of the break-glass role (the AWS SDK’s default chain). That role should be in',
    'another account than the instance: whoever may change the key policy has the power to take every key.',
    'The ARN it prints goes into the enclave’s measured configuration; then build the image, and name its',
    'PCR0 with qv init kms-policy. For kms.second call it again as the break-glass role of another account, or in',
    'another Region. With --multi-region the key can have replicas: --replica-of makes one, in --region, whose',
    'policy lets nobody use it either.',
  ],
  options: {
    region: { value: '<region>', help: 'AWS Region of the key', required: true },
    'break-glass': { value: '<arn>', help: 'IAM role that may change the key policy', required: true },
    endpoint: { value: '<url>', help: 'another endpoint than the Region’s' },
    description: { value: '<text>', help: 'the key’s description in KMS' },
    'multi-region': { help: 'make a multi-Region key, for kms.replicas' },
    'replica-of': { value: '<arn>', help: 'make a replica of this multi-Region key instead' },
  },
  run: async (args) => {
    // The AWS SDK takes its time to load: only the commands that need it wait for it.
    const { createKmsKey, kmsClient, principalArn, regionOfKey, replicateKmsKey } = await import('../kms-key.ts');
    const region = args.text('region');
    const endpoint = args.optional('endpoint');
    const primary = args.optional('replica-of');
    const isMultiRegion = args.flag('multi-region');
    if (primary !== undefined && isMultiRegion)
      throw new QvError('usage_invalid', { value: '--multi-region is for the key that --replica-of names' });
    const breakGlass = principalArn(args.text('break-glass'), '--break-glass');
    // A replica is asked for where the primary key is.
    const at = primary === undefined ? region : regionOfKey(primary);
    const client = kmsClient({ region: at, ...(endpoint !== undefined && { endpoint }) });
    try {
      const description = args.optional('description') ?? 'QuantumVault execution keys';
      const keyArn =
        primary === undefined
          ? await createKmsKey(client, breakGlass, description, { isMultiRegion })
          : await replicateKmsKey(client, { primary, region, breakGlass, description });
      return {
        exit: 'ok',
        json: { keyArn, region, breakGlass, usable: false },
        text: (style) => [
          `${tick(style)} Created a KMS key that nobody may use yet.`,
          ...table([['Key', keyArn]], style),
          'Next: put this ARN into the enclave’s configuration, build the image, then qv init kms-policy.',
        ],
      };
    } finally {
      client.destroy();
    }
  },
};
