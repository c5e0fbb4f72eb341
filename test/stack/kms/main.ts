/** The local KMS as a process. `main.ts <config.json>` */
import { X509Certificate } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { announceReady, endWithParent } from '../lifetime.ts';
import { moduleNow } from '../nsm/root.ts';
import { serveAdmin } from './admin.ts';
import { readKmsConfig } from './config.ts';
import { recordTo } from './record.ts';
import { startLocalRegions } from './server.ts';

const [configPath] = process.argv.slice(2);
if (configPath === undefined) throw new Error('usage: main.ts <config.json>');

const { adminSocket, nsmRootPem, recordFile, furtherRegions = [], ...config } = await readKmsConfig(configPath);
const nsmRootDer = new Uint8Array(new X509Certificate(await readFile(nsmRootPem)).raw);
const moduleFolder = dirname(nsmRootPem);
const options = {
  ...config,
  nsmRootDer,
  moduleNow: () => moduleNow(moduleFolder),
  ...(recordFile && { onSealed: recordTo(recordFile) }),
};
const regions = await startLocalRegions(options, furtherRegions);
const [kms] = regions.values();
if (kms === undefined) throw new Error('no Region');

if (adminSocket !== undefined) {
  const address = parseTransportAddress(adminSocket);
  if (address.kind === 'unix') await rm(address.path, { force: true });
}
const admin = adminSocket === undefined ? undefined : await serveAdmin(regions, adminSocket);
endWithParent(async () => {
  await admin?.close();
  for (const region of regions.values()) await region.close();
});
announceReady({
  process: 'kms',
  endpoint: kms.endpoint,
  port: kms.port,
  caPem: kms.caPath,
  region: kms.region,
  endpoints: Object.fromEntries([...regions].map(([name, { endpoint }]) => [name, endpoint])),
  adminSocket: adminSocket ?? null,
});
