/** The kms-agent's process in a guest: as in an image, vsock is its only way out. */
import { join } from 'node:path';
import { runKmsAgent } from '@quantumvault/enclave/kms-agent/run.ts';
import { harden, loadNative, vsockTransport } from '@quantumvault/shared/native.ts';

const native = loadNative(join(__dirname, 'qv-native.node'));
harden(native);
runKmsAgent(process.argv.slice(2), vsockTransport(native));
