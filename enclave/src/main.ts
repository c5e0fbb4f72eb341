/**
 * The vault process of an image. It knows vsock and /dev/nsm, and takes nothing from its environment, its arguments or
 * its input: what may differ from image to image is in the measured configuration.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadNative, mixRandomness, nsmDevice, setSystemClock, vsockTransport } from '@quantumvault/shared/native.ts';
import { VSOCK_PORTS } from '@quantumvault/shared/ports.ts';
import { parseEnclaveConfig } from './config.ts';
import { confineVault } from './confinement.ts';
import { nativeLegacyCiphers } from './migration/native-ciphers.ts';
import { nativeRecipientKeys } from './native-recipient.ts';
import { requireCommand } from './node-flags.ts';
import { keepNsmToOurselves, requireNsmRandomness } from './platform.ts';
import { runVault } from './run.ts';

/** Who owns no file and no other process in the image. */
const AGENT_USER = 10_001;
/** VMADDR_CID_ANY: the enclave does not know its own number, and does not need to. */
const ANY_CID = 0xffff_ffff;

try {
  requireCommand();
  const native = loadNative(join(__dirname, 'qv-native.node'));
  confineVault(native);
  requireNsmRandomness();
  keepNsmToOurselves();
  const configPath = join(__dirname, 'config.json');
  const configBytes = readFileSync(configPath);
  const { parentCid } = parseEnclaveConfig(configBytes);
  void runVault({
    configBytes,
    configPath,
    nsm: nsmDevice(native),
    mixRandomness: (bytes) => mixRandomness(native, bytes),
    recipientKeys: nativeRecipientKeys(native),
    legacyCiphers: nativeLegacyCiphers(native),
    wipeTraces: (stackBytes) => native.wipeTraces(stackBytes),
    transport: vsockTransport(native, { acceptFrom: parentCid }),
    data: { kind: 'vsock', cid: ANY_CID, port: VSOCK_PORTS.data },
    control: { kind: 'vsock', cid: ANY_CID, port: VSOCK_PORTS.control },
    agent: {
      file: join(__dirname, 'kms-agent.cjs'),
      tunnel: { kind: 'vsock', cid: parentCid, port: VSOCK_PORTS.kmsTunnel },
      user: AGENT_USER,
    },
    setClock: (milliseconds) => setSystemClock(native, milliseconds),
  });
} catch (error) {
  process.stderr.write(`enclave: ${error instanceof Error ? error.message : 'unknown fault'}\n`);
  process.exit(1);
}
