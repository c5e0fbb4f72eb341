/** The kms-agent's process of an image. Vsock is its only way out, to the parent that the configuration names. */
import { join } from 'node:path';
import { harden, loadNative, vsockTransport } from '@quantumvault/shared/native.ts';
import { runKmsAgent } from './run.ts';

const native = loadNative(join(__dirname, 'qv-native.node'));
harden(native);
runKmsAgent(process.argv.slice(2), vsockTransport(native));
