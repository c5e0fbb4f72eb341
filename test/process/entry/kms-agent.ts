/** The kms-agent as in an image, closed as there; then what somebody would try inside of it. argv as in the image. */
import { join } from 'node:path';
import { confineAgent } from '@quantumvault/enclave/confinement.ts';
import { runKmsAgent } from '@quantumvault/enclave/kms-agent/run.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { loadNative } from '@quantumvault/shared/native.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { tryAll } from './attempts.ts';
import { callAll, callControls, loadSystemCalls } from './calls.ts';
import { faultOnSignal } from './faults.ts';
import { OF_AGENT, OF_AGENT_ON_X64, OF_BOTH, report } from './report.ts';

const calls = loadSystemCalls();
const native = loadNative(join(__dirname, 'qv-native.node'));
confineAgent(native);
runKmsAgent(process.argv.slice(2), unixTransport);
faultOnSignal();
const more = process.arch === 'x64' ? OF_AGENT_ON_X64 : [];
void tryAll().then((attempts) =>
  report('agent', {
    attempts,
    calls: callAll(calls, [...OF_BOTH, ...OF_AGENT, ...more]),
    controls: callControls(calls, LIMITS.kmsAgentDataBytes >> 20),
  }),
);
