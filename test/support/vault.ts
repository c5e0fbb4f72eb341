/** A vault for tests, and the options of a boot on this machine. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import type { BootOptions } from '@quantumvault/enclave/boot.ts';
import { Vault, type VaultOptions } from '@quantumvault/enclave/vault.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { nodeLegacyCiphers } from '../stack/enclave/node-ciphers.ts';
import { nodeRecipientKeys } from '../stack/enclave/node-recipient.ts';
import { createSimulatedNsm } from '../stack/nsm/simulated-nsm.ts';

const silent = (): void => undefined;
const PCR = new Uint8Array(48).fill(1);
const EXAMPLE_CONFIG = join(import.meta.dirname, '..', '..', 'enclave', 'config', 'example.json');

export function testVault(change: Partial<VaultOptions> = {}): Vault {
  return new Vault({ recipientKeys: nodeRecipientKeys, wipeTraces: silent, ...change });
}

/** Listens on `data` and `control` in that folder; its kms-agent says nothing. */
export async function bootOptions(folder: string, change: Partial<BootOptions> = {}): Promise<BootOptions> {
  return {
    configBytes: new Uint8Array(readFileSync(EXAMPLE_CONFIG)),
    nsm: await createSimulatedNsm({ pcr0: PCR, pcr1: PCR, pcr2: PCR, instanceId: 'i-0123456789abcdef0' }),
    mixRandomness: silent,
    recipientKeys: nodeRecipientKeys,
    legacyCiphers: nodeLegacyCiphers,
    wipeTraces: silent,
    transport: unixTransport,
    data: parseTransportAddress(`unix:${join(folder, 'data')}`),
    control: parseTransportAddress(`unix:${join(folder, 'control')}`),
    startAgent: () => duplexPair()[0],
    monotonicMs: () => performance.now(),
    log: silent,
    ...change,
  };
}
