/** The local KMS as a process. `main.ts <config.json>` */
import { X509Certificate } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { announceReady, endWithParent } from '../lifetime.ts';
import { serveAdmin } from './admin.ts';
import { readKmsConfig } from './config.ts';
import { recordTo } from './record.ts';
import { startLocalKms } from './server.ts';

const [configPath] = process.argv.slice(2);
if (configPath === undefined) throw new Error('usage: main.ts <config.json>');

const { adminSocket, nsmRootPem, recordFile, ...config } = await readKmsConfig(configPath);
const nsmRootDer = new Uint8Array(new X509Certificate(await readFile(nsmRootPem)).raw);
const kms = await startLocalKms({ ...config, nsmRootDer, ...(recordFile && { onSealed: recordTo(recordFile) }) });

if (adminSocket !== undefined) {
  const address = parseTransportAddress(adminSocket);
  if (address.kind === 'unix') await rm(address.path, { force: true });
}
const admin = adminSocket === undefined ? undefined : await serveAdmin(kms, adminSocket);
endWithParent(async () => {
  await admin?.close();
  await kms.close();
});
announceReady({
  process: 'kms',
  endpoint: kms.endpoint,
  port: kms.port,
  caPem: kms.caPath,
  region: kms.region,
  accountId: kms.accountId,
  adminSocket: adminSocket ?? null,
});
