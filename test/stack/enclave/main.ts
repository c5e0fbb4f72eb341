/**
 * The enclave's vault process in the local stack: the same enclave as in an image, wired to Unix sockets and the
 * simulated security module. argv: config file, module's socket, data address, control address, tunnel address, and the
 * C addon's file if there is a compiler to make one and the stack was asked to use it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nativeLegacyCiphers } from '@quantumvault/enclave/migration/native-ciphers.ts';
import { nativeRecipientKeys } from '@quantumvault/enclave/native-recipient.ts';
import { runVault } from '@quantumvault/enclave/run.ts';
import { loadNative } from '@quantumvault/shared/native.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { socketNsm } from '../nsm/client.ts';
import { nodeLegacyCiphers } from './node-ciphers.ts';
import { nodeRecipientKeys } from './node-recipient.ts';

const [configPath = '', nsm = '', data = '', control = '', tunnel = '', addon] = process.argv.slice(2);

// The stack's end of this pipe closes when the stack ends, however it ends.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

const native = addon === undefined ? undefined : loadNative(addon);

runVault({
  configBytes: readFileSync(configPath),
  configPath,
  nsm: socketNsm(nsm),
  mixRandomness: (bytes) => writeFileSync('/dev/urandom', bytes),
  recipientKeys: native === undefined ? nodeRecipientKeys : nativeRecipientKeys(native),
  legacyCiphers: native === undefined ? nodeLegacyCiphers : nativeLegacyCiphers(native),
  wipeTraces: (stackBytes) => native?.wipeTraces(stackBytes),
  transport: unixTransport,
  data: parseTransportAddress(data),
  control: parseTransportAddress(control),
  agent: { file: join(__dirname, 'kms-agent.cjs'), tunnel: parseTransportAddress(tunnel) },
}).then(() => process.stdout.write(`${JSON.stringify({ ready: true })}\n`));
