/** What an operator does before the first start, with the code of `qv init`: KMS key, configuration, key policy. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { keyPolicy } from '@quantumvault/host/cli/key-policy.ts';
import { createKmsKey, kmsClient, putKmsPolicy } from '@quantumvault/host/cli/kms-key.ts';
import { addressOf } from '@quantumvault/shared/brands.ts';
import { VSOCK_PORTS } from '@quantumvault/shared/ports.ts';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { startLocalKms } from '../stack/kms/server.ts';
import { createSimulatedRoot } from '../stack/nsm/root.ts';
import { type CpioEntry, folderEntries } from '../vm/cpio.ts';
import { BREAK_GLASS_ROLE, DEPLOYMENT, ENCLAVE_CID, INSTANCE_ROLE, PARENT, PARENT_CID, REGION } from './layout.ts';

export interface Deployment {
  /** The measured configuration file. */
  readonly config: string;
  /** Names the image that may use the key; call it before `stateEntries`. */
  allowImage(pcr0: string): Promise<void>;
  /** Below the parent's root: the KMS's state and configuration, the host's configuration, the role's credentials. */
  stateEntries(prefix: string): readonly CpioEntry[];
  close(): Promise<void>;
}

/** Starts the local KMS here, in `folder`, as it will be started in the parent from the same files. */
export async function prepareDeployment(folder: string): Promise<Deployment> {
  const dir = join(folder, 'kms');
  mkdirSync(dir, { mode: 0o700 });
  const operator = { accessKeyId: 'AKIALOCALBREAKGLASS1', secretAccessKey: randomSecret() };
  const instance = { accessKeyId: 'AKIALOCALINSTANCE001', secretAccessKey: randomSecret() };
  const principals = [
    { ...operator, arn: BREAK_GLASS_ROLE },
    { ...instance, arn: INSTANCE_ROLE },
  ];
  // No document of this root exists in this test.
  const root = createSimulatedRoot();
  const place = { region: REGION };
  const kms = await startLocalKms({ dir, nsmRootDer: root.certificateDer, principals, ...place });
  const requestHandler = new NodeHttpHandler({ httpsAgent: { ca: kms.caPem } });
  const admin = kmsClient({ region: REGION, endpoint: kms.endpoint }, { credentials: operator, requestHandler });
  const kmsKeyArn = await createKmsKey(admin, BREAK_GLASS_ROLE, 'QuantumVault execution keys');
  const config = {
    version: 1,
    deployment: DEPLOYMENT,
    logOrigin: `${DEPLOYMENT}.example/qv`,
    kms: { keyArn: kmsKeyArn, endpoint: `https://localhost:${PARENT.kmsPort}`, rootCertificates: [kms.caPem] },
    parentCid: PARENT_CID,
    operators: { threshold: 1, keys: [throwawayOperator()] },
  };
  const files = {
    'kms.json': {
      dir: `${PARENT.state}/kms`,
      port: PARENT.kmsPort,
      nsmRootPem: `${PARENT.state}/nsm-root.pem`,
      adminSocket: `unix:${PARENT.state}/kms-admin.sock`,
      unsafeAcceptUnsignedDocuments: true,
      ...place,
      principals,
    },
    'credentials.json': instance,
    'host.json': hostConfig(),
  };
  return {
    config: JSON.stringify(config, undefined, 2),
    allowImage: (pcr0) =>
      putKmsPolicy(
        admin,
        kmsKeyArn,
        keyPolicy({ breakGlassArn: BREAK_GLASS_ROLE, instanceRoleArn: INSTANCE_ROLE, pcr0s: [pcr0] }),
      ),
    stateEntries: (prefix) => [
      ...folderEntries(dir, `${prefix}/kms`),
      file(`${prefix}/nsm-root.pem`, root.certificatePem),
      ...Object.entries(files).map(([name, value]) => file(`${prefix}/${name}`, JSON.stringify(value))),
    ],
    close: async () => {
      admin.destroy();
      await kms.close();
    },
  };
}

function hostConfig(): Record<string, unknown> {
  const vsock = (cid: number, port: number): string => `vsock:${cid}:${port}`;
  return {
    deployment: DEPLOYMENT,
    listen: { host: '127.0.0.1', port: 0 },
    adminSocket: { path: `${PARENT.state}/admin.sock` },
    enclave: {
      data: vsock(ENCLAVE_CID, VSOCK_PORTS.data),
      control: vsock(ENCLAVE_CID, VSOCK_PORTS.control),
    },
    store: { sqlite: `${PARENT.state}/qv.db` },
    kmsTunnel: { listen: vsock(PARENT_CID, VSOCK_PORTS.kmsTunnel), endpoint: `localhost:${PARENT.kmsPort}` },
    credentialsFile: `${PARENT.state}/credentials.json`,
  };
}

const file = (path: string, text: string): CpioEntry => ({
  kind: 'file',
  path,
  content: Buffer.from(text),
  mode: 0o600,
});

const randomSecret = (): string => randomBytes(30).toString('base64');

function throwawayOperator(): string {
  const { publicKey } = generateKeyPairSync('ed25519');
  return addressOf(new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)));
}
