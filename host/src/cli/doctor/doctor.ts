/** Every check of qv doctor, each for itself: one that breaks is a finding, and keeps no other from its own. */
import type { HostConfig } from '../../config.ts';
import { loadHostConfig } from '../../config.ts';
import { checkAttestation } from './attestation.ts';
import { checkClock } from './clock.ts';
import { checkDatabase } from './database.ts';
import { checkDisk } from './disk.ts';
import { checkAddon, checkEnclave } from './enclave.ts';
import { type Facts, gather, type Machine, type Options, thisMachine } from './facts.ts';
import { checkFiles } from './files.ts';
import { CHECKS, type CheckName, type Finding, failed, ok, reasonOf, skipped } from './finding.ts';
import { checkFreezes } from './freezes.ts';
import { checkAdminSocket, checkHttp, checkMetrics, checkOpsPage, checkProxy } from './host.ts';
import { checkCredentials, checkKms } from './kms.ts';
import { checkTls } from './tls.ts';
import { checkWitnesses } from './witnesses.ts';

type Found = Finding | readonly Finding[];
type Check = (facts: Facts) => Found | Promise<Found>;

const TABLE: Readonly<Record<Exclude<CheckName, 'config'>, Check>> = {
  files: checkFiles,
  addon: checkAddon,
  'admin-socket': checkAdminSocket,
  http: checkHttp,
  proxy: checkProxy,
  tls: checkTls,
  database: checkDatabase,
  disk: checkDisk,
  enclave: checkEnclave,
  credentials: checkCredentials,
  kms: checkKms,
  attestation: checkAttestation,
  clock: checkClock,
  freezes: checkFreezes,
  witnesses: checkWitnesses,
  metrics: checkMetrics,
  'ops-page': checkOpsPage,
};

/** In the order of CHECKS. Fails in no way: what is wrong is a finding. Changes nothing. */
export async function examine(options: Options, machine: Machine = thisMachine()): Promise<readonly Finding[]> {
  let config: HostConfig;
  try {
    config = loadHostConfig(options.configFile);
  } catch (error) {
    const fix = 'Correct the field that is named; host/src/config.ts explains each with its unit, default and hazard.';
    const broken = failed('config', `${options.configFile}: ${reasonOf(error)}`, fix, 'config_invalid');
    return [
      broken,
      ...CHECKS.filter((check) => check !== 'config').map((check) => skipped(check, 'not without a configuration')),
    ];
  }
  const facts = await gather(config, options, machine);
  const { deployment, logLevel } = config;
  const found = CHECKS.map(async (check): Promise<Found> => {
    if (check === 'config') return ok('config', `${options.configFile}: deployment ${deployment}, logs at ${logLevel}`);
    try {
      return await TABLE[check](facts);
    } catch (error) {
      return failed(check, `the check itself failed: ${reasonOf(error)}`, 'Report this as a fault of qv.', 'internal');
    }
  });
  return (await Promise.all(found)).flat();
}
