/** Credentials and KMS, by what host and enclave know of their own calls: nothing is called from here. */
import { createConnection } from 'node:net';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { KmsTunnel } from '../../config.ts';
import { readCredentials, stateOfCredentials, wipeCredentials } from '../../credentials.ts';
import { enclaveStatus, type Facts, hostStatus } from './facts.ts';
import { type Finding, failed, ok, reasonOf, skipped, systemCodeOf, warning } from './finding.ts';

/** EC2 shows new ones at least five minutes before the old ones expire: with less left, something refreshes them no more. */
const SOON_MILLISECONDS = 4 * 60_000;

export function checkCredentials(facts: Facts): readonly Finding[] {
  const status = hostStatus(facts);
  if (status === undefined) return [withoutHost(facts)];
  const { state, expiresAt, fault } = status.credentials;
  const isFile = 'file' in facts.config.credentials;
  const renew = isFile
    ? 'What refreshes credentialsFile has to write it anew; the host reads it within seconds.'
    : 'Has the instance a role, and does IMDSv2 answer? See host/deploy/README.md.';
  const findings: Finding[] = [];
  if (state !== 'valid')
    findings.push(failed('credentials', `${state}${expiresAt === null ? '' : ` since ${expiresAt}`}`, renew));
  else if (expiresAt !== null && Date.parse(expiresAt) - now(facts) < SOON_MILLISECONDS)
    findings.push(warning('credentials', `valid, but only until ${expiresAt}`, renew));
  else findings.push(ok('credentials', `valid${expiresAt === null ? '' : ` until ${expiresAt}`}`));
  if (fault !== null)
    findings.push(warning('credentials', `newer ones cannot be had: ${fault}: ${ERRORS[fault].meaning}`, renew));
  return findings;
}

/** A dead host's file can be read in its place. Of instance metadata only the host should ask. */
function withoutHost(facts: Facts): Finding {
  const { config, hostUser } = facts;
  if (!('file' in config.credentials)) return skipped('credentials', 'the host fetches them, and does not answer');
  try {
    const { body } = readCredentials(config.credentials.file, hostUser);
    try {
      const until = body.expiresAt === undefined ? '' : ` ${new Date(body.expiresAt).toISOString()}`;
      if (stateOfCredentials({ current: { version: 1, body } }, timeMs(now(facts))) === 'valid')
        return ok('credentials', `the file’s are valid${until === '' ? '' : ` until${until}`}`);
      return failed(
        'credentials',
        `the file’s are expired since${until}`,
        'What refreshes the file has to write it anew.',
      );
    } finally {
      wipeCredentials(body);
    }
  } catch (error) {
    if (systemCodeOf(error) === 'EACCES') return skipped('credentials', 'the file is not for this user to read');
    return failed('credentials', reasonOf(error), 'See files, and host/src/config.ts for the form.', 'config_invalid');
  }
}

/** By the enclave's trusted time where there is one. */
function now(facts: Facts): number {
  return enclaveStatus(facts)?.time ?? facts.machine.nowMs();
}

export async function checkKms(facts: Facts): Promise<readonly Finding[]> {
  const { kmsTunnel } = facts.config;
  const reach = await Promise.all([
    reachable(kmsTunnel, 'kmsTunnel.endpoint'),
    ...kmsTunnel.further.map((tunnel, index) => reachable(tunnel, `kmsTunnel.further[${index}].endpoint`)),
  ]);
  return [...reach, ...tunnels(facts), ...calls(facts), ...keys(facts), ...sealings(facts)];
}

/** The host has to carry connections to each endpoint that the image knows; how many those are, its keys say. */
function tunnels(facts: Facts): readonly Finding[] {
  const regions = new Set(enclaveStatus(facts)?.kmsKeys?.map(({ keyArn }) => keyArn.split(':')[3]));
  const configured = 1 + facts.config.kmsTunnel.further.length;
  if (regions.size <= configured) return [];
  return [
    failed(
      'kms',
      `the image’s keys are in ${regions.size} Regions, and this host has ${configured === 1 ? 'a tunnel' : 'tunnels'} to ${configured}`,
      'Add the others to kmsTunnel.further: see host/src/config.ts.',
    ),
  ];
}

