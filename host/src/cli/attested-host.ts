/** The host of a command that believes enclaves of expected images alone. */
import { type Client, createClient } from '../client/client.ts';
import type { Arguments, OptionSpec } from './command.ts';
import { hostConnection, requireUrl } from './host-connection.ts';
import { deploymentOption } from './succession/words.ts';
import { expectedSets, PCR_OPTIONS, UNSAFE_OPTIONS, unsafeOptions } from './trust-options.ts';

const { 'unsafe-trusted-root': unsafeRoot, root } = UNSAFE_OPTIONS;

/** Without --allow-debug: nobody entrusts anything to an enclave whose memory can be read. */
export const IMAGE_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  ...PCR_OPTIONS,
  'unsafe-trusted-root': unsafeRoot,
  root,
};

/**
 * Its enclave has proved itself when this is through, so that nobody is asked for a key or a signature before.
 * @throws QvError usage_invalid, attestation_*, host_unreachable and what the host answers
 */
export async function attestedHost(args: Arguments): Promise<{ client: Client; warnings: readonly string[] }> {
  const url = requireUrl(args);
  const { warnings, unsafeTrustedRootDer } = await unsafeOptions(args);
  const kmsKeyArn = args.optional('kms-key');
  const client = createClient({
    ...hostConnection(url),
    url,
    deployment: deploymentOption(args),
    trust: {
      pcrSets: expectedSets(args),
      ...(unsafeTrustedRootDer && { unsafeTrustedRootDer }),
      ...(kmsKeyArn !== undefined && { kmsKeyArn }),
    },
  });
  await client.attestation();
  return { client, warnings };
}
