/** The kms-agent as the vault process has to bear it: it may hang, close its socket and live on, or not start at all. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import type { StartAgent } from '@quantumvault/enclave/agent-link.ts';
import { Kms } from '@quantumvault/enclave/kms.ts';
import { classify, KmsAgent } from '@quantumvault/enclave/kms-agent/agent.ts';
import { decodeAgentRequest, encodeAgentReply } from '@quantumvault/enclave/kms-agent/protocol.ts';
import type { KmsKey } from '@quantumvault/enclave/kms-config.ts';
import type { Recipients } from '@quantumvault/enclave/recipient.ts';
import { startKmsAgent } from '@quantumvault/enclave/run.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { until } from '../support/temporary.ts';

const KEY_ARN = 'arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000000';
const endpoint = new URL('https://kms.eu-central-1.amazonaws.com');
const key = { keyArn: KEY_ARN, use: 'current', region: 'eu-central-1', endpoint, tunnel: 0 } as const;
const config = { keyArn: KEY_ARN, keys: [key] };
const document = new Uint8Array(16 * 1024).fill(1);
const recipients = {
  with: (call: (attested: { document: Uint8Array }) => unknown) => call({ document }),
} as unknown as Recipients;
const credentials = { accessKeyId: utf8('AKIA'), secretAccessKey: utf8('secret') };

/** Its far end, which says yes to credentials. */
function obedient(): Duplex {
  const [near, far] = duplexPair();
  readFrames(far, (payload) => {
    const { id, name } = decodeAgentRequest(payload);
    if (name === 'credentials') writeFrame(far, encodeAgentReply(id, name, {}));
  });
  return near;
}

function started(...agents: readonly StartAgent[]): { kms: Kms; starts: () => number } {
  let starts = 0;
  const kms = new Kms(
    config,
    recipients,
    () => (agents[starts++] ?? obedient)(),
    () => performance.now(),
  );
  return { kms, starts: () => starts };
}

describe('the kms-agent', () => {
  it('that hangs is replaced before what waits for it fills the memory', async () => {
    const [hung] = duplexPair();
    const { kms, starts } = started(() => hung);
    const failures: Promise<unknown>[] = [];
    for (let bytes = 0; bytes < 4 * LIMITS.inFlightBytes; bytes += document.length) {
      failures.push(
        expectCode(
          kms.decrypt(new Uint8Array(100), { a: 'b' }, () => undefined),
          'kms_unavailable',
        ),
      );
      // Requests arrive one after the other.
      if (failures.length % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
      if (hung.destroyed) break;
    }
    expect(hung.destroyed).toBe(true);
    expect(hung.writableLength).toBeLessThan(2 * LIMITS.inFlightBytes);
    await Promise.all(failures);
    await until('another one is there', () => starts() === 2);
    await kms.setCredentials(credentials);
  });

  it('that cannot be started again is tried again', async () => {
    const first = obedient();
    const impossible: StartAgent = () => {
      throw new Error('spawn ENOMEM');
    };
    const { kms, starts } = started(() => first, impossible, impossible);
    await kms.setCredentials(credentials);
    first.destroy();
    await until('the third start', () => starts() >= 4);
    await kms.setCredentials(credentials);
  });

  it('that cannot be started at all ends the boot', () => {
    const impossible: StartAgent = () => {
      throw new Error('spawn EPERM');
    };
    expect(() => started(impossible)).toThrow('EPERM');
  });
});

describe('its table of keys', () => {
  const keyOf = (region: string, id: string, tunnel: number): KmsKey => ({
    keyArn: `arn:aws:kms:${region}:123456789012:key/${id}`,
    use: 'previous',
    region,
    endpoint: new URL(`https://kms.${region}.amazonaws.com`),
    tunnel,
  });
  const [one, sameRegion, other] = [
    keyOf('eu-central-1', 'a', 0),
    keyOf('eu-central-1', 'b', 0),
    keyOf('us-east-2', 'c', 3),
  ];
  const request = (keyArn: string) => ({ keyArn, context: [{ name: 'a', value: 'b' }], document: new Uint8Array(1) });

  it('leads each key to the tunnel of its endpoint, and no other key anywhere', async () => {
    const opened: number[] = [];
    const agent = new KmsAgent({ keys: [one, sameRegion, other], rootCertificates: [] }, (tunnel) => {
      opened.push(tunnel);
      const [near, far] = duplexPair();
      far.destroy();
      return near;
    });
    const unready = await agent.decrypt({ ...request(one.keyArn), ciphertext: new Uint8Array(1) }).catch(classify);
    expect([unready, opened]).toEqual(['kms_unavailable', []]);
    agent.setCredentials(credentials);
    for (const [key, tunnel] of [
      [one, 0],
      [sameRegion, 0],
      [other, 3],
    ] as const) {
      opened.length = 0;
      expect(await agent.generateDataKey(request(key.keyArn)).catch(classify)).toBe('kms_unavailable');
      expect(new Set(opened)).toEqual(new Set([tunnel]));
    }
    opened.length = 0;
    for (const foreign of [`${one.keyArn}0`, one.keyArn.replace('eu-central-1', 'eu-north-1'), 'alias/a', '-'])
      expect(await agent.generateDataKey(request(foreign)).catch(classify)).toBe('kms_refused');
    expect(opened).toEqual([]);
  });
});

describe('its process', () => {
  const folder = mkdtempSync(join(tmpdir(), 'qv-agent-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('ends when it is let go of, and when it lets go', async () => {
    // What a compromised agent would do: say that it is gone, and stay, with the credentials.
    const file = join(folder, 'stays.cjs');
    writeFileSync(
      file,
      `process.on('SIGTERM', () => {});
       setInterval(() => {}, 1000);
       if (process.argv[2].endsWith('closes')) require('node:fs').closeSync(3);`,
    );
    for (const what of ['closes', 'hangs']) {
      const mark = join(folder, what);
      const socket = startKmsAgent({ file, tunnel: { kind: 'unix', path: '/nowhere' } }, mark);
      socket.on('error', () => undefined).resume();
      let pid = '';
      await until('it runs', () => {
        pid = processes().find((each) => commandOf(each).includes(mark)) ?? '';
        return pid !== '';
      });
      if (what === 'hangs') socket.destroy();
      await until('it is gone', () => !isRunning(pid));
    }
  });

  const processes = (): string[] => readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const commandOf = (pid: string): readonly string[] => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    } catch {
      return [];
    }
  };
  const isRunning = (pid: string): boolean =>
    existsSync(`/proc/${pid}`) && !/^State:\sZ/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
});
