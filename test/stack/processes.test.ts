import { spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateKeyCommand, GenerateDataKeyCommand } from '@aws-sdk/client-kms';
import { readPcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import { verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KmsAdmin } from './kms/admin.ts';
import { type SocketNsm, socketNsm } from './nsm/client.ts';
import { measure, standInImage } from './nsm/measure.ts';
import { persistentSimulatedRoot } from './nsm/root.ts';
import { type StackProcess, startProcess } from './process.ts';
import { ADMIN, askNsm, documentOf, kmsClient, recipientKey, someNonce } from './support.ts';

const INSTANCE = 'i-0123456789abcdef0';
const FILES = { addon: 'the addon', bundle: 'the bundle', config: 'the configuration' } as const;
let dir: string;
const started: StackProcess[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'qv-stack-'));
});

afterEach(async () => {
  for (const process of started.splice(0)) await process.stop();
  rmSync(dir, { recursive: true });
});

function file(name: string, content: string): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}

async function start(name: 'nsm' | 'kms', config: unknown): Promise<StackProcess> {
  const path = file(`${name}.json`, JSON.stringify(config));
  const process = await startProcess(
    name,
    [join(import.meta.dirname, name, 'main.ts'), path],
    join(dir, `${name}.log`),
  );
  started.push(process);
  return process;
}

function nsmConfig(change: Readonly<Record<string, unknown>> = {}): unknown {
  return {
    socket: `unix:${join(dir, 'nsm.sock')}`,
    rootDir: join(dir, 'root'),
    instanceId: INSTANCE,
    measure: {
      cmdline: 'enclave',
      addon: file('addon', FILES.addon),
      files: [file('bundle', FILES.bundle), file('config', FILES.config)],
    },
    ...change,
  };
}

async function withNsm<T>(process: StackProcess, use: (nsm: SocketNsm) => Promise<T>): Promise<T> {
  const nsm = socketNsm(String(process.ready['socket']));
  try {
    return await use(nsm);
  } finally {
    nsm.close();
  }
}

describe('the hypervisor', () => {
  it('measures the files, says so, and attests it', async () => {
    const process = await start('nsm', nsmConfig());
    const image = standInImage({
      nodeVersion: globalThis.process.version,
      cmdline: 'enclave',
      addon: utf8(FILES.addon),
      files: [utf8(FILES.bundle), utf8(FILES.config)],
    });
    const { pcr0, pcr1, pcr2 } = measure(image);
    const expected = { PCR0: toHex(pcr0), PCR1: toHex(pcr1), PCR2: toHex(pcr2) };
    expect(process.ready).toMatchObject({
      ready: true,
      process: 'nsm',
      debug: false,
      rootPem: join(dir, 'root', 'root.pem'),
      pcrs: { 0: expected.PCR0, 1: expected.PCR1, 2: expected.PCR2 },
    });
    const nonce = someNonce();
    const document = await withNsm(process, (nsm) => documentOf(nsm, { nonce }));
    const root = new X509Certificate(readFileSync(String(process.ready['rootPem'])));
    const report = await verifyAttestation(document, {
      mode: { kind: 'live', nowMs: Date.now(), nonce },
      pcrSets: [readPcrSet(expected, 'measured here')],
      unsafeTrustedRootDer: new Uint8Array(root.raw),
    });
    expect(report.ok).toBe(true);
  });

  it('answers each connection in order', async () => {
    const process = await start('nsm', nsmConfig());
    const answers = await withNsm(process, (nsm) =>
      Promise.all(['GetRandom', 'Nonsense', 'DescribeNSM', 'GetRandom'].map((name) => askNsm(nsm, name))),
    );
    expect(answers.map((answer) => Object.keys(answer)[0])).toEqual(['GetRandom', 'Error', 'DescribeNSM', 'GetRandom']);
  });

  it('keeps its root over a restart, as another enclave, and the client connects again', async () => {
    const nsm = socketNsm(`unix:${join(dir, 'nsm.sock')}`);
    await expect(nsm.request(utf8('x'))).rejects.toThrow('ENOENT');
    const first = await start('nsm', nsmConfig());
    await askNsm(nsm, 'GetRandom');
    const before = readFileSync(String(first.ready['rootPem']), 'utf8');
    await first.stop();
    await expect(nsm.request(utf8('x'))).rejects.toThrow();
    const second = await start('nsm', nsmConfig({ debug: true }));
    await askNsm(nsm, 'GetRandom');
    nsm.close();
    expect(readFileSync(String(second.ready['rootPem']), 'utf8')).toBe(before);
    expect(second.ready['moduleId']).not.toBe(first.ready['moduleId']);
    expect(second.ready['pcrs']).toMatchObject({ 0: '0'.repeat(96) });
    expect(statSync(join(dir, 'root', 'root-key.pem')).mode & 0o777).toBe(0o600);
  });

  it('refuses unknown settings', async () => {
    await expect(start('nsm', nsmConfig({ trustMe: true }))).rejects.toThrow('field_malformed');
  });

  it('ends on SIGTERM, and when the pipe from its parent closes', async () => {
    const process = await start('nsm', nsmConfig());
    process.kill('SIGTERM');
    expect(await process.exited).toBe(0);
    const path = file('nsm.json', JSON.stringify(nsmConfig()));
    const main = join(import.meta.dirname, 'nsm', 'main.ts');
    const child = spawn(globalThis.process.execPath, [main, path], { stdio: ['pipe', 'pipe', 'ignore'] });
    child.stdout.once('data', () => child.stdin.end());
    expect(await once(child, 'exit')).toEqual([0, null]);
  });
});

