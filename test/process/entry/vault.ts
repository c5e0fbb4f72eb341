/**
 * The vault process as in an image, closed as there, on the local stack's Unix sockets and simulated module: and then
 * what somebody would try inside of it, as one line on standard error. argv as the stack's.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { confineVault } from '@quantumvault/enclave/confinement.ts';
import { nativeLegacyCiphers } from '@quantumvault/enclave/migration/native-ciphers.ts';
import { nativeRecipientKeys } from '@quantumvault/enclave/native-recipient.ts';
import { runVault } from '@quantumvault/enclave/run.ts';
import { loadNative } from '@quantumvault/shared/native.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { socketNsm } from '../../stack/nsm/client.ts';
import { tryAll } from './attempts.ts';
import { callAll, callControls, loadSystemCalls } from './calls.ts';
import { faultOnSignal } from './faults.ts';
import { OF_BOTH, report } from './report.ts';

const [configPath = '', nsm = '', data = '', control = '', tunnel = ''] = process.argv.slice(2);

// The stack's end of this pipe closes when the stack ends, however it ends.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

const calls = loadSystemCalls();
const native = loadNative(join(__dirname, 'qv-native.node'));
confineVault(native);
void runVault({
  configBytes: readFileSync(configPath),
  configPath,
  nsm: socketNsm(nsm),
  mixRandomness: (bytes) => writeFileSync('/dev/urandom', bytes),
  recipientKeys: nativeRecipientKeys(native),
  legacyCiphers: nativeLegacyCiphers(native),
  wipeTraces: (stackBytes) => native.wipeTraces(stackBytes),
  transport: unixTransport,
  data: parseTransportAddress(data),
  control: parseTransportAddress(control),
  agent: { file: join(__dirname, 'kms-agent.cjs'), tunnel: parseTransportAddress(tunnel) },
}).then(async () => {
  faultOnSignal();
  report('vault', {
    attempts: await tryAll(),
    calls: callAll(calls, OF_BOTH),
    controls: callControls(calls, 1),
  });
  process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
});
