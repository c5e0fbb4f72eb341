/** The instance's role from the metadata service through the host and the enclave to KMS, across rotations. */
import { join } from 'node:path';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { initRowKey } from '@quantumvault/host/cli/row-key.ts';
import { type Client, createClient, ownerFromSigner } from '@quantumvault/host/client/client.ts';
import { parseHostConfig } from '@quantumvault/host/config.ts';
import { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { createLog } from '@quantumvault/host/log.ts';
import { type RunningHost, startHost } from '@quantumvault/host/start.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KmsAdmin } from '../stack/kms/admin.ts';
import { INSTANCE_ROLE } from '../stack/kms-keys.ts';
import { firstPolicy, pcrSetOf, transfer } from '../stack/scenario.ts';
import { type Backend, INSTANCE_ID, startBackend, untilReady } from '../stack/stack.ts';
import { throwawayKey } from '../stack/throwaway.ts';
import { expectCode } from '../support/codes.ts';
import { FakeMetadata, type RoleCredentials, roleCredentials } from '../support/fake-metadata.ts';
import { until } from '../support/temporary.ts';

const owner = throwawayKey();
const requester = throwawayKey();
const destination = throwawayKey().signer.address;
const service = new FakeMetadata();
const log: string[] = [];
let backend: Backend;
let kms: KmsAdmin;
let host: RunningHost;
let client: Client;
let sign: () => Promise<unknown>;

/** KMS knows these sessions of the role and no others; `expires`: in milliseconds from now. */
function kmsKnows(sessions: readonly RoleCredentials[], expires?: number): Promise<void> {
  const arn = INSTANCE_ROLE.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/');
  return kms.setPrincipals(
    sessions.map(({ AccessKeyId, SecretAccessKey, Token }) => ({
      accessKeyId: AccessKeyId,
      secretAccessKey: SecretAccessKey,
      sessionToken: Token,
      arn: `${arn}/${INSTANCE_ID}`,
      ...(expires !== undefined && { expires: new Date(Date.now() + expires).toISOString() }),
    })),
  );
}

const credentials = async () => (await adminCall(host.adminSocket, 'status', {})).credentials;

/** The host found them by itself, and gave them to the enclave. */
async function untilTaken({ Expiration }: RoleCredentials): Promise<void> {
  await until('the host has them', async () => (await credentials()).expiresAt === Expiration.replace('Z', '.000Z'));
}

const FIRST = roleCredentials('FIRST', 5 * 3600_000);
const SECOND = roleCredentials('SECOND', 6 * 3600_000);
const THIRD = roleCredentials('THIRD', 7 * 3600_000);

beforeAll(async () => {
  const endpoint = await service.listen();
  service.credentials = FIRST;
  backend = await startBackend();
  kms = new KmsAdmin(backend.kmsAdmin);
  await kmsKnows([FIRST]);
  const { dir, deployment, enclaveAddresses, kmsEndpoint, kmsKeyArn, nsmRootDer, pcrs } = backend;
  const config = {
    deployment,
    listen: { host: '127.0.0.1', port: 0 },
    adminSocket: { path: join(dir, 'admin.sock') },
    enclave: { data: enclaveAddresses.data, control: enclaveAddresses.control },
    store: { sqlite: join(dir, 'qv.db') },
    kmsTunnel: { listen: enclaveAddresses.tunnel, endpoint: `${kmsEndpoint.host}:${kmsEndpoint.port}` },
    credentials: { imds: true },
  };
  host = await startHost(parseHostConfig(utf8(JSON.stringify(config))), {
    transport: unixTransport,
    log: createLog('debug', { write: (line) => void log.push(line) }),
    instanceRole: { endpoint, pause: () => 100 },
    loopDelayMilliseconds: Number.POSITIVE_INFINITY,
  });
  await initRowKey(host.adminSocket);
  await untilReady(host.url);
  const trust = { pcrSets: [pcrSetOf(pcrs)], kmsKeyArn, unsafeTrustedRootDer: nsmRootDer };
  client = createClient({ url: host.url, deployment, trust });
  const agreed = ownerFromSigner(owner.signer);
  const { wallet } = await client.createWallet({ owner: agreed, requesters: [requester.signer.address] });
  const parties = { wallet, owner: owner.signer.address, requester: requester.signer.address, destination };
  await client.enablePolicy({ owner: agreed, policy: firstPolicy(parties, Date.now()) });
  sign = () =>
    client.sign({ wallet, transaction: transfer(wallet, destination, 5_000n).wire, requester: requester.signer });
});
afterAll(async () => {
  await host?.close();
  kms?.close();
  await backend?.stop();
  await service.close();
});

test('signs with what the metadata service has, and nothing else', async () => {
  expect(await credentials()).toMatchObject({ state: 'valid', fault: null });
  await sign();
  await kmsKnows([SECOND]);
  await expectCode(sign(), 'kms_refused');
  await kmsKnows([FIRST]);
  await sign();
});

test('goes on with new ones as soon as they are there, although the old ones would hold for hours', async () => {
  await kmsKnows([FIRST, SECOND]);
  service.credentials = SECOND;
  await untilTaken(SECOND);
  await kmsKnows([SECOND]);
  await until('the enclave signs with them', () =>
    sign().then(
      () => true,
      () => false,
    ),
  );
  for (let more = 0; more < 3; more++) await sign();
});

test('lives through a metadata service that is down, and takes what it has afterwards', async () => {
  service.role = undefined;
  await until('the host sees it', async () => (await credentials()).fault === 'instance_role_missing');
  expect((await credentials()).state).toBe('valid');
  await sign();
  // KMS ends them early: the role was changed.
  await kmsKnows([SECOND], -1_000);
  await expectCode(sign(), 'kms_refused');
  await kmsKnows([THIRD]);
  service.credentials = THIRD;
  service.role = 'qv-instance';
  await untilTaken(THIRD);
  await until('the enclave signs with them', () =>
    sign().then(
      () => true,
      () => false,
    ),
  );
  expect((await credentials()).fault).toBeNull();
});

test('gives the enclave its own again after somebody else on the machine has given it others', async () => {
  await sign();
  const address = parseTransportAddress(backend.enclaveAddresses.data);
  const other = new EnclaveClient({ address, transport: unixTransport, log: createLog('silent') });
  other.connect();
  await other.request('credentials', { accessKeyId: utf8('AKIAOTHER'), secretAccessKey: utf8('x') });
  other.close();
  await until('the enclave signs with the role again', () =>
    sign().then(
      () => true,
      () => false,
    ),
  );
});

test('says none of it in its log', () => {
  expect(log.filter((line) => line.includes('credentials of the instance role')).length).toBe(3);
  for (const secret of ['secret-of', 'token-of', 'AQAEA', 'ASIA']) expect(log.join('')).not.toContain(secret);
});
