/**
 * The kms-agent's process, shared by the production entry and the local stack's: they differ in the transport alone.
 * argv: the measured configuration's path, the address of the first tunnel to KMS (ports.ts has the others). The vault
 * process is on descriptor 3; when that closes, this process ends.
 */
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { endOnFaults } from '@quantumvault/shared/faults.ts';
import { tunnelAddress } from '@quantumvault/shared/ports.ts';
import { parseTransportAddress, type Transport } from '@quantumvault/shared/transport.ts';
import { parseEnclaveConfig } from '../config.ts';
import { freezeIntrinsics, sealModules } from '../hardening.ts';
import { KmsAgent, serveAgent } from './agent.ts';

export function runKmsAgent(argv: readonly string[], transport: Transport): void {
  const log = (line: string): void => void process.stderr.write(`kms-agent: ${line}\n`);
  endOnFaults(log);
  freezeIntrinsics();
  sealModules();
  const [configPath = '', tunnel = ''] = argv;
  const config = parseEnclaveConfig(readFileSync(configPath));
  const first = parseTransportAddress(tunnel);
  const vault = new Socket({ fd: 3 });
  vault.on('close', () => process.exit(0));
  vault.on('error', () => process.exit(1));
  const agent = new KmsAgent(config.kms, (tunnel) => transport.connect(tunnelAddress(first, tunnel)));
  serveAgent(agent, vault, log);
}
