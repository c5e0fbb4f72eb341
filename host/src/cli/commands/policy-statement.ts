/** qv policy statement: the text an owner signs to enable a policy. */
import { type Hash, hash } from '@quantumvault/shared/brands.ts';
import { fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { ENCLAVE_FEATURES, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import type { Command } from '../command.ts';
import { readPolicy, timeOption } from '../policy-input.ts';
import { oneOperand } from '../text-input.ts';

export const policyStatement: Command = {
  name: 'policy statement',
  summary: 'Print the exact text that the owner reads and signs to enable a policy.',
  details: [
    'Sign the text without the line break behind its last line, as a plain message or as an off-chain message:',
    '  solana sign-offchain-message "$(qv policy statement policy.json --deployment <name> --enable-before <time>)"',
    'The enclave takes it until --enable-before, which may lie at most 24 hours ahead of its time.',
  ],
  operands: '<file|->',
  options: {
    deployment: { value: '<name>', help: 'the deployment whose enclave is to enable it', required: true },
    'enable-before': {
      value: '<time>',
      help: 'the signature’s own time limit, like 2026-11-22T12:00:00Z',
      required: true,
    },
    previous: { value: '<file|hex>', help: 'the policy it replaces, or its SHA-256; none for the wallet’s first' },
  },
  run: async (args) => {
    // An owner must not sign what the enclave will refuse.
    const policy = await readPolicy(oneOperand(args, 'policy'), ENCLAVE_FEATURES);
    const enableBeforeMs = timeOption('enable-before', args.text('enable-before'));
    const previous = args.optional('previous');
    const previousHash = previous === undefined ? undefined : await previousHashOf(previous);
    const ownHash = policyHash(policyBytes(policy));
    const deployment = args.text('deployment');
    const statement = renderPolicyStatement({ policy, policyHash: ownHash, deployment, previousHash, enableBeforeMs });
    return {
      exit: 'ok',
      json: {
        statement,
        bytes: utf8(statement).length,
        wallet: policy.wallet,
        owner: policy.owner,
        epoch: policy.epoch,
        deployment,
        policyHash: toHex(ownHash),
        previousHash: previousHash === undefined ? null : toHex(previousHash),
        enableBefore: formatTime(enableBeforeMs),
      },
      text: () => [statement],
    };
  },
};

/** @throws QvError what reading a policy throws */
async function previousHashOf(source: string): Promise<Hash> {
  if (/^[0-9a-f]{64}$/.test(source)) return hash(fromHex(source));
  return policyHash(policyBytes(await readPolicy(source)));
}
