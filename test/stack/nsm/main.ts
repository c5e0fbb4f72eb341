/** The hypervisor of the local stack: measures the enclave's files, then serves its NSM. `main.ts <config.json>` */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { announceReady, endWithParent } from '../lifetime.ts';
import { readNsmConfig } from './config.ts';
import { measure, standInImage } from './measure.ts';
import { moduleNow, persistentSimulatedRoot, ROOT_PEM_FILE } from './root.ts';
import { serveNsm } from './serve.ts';
import { createSimulatedNsm } from './simulated-nsm.ts';

const [configPath] = process.argv.slice(2);
if (configPath === undefined) throw new Error('usage: main.ts <config.json>');

const config = await readNsmConfig(configPath);
const root = await persistentSimulatedRoot(config.rootDir);
const image = standInImage({
  nodeVersion: process.version,
  cmdline: config.measure.cmdline,
  addon: await readFile(config.measure.addon),
  files: await Promise.all(config.measure.files.map((path) => readFile(path))),
});
const nsm = await createSimulatedNsm({ ...config, ...measure(image), root, now: () => moduleNow(config.rootDir) });

const address = parseTransportAddress(config.socket);
if (address.kind === 'unix') await rm(address.path, { force: true });
const listener = await serveNsm(nsm, config.socket);
endWithParent(() => listener.close());
announceReady({
  process: 'nsm',
  socket: config.socket,
  moduleId: nsm.moduleId,
  rootPem: join(config.rootDir, ROOT_PEM_FILE),
  debug: config.debug,
  pcrs: Object.fromEntries(
    nsm
      .pcrs()
      .slice(0, 16)
      .map((value, index) => [index, toHex(value)]),
  ),
});