/** Where there is a second key, every wallet is to be sealed for it: those of before have to be re-wrapped. */
function sealings(facts: Facts): readonly Finding[] {
  const count = hostStatus(facts)?.walletsWithoutSecond ?? 0;
  const hasSecond = enclaveStatus(facts)?.kmsKeys?.some(({ use }) => use === 'second') === true;
  if (!hasSecond || count === 0) return [];
  const what = count === 1 ? '1 wallet is' : `${count} wallets are`;
  return [warning('kms', `${what} not sealed for the second KMS key`, 'Re-wrap them: qv rotate wallets.')];
}

/** Of several keys each one, because what one of them fails the others make up for. */
function keys(facts: Facts): readonly Finding[] {
  const told = enclaveStatus(facts)?.kmsKeys ?? [];
  if (told.length < 2) return [];
  return told.map(({ keyArn, use, calls: count, failures, isAvoided }) => {
    const counted = `${use} key ${keyArn}: ${failures} of ${count} calls of this boot failed`;
    const fix = 'Its tunnel in kmsTunnel, its state and its key policy (PCR0, role): see host/deploy/README.md.';
    if (isAvoided) return warning('kms', `${counted}, and it does not answer just now`, fix);
    return failures > 0n && failures === count ? warning('kms', counted, fix) : ok('kms', counted);
  });
}

function calls(facts: Facts): readonly Finding[] {
  const status = enclaveStatus(facts);
  if (status === undefined) return [skipped('kms', 'the enclave, which calls it, does not answer')];
  const { kmsCalls, kmsFailures, kmsKeyArn, attestationAgeSeconds } = status;
  if (kmsCalls === undefined || kmsFailures === undefined)
    return [skipped('kms', `the enclave does not count its calls; key ${kmsKeyArn}`)];
  const findings: Finding[] = [];
  const counted = `${kmsFailures} of ${kmsCalls} calls of this boot failed; key ${kmsKeyArn}`;
  const fix =
    'kms_refused in the host’s log: the key policy (PCR0, role). kms_unavailable: network, endpoint, credentials.';
  if (kmsCalls > 0n && kmsFailures === kmsCalls) findings.push(failed('kms', counted, fix));
  else if (kmsFailures > 0n) findings.push(warning('kms', counted, fix));
  else findings.push(ok('kms', counted));
  if (attestationAgeSeconds !== undefined && attestationAgeSeconds > LIMITS.attestationMaxAgeSeconds)
    findings.push(
      failed(
        'kms',
        `the document for its next call is ${attestationAgeSeconds} s old; KMS takes none older than ${LIMITS.attestationMaxAgeSeconds}`,
        'The enclave’s security module does not answer: restart the enclave.',
      ),
    );
  return findings;
}

/** Whether a tunnel's one endpoint takes a connection from this machine; nothing is said on it. */
async function reachable({ endpoint: { host, port } }: KmsTunnel, field: string): Promise<Finding> {
  const fault = await new Promise<string | undefined>((resolve) => {
    const socket = createConnection({ host, port });
    const settle = (outcome: string | undefined): void => {
      socket.destroy();
      resolve(outcome);
    };
    socket.setTimeout(LIMITS.freezeTimeoutMilliseconds, () => settle('timeout'));
    socket.once('connect', () => settle(undefined));
    socket.once('error', (error) => settle(systemCodeOf(error) ?? error.message));
  });
  if (fault === undefined) return ok('kms', `${host}:${port} takes connections`);
  return failed(
    'kms',
    `${host}:${port}: ${fault}`,
    `Check ${field}, DNS, routes and the VPC endpoint.`,
    'kms_unavailable',
  );
}
