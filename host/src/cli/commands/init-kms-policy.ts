/** qv init kms-policy */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Arguments, Command } from '../command.ts';
import { readPcrSets } from '../input.ts';
import { keyPolicy } from '../key-policy.ts';
import { table, tick } from '../terminal.ts';

export const initKmsPolicy: Command = {
  name: 'init kms-policy',
  summary: 'Replace the key policy, so that exactly the named images may use the key.',
  details: [
    'Images that are not named lose the key: name the old and the new one during an upgrade, and run it again',
    'without the old one afterwards. The policy allows Decrypt and GenerateDataKey to the instance role inside',
    'an attested enclave, denies both to everybody otherwise, and denies what attestation does not cover.',
    'Call it for each key that the image names: the current one, its replicas, those before, and the second one,',
    'each with the break-glass role of that key’s account and the one instance role. A key of another account than',
    'the role’s needs the role’s own policy, too: qv key-policy role prints it.',
  ],
  options: {
    'instance-role': { value: '<arn>', help: 'IAM role of the instance that runs the enclave', required: true },
    'break-glass': { value: '<arn>', help: 'IAM role that may change the key policy', required: true },
    key: { value: '<arn>', help: 'the key’s full ARN; not needed with --print' },
    pcrs: { value: '<file>', help: 'measurements as nitro-cli prints them', multiple: true },
    pcr0: { value: '<hex>', help: 'the PCR0 of an image', multiple: true },
    endpoint: { value: '<url>', help: 'another endpoint than the Region’s' },
    print: { help: 'print the policy document and change nothing' },
    'multi-region': { help: 'with --print: of a multi-Region key or a replica; else the ARN says so' },
  },
  run: async (args) => {
    const { isMultiRegionKey, kmsClient, principalArn, putKmsPolicy, regionOfKey } = await import('../kms-key.ts');
    const pcr0s = allowedImages(args);
    const policy = keyPolicy({
      breakGlassArn: principalArn(args.text('break-glass'), '--break-glass'),
      instanceRoleArn: principalArn(args.text('instance-role'), '--instance-role'),
      pcr0s,
      isMultiRegion: args.flag('multi-region') || isMultiRegionKey(args.optional('key') ?? ''),
    });
    if (args.flag('print')) {
      const lines = JSON.stringify(policy, undefined, 2).split('\n');
      return { exit: 'ok', json: { applied: false, policy }, text: () => lines };
    }
    const keyArn = args.text('key');
    const endpoint = args.optional('endpoint');
    const client = kmsClient({ region: regionOfKey(keyArn), ...(endpoint !== undefined && { endpoint }) });
    try {
      await putKmsPolicy(client, keyArn, policy);
    } finally {
      client.destroy();
    }
    return {
      exit: 'ok',
      json: { applied: true, keyArn, pcr0s, policy },
      text: (style) => [
        `${tick(style)} The key policy allows ${pcr0s.length === 1 ? 'one image' : `${pcr0s.length} images`} and nobody else.`,
        ...table([['Key', keyArn], ...pcr0s.map((pcr0) => ['PCR0', pcr0] as const)], style),
      ],
    };
  },
};

/** Of both options together, each once. @throws QvError usage_invalid when there is none */
function allowedImages(args: Arguments): readonly string[] {
  const measured = args
    .list('pcrs')
    .flatMap((path) => readPcrSets(path).map(({ pcrs }) => toHex(pcrs.get(0) ?? new Uint8Array())));
  const pcr0s = [...new Set([...args.list('pcr0'), ...measured])];
  if (pcr0s.length === 0) throw new QvError('usage_invalid', { value: 'no image: give --pcrs or --pcr0' });
  return pcr0s;
}
