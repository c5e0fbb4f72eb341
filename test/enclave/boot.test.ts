/** A boot step by step: what is legal in each phase, and that a boot that fails is one. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BootOptions, boot } from '@quantumvault/enclave/boot.ts';
import { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import type { Log } from '@quantumvault/host/log.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSimulatedNsm } from '../stack/nsm/simulated-nsm.ts';
import { expectCode } from '../support/codes.ts';
import { bootOptions } from '../support/vault.ts';

const silent = (): void => undefined;
const log = { info: silent, warn: silent, error: silent, debug: silent } as unknown as Log;
const PCR = new Uint8Array(48).fill(1);

let folder: string;
const undo: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'qv-boot-'));
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
  rmSync(folder, { recursive: true, force: true });
});

const address = (name: string) => parseTransportAddress(`unix:${join(folder, name)}`);

const options = (change: Partial<BootOptions> = {}): Promise<BootOptions> => bootOptions(folder, change);

function client(name: string): EnclaveClient {
  const made = new EnclaveClient({ address: address(name), transport: unixTransport, log });
  made.connect();
  undo.push(() => made.close());
  return made;
}

describe('a boot', () => {
  it('says that it is booting, and nothing else, until it is attested', async () => {
    const { nsm, ...rest } = await options();
    let release: () => void = silent;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const mixed: Uint8Array[] = [];
    const request = async (bytes: Uint8Array): Promise<Uint8Array> => {
      if (Buffer.from(bytes).includes('Attestation')) await gate;
      return nsm.request(bytes);
    };
    const booted = boot({ ...rest, nsm: { request }, mixRandomness: (bytes) => void mixed.push(bytes) });
    const data = client('data');
    await expect.poll(() => data.request('status', {}).catch(() => undefined)).toMatchObject({ phase: 'booting' });
    // Randomness of the module before any key: the boot key is there already.
    expect(mixed[0]?.length).toBeGreaterThan(0);
    await expectCode(data.request('bootRecord', {}), 'enclave_not_ready');
    await expectCode(data.request('attest', { nonce: PCR }), 'enclave_not_ready');
    await expectCode(client('control').request('freeze', { scope: 'fleet', reason: '' }), 'enclave_not_ready');
    release();
    const enclave = await booted;
    undo.push(() => enclave.close());
    const status = await data.request('status', {});
    expect(status).toMatchObject({ phase: 'ready', leaves: 1n, kmsCalls: 0n, kmsFailures: 0n });
    expect(status.attestationAgeSeconds).toBeLessThan(60);
    expect(status.timeAgeSeconds).toBeLessThan(60);
    const { receipt } = await data.request('bootRecord', {});
    expect(decodeLeaf(receipt.leaf)).toMatchObject({ kind: 'boot', sequence: 0n, boot: status.boot });
  });

  it('fails for good when the module fails, or the configuration is wrong', async () => {
    const failing = { request: () => Promise.reject(new Error('no module')) };
    await expectCode(boot(await options({ nsm: failing })), 'nsm_failed');
    await expectCode(boot(await options({ configBytes: new Uint8Array(2) })), 'config_invalid');
    const { nsm, ...rest } = await options();
    const random = {
      request: (bytes: Uint8Array) =>
        Buffer.from(bytes).includes('Attestation') ? failing.request() : nsm.request(bytes),
    };
    await expectCode(boot({ ...rest, nsm: random }), 'nsm_failed');
    await expectCode(client('data').request('status', {}), 'enclave_unavailable');
  });

  it('sets a system clock that the host has set wrong, and leaves a right one alone', async () => {
    const set: number[] = [];
    const setClock = (milliseconds: number): void => void set.push(milliseconds);
    const right = await boot(await options({ setClock }));
    await right.close();
    expect(set).toEqual([]);
    const trusted = Date.now() + 3_600_000;
    const nsm = await createSimulatedNsm({
      ...{ pcr0: PCR, pcr1: PCR, pcr2: PCR, instanceId: 'i-0123456789abcdef0' },
      now: () => trusted,
    });
    const wrong = await boot(await options({ nsm, setClock }));
    await wrong.close();
    expect(set).toHaveLength(1);
    expect(set[0]).toBeGreaterThanOrEqual(trusted);
    // Without the right to set it, TLS to KMS would go by the host's time.
    const refused = (): never => {
      throw new Error('clock_settime EPERM');
    };
    await expect(boot(await options({ nsm, setClock: refused }))).rejects.toThrow('EPERM');
  });

  it('can be frozen before it ever served', async () => {
    const enclave = await boot(await options());
    undo.push(() => enclave.close());
    await client('control').request('freeze', { scope: 'fleet', reason: 'early' });
    expect(enclave.phase()).toBe('frozen');
  });
});
