/** The scenario, in a guest: starts the stack on vsock, takes the steps, stops everything. */
import { join } from 'node:path';
import { initRowKey } from '@quantumvault/host/cli/row-key.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { startStack, untilReady } from '../../stack/stack.ts';
import { runChecks } from '../checks.ts';
import { CID, IMAGE, vsockAddresses } from './layout.ts';
import { SCENARIO } from './steps.ts';

const PATIENCE_MILLISECONDS = 120_000;
const file = (name: string): string => join(IMAGE, name);
const bundle = {
  vault: file('enclave.cjs'),
  agent: file('kms-agent.cjs'),
  addon: file('sodium-native.node'),
  vaultInputs: [],
  agentInputs: [],
};
const stack = await startStack({
  bundle,
  addressesOf: () => vsockAddresses(0),
  parentCid: CID,
  witnesses: 'none',
  rowKey: false,
  logLevel: 'warn',
  onStep: (what) => process.stdout.write(`${what}\n`),
});
process.stdout.write('making the row key\n');
// Under emulation the first answer of KMS may come after qv has given up: the key is there then.
await initRowKey(stack.adminSocket, PATIENCE_MILLISECONDS).catch((error: unknown) => {
  if (codeOf(error) !== 'already_initialised') throw error;
});
await untilReady(stack.url, PATIENCE_MILLISECONDS);
process.exit((await runChecks(SCENARIO, { stack, clients: new Map(), wallet: undefined })) ? 0 : 1);
