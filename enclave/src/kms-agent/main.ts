/** The kms-agent's process of an image. Vsock is its only way out, to the parent that the configuration names. */
import { join } from 'node:path';
import { kindOf } from '@quantumvault/shared/faults.ts';
import { loadNative, vsockTransport } from '@quantumvault/shared/native.ts';
import { confineAgent } from '../confinement.ts';
import { runKmsAgent } from './run.ts';

try {
  const native = loadNative(join(__dirname, 'qv-native.node'));
  confineAgent(native);
  runKmsAgent(process.argv.slice(2), vsockTransport(native));
} catch (error) {
  process.stderr.write(`kms-agent: did not start: ${kindOf(error)}\n`);
  process.exit(1);
}