describe('the key service', () => {
  async function startKms(): Promise<StackProcess> {
    await persistentSimulatedRoot(join(dir, 'root'));
    return await start('kms', {
      dir: join(dir, 'kms'),
      nsmRootPem: join(dir, 'root', 'root.pem'),
      adminSocket: `unix:${join(dir, 'admin.sock')}`,
      serverNames: ['kms.us-east-1.example'],
      principals: [ADMIN],
    });
  }

  it('serves attested calls and its side door', async () => {
    const [hypervisor, kms] = [await start('nsm', nsmConfig()), await startKms()];
    expect(kms.ready).toEqual({
      ready: true,
      process: 'kms',
      endpoint: `https://localhost:${kms.ready['port']}`,
      port: expect.any(Number) as number,
      caPem: join(dir, 'kms', 'tls', 'ca.pem'),
      region: 'us-east-1',
      endpoints: { 'us-east-1': `https://localhost:${kms.ready['port']}` },
      adminSocket: `unix:${join(dir, 'admin.sock')}`,
    });
    const client = kmsClient(String(kms.ready['endpoint']), readFileSync(String(kms.ready['caPem']), 'utf8'), ADMIN);
    const created = await client.send(new CreateKeyCommand({}));
    const key = recipientKey();
    const answer = await client.send(
      new GenerateDataKeyCommand({
        KeyId: created.KeyMetadata?.KeyId,
        KeySpec: 'AES_256',
        Recipient: {
          KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256',
          AttestationDocument: await withNsm(hypervisor, (nsm) => documentOf(nsm, { publicKey: key.spki })),
        },
      }),
    );
    expect(answer.CiphertextForRecipient).toHaveLength(493);
    client.destroy();
    const admin = new KmsAdmin(String(kms.ready['adminSocket']));
    expect(await admin.counts()).toMatchObject({ CreateKey: { ok: 1 }, GenerateDataKey: { ok: 1, attested: 1 } });
    admin.close();
  });

  it('ends on SIGTERM with a client still connected', async () => {
    const kms = await startKms();
    const client = kmsClient(String(kms.ready['endpoint']), readFileSync(String(kms.ready['caPem']), 'utf8'), ADMIN);
    await client.send(new CreateKeyCommand({}));
    kms.kill('SIGTERM');
    expect(await kms.exited).toBe(0);
    client.destroy();
  });

  it('refuses unknown settings', async () => {
    await expect(start('kms', { dir, nsmRootPem: 'x', principals: [], policy: 'open' })).rejects.toThrow(
      'field_malformed',
    );
  });
});
