/** What the tests of the stack share: an NSM, a KMS under its root, the real SDK client, and a recipient key. */
import {
  constants,
  createDecipheriv,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  randomBytes,
} from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KMSClient, type KMSClientConfig } from '@aws-sdk/client-kms';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { Decoder } from 'cbor-x/index-no-eval';
import { type LocalKms, type LocalKmsOptions, startLocalKms } from './kms/server.ts';
import type { Principal } from './kms/sigv4.ts';
import { type WireValue, wireMap, writeCbor } from './nsm/cbor-writer.ts';
import { createSimulatedNsm, type SimulatedNsm, type SimulatedNsmOptions } from './nsm/simulated-nsm.ts';

export const ACCOUNT = '111122223333';
export const ENCLAVE_ROLE = `arn:aws:iam::${ACCOUNT}:role/enclave`;
export const ADMIN_USER = `arn:aws:iam::${ACCOUNT}:user/admin`;

export const ENCLAVE: Principal = {
  accessKeyId: 'ASIAENCLAVE',
  secretAccessKey: 'enclave-secret-for-tests',
  sessionToken: 'enclave-session-token',
  arn: `arn:aws:sts::${ACCOUNT}:assumed-role/enclave/i-0123456789abcdef0`,
};
export const ADMIN: Principal = {
  accessKeyId: 'AKIAADMIN',
  secretAccessKey: 'admin-secret-for-tests',
  arn: ADMIN_USER,
};

const decoder = new Decoder({ useRecords: false, mapsAsObjects: true, tagUint8Array: false });

/** One NSM request by name and fields; the decoded response. */
export async function askNsm(
  nsm: Pick<SimulatedNsm, 'request'>,
  name: string,
  fields?: Readonly<Record<string, WireValue>>,
): Promise<Record<string, unknown> | string> {
  const request = fields === undefined ? name : wireMap({ [name]: wireMap(fields) });
  return decoder.decode(await nsm.request(writeCbor(request))) as Record<string, unknown> | string;
}

export interface DocumentFields {
  readonly publicKey?: Uint8Array | null;
  readonly userData?: Uint8Array | null;
  readonly nonce?: Uint8Array | null;
}

export async function documentOf(nsm: Pick<SimulatedNsm, 'request'>, fields: DocumentFields = {}): Promise<Uint8Array> {
  const response = await askNsm(nsm, 'Attestation', {
    user_data: fields.userData ?? null,
    nonce: fields.nonce ?? null,
    public_key: fields.publicKey ?? null,
  });
  const { Attestation } = response as { Attestation: { document: Uint8Array } };
  return Uint8Array.from(Attestation.document);
}

export const testPcr = (fill: number): Uint8Array => new Uint8Array(48).fill(fill);

export async function testNsm(options: Partial<SimulatedNsmOptions> = {}): Promise<SimulatedNsm> {
  return await createSimulatedNsm({
    pcr0: testPcr(0xa0),
    pcr1: testPcr(0xa1),
    pcr2: testPcr(0xa2),
    instanceId: 'i-0123456789abcdef0',
    roleArn: ENCLAVE_ROLE,
    ...options,
  });
}

export interface RecipientKey {
  readonly spki: Uint8Array;
  readonly privateKey: KeyObject;
}

export function recipientKey(modulusLength = 2048): RecipientKey {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength });
  return { spki: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })), privateKey };
}

/**
 * Opens an envelope of 32 bytes in the constructed form by its offsets alone: independent of both the writer and the
 * enclave's reader. Wrapped key at 131, IV at 415, 48 bytes of ciphertext before the five ends.
 */
export function openEnvelope32(envelope: Uint8Array, key: RecipientKey): Uint8Array {
  const wrapped = envelope.subarray(131, 131 + 256);
  const contentKey = privateDecrypt(
    { key: key.privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
    wrapped,
  );
  const iv = envelope.subarray(415, 415 + 16);
  const ciphertext = envelope.subarray(435, 435 + 48);
  const decipher = createDecipheriv('aes-256-cbc', contentKey, iv);
  return new Uint8Array(Buffer.concat([decipher.update(ciphertext), decipher.final()]));
}

export interface TestKms {
  readonly kms: LocalKms;
  readonly dir: string;
  client(principal: Principal, config?: Partial<KMSClientConfig>): KMSClient;
  close(): Promise<void>;
}

export async function testKms(nsmRootDer: Uint8Array, options: Partial<LocalKmsOptions> = {}): Promise<TestKms> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'qv-kms-')));
  const kms = await startLocalKms({ dir, nsmRootDer, principals: [ENCLAVE, ADMIN], ...options });
  const clients: KMSClient[] = [];
  return {
    kms,
    dir,
    client(principal, config = {}) {
      const client = kmsClient(kms.endpoint, kms.caPem, principal, config);
      clients.push(client);
      return client;
    },
    async close() {
      for (const client of clients) client.destroy();
      await kms.close();
      if (options.dir === undefined) await rm(dir, { recursive: true });
    },
  };
}

export function kmsClient(
  endpoint: string,
  caPem: string,
  principal: Principal,
  config: Partial<KMSClientConfig> = {},
): KMSClient {
  const { accessKeyId, secretAccessKey, sessionToken } = principal;
  return new KMSClient({
    endpoint,
    region: 'us-east-1',
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
    requestHandler: httpHandler(caPem, 5_000),
    ...config,
  });
}

/** A hanging call ends: without `throwOnRequestTimeout` the SDK would only warn. */
export function httpHandler(caPem: string, timeoutMilliseconds: number): NodeHttpHandler {
  return new NodeHttpHandler({
    httpsAgent: new Agent({ ca: caPem, keepAlive: true }),
    requestTimeout: timeoutMilliseconds,
    throwOnRequestTimeout: true,
  });
}

/** The error a call ends with; fails when it succeeds. */
export async function refusal(call: Promise<unknown>): Promise<Error> {
  const outcome = await call.then(
    () => undefined,
    (error: unknown) => error as Error,
  );
  if (outcome === undefined) throw new Error('the call succeeded');
  return outcome;
}

export const someNonce = (): Uint8Array => new Uint8Array(randomBytes(32));
