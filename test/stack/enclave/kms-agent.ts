/** The kms-agent's process in the local stack. */
import { runKmsAgent } from '@quantumvault/enclave/kms-agent/run.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';

runKmsAgent(process.argv.slice(2), unixTransport);
