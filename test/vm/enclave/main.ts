/**
 * The enclave's vault process in a guest: the same enclave as in an image, on vsock as there. A guest has no /dev/nsm,
 * so the local stack's simulated module stands in. argv: config file, module's socket, data address, control address,
 * tunnel address.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnclaveConfig } from '@quantumvault/enclave/config.ts';
import { confineVault } from '@quantumvault/enclave/confinement.ts';
import { nativeLegacyCiphers } from '@quantumvault/enclave/migration/native-ciphers.ts';
import { nativeRecipientKeys } from '@quantumvault/enclave/native-recipient.ts';
import { runVault } from '@quantumvault/enclave/run.ts';
import { loadNative, vsockTransport } from '@quantumvault/shared/native.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { socketNsm } from '../../stack/nsm/client.ts';
import { STANDS_IN } from '../scenario/layout.ts';

const [configPath = '', nsm = '', data = '', control = '', tunnel = ''] = process.argv.slice(2);
if (existsSync('/dev/nsm')) throw new Error('there is a /dev/nsm: nothing may stand in for it');
process.stderr.write(`enclave: ${STANDS_IN}\n`);

// The stack's end of this pipe closes when the stack ends, however it ends.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

const native = loadNative(join(__dirname, 'qv-native.node'));
confineVault(native);
const configBytes = readFileSync(configPath);
runVault({
  configBytes,
  configPath,
  nsm: socketNsm(nsm),
  mixRandomness: (bytes) => writeFileSync('/dev/urandom', bytes),
  recipientKeys: nativeRecipientKeys(native),
  legacyCiphers: nativeLegacyCiphers(native),
  wipeTraces: (stackBytes) => native.wipeTraces(stackBytes),
  transport: vsockTransport(native, { acceptFrom: parseEnclaveConfig(configBytes).parentCid }),
  data: parseTransportAddress(data),
  control: parseTransportAddress(control),
  agent: { file: join(__dirname, 'kms-agent.cjs'), tunnel: parseTransportAddress(tunnel) },
}).then(() => process.stdout.write(`${JSON.stringify({ ready: true })}\n`));
