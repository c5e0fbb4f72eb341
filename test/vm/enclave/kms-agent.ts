/** The kms-agent's process in a guest: as in an image, vsock is its only way out. */
import { join } from 'node:path';
import { confineAgent } from '@quantumvault/enclave/confinement.ts';
import { runKmsAgent } from '@quantumvault/enclave/kms-agent/run.ts';
import { loadNative, vsockTransport } from '@quantumvault/shared/native.ts';

const native = loadNative(join(__dirname, 'qv-native.node'));
confineAgent(native);
runKmsAgent(process.argv.slice(2), vsockTransport(native));
