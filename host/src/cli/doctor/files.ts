/** Modes and owners of what the configuration names, judged for the host's user and not for who calls. */
import { lstatSync, type Stats, statSync } from 'node:fs';
import { parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { HostConfig } from '../../config.ts';
import { readPrivateFile } from '../../private-file.ts';
import type { Facts } from './facts.ts';
import { type Finding, failed, ok, reasonOf, skipped, systemCodeOf, warning } from './finding.ts';

const [OTHERS_ANY, OTHERS_WRITE] = [0o007, 0o002];

export function checkFiles(facts: Facts): readonly Finding[] {
  const { config } = facts;
  return [
    checkConfigFile(facts),
    ...secretFilesOf(config).map((file) => checkSecretFile(file, facts)),
    checkDatabaseFile(facts),
    checkMarkers(facts),
    ...checkSocket(config.adminSocket.path, 'the admin socket', facts),
    ...[config.kmsTunnel, ...config.kmsTunnel.further].flatMap(({ listen }) =>
      listen.kind === 'unix' ? checkSocket(listen.path, 'the KMS tunnel’s socket', facts) : [],
    ),
  ];
}

export interface SecretFile {
  readonly field: string;
  readonly path: string;
  readonly maxBytes: number;
  readonly isJson: boolean;
}

/** Files that the configuration names and that hold secrets. */
export function secretFilesOf(config: HostConfig): readonly SecretFile[] {
  const { credentials, operatorsFile, apiTokensFile, webhooks, alerts, tls } = config;
  return [
    ...('file' in credentials ? [json('credentialsFile', credentials.file, LIMITS.credentialsBytes)] : []),
    ...(operatorsFile === undefined ? [] : [json('operatorsFile', operatorsFile, LIMITS.operatorsFileBytes)]),
    ...(apiTokensFile === undefined ? [] : [json('apiTokensFile', apiTokensFile, LIMITS.apiTokensFileBytes)]),
    ...(tls === undefined
      ? []
      : [{ field: 'tls.keyFile', path: tls.keyFile, maxBytes: LIMITS.tlsFileBytes, isJson: false }]),
    ...webhooks.flatMap(({ secretsFile }, at) => webhookSecrets(`webhooks[${at}].secretsFile`, secretsFile)),
    ...alerts.flatMap(({ secretsFile }, at) => webhookSecrets(`alerts[${at}].secretsFile`, secretsFile)),
  ];
}

function webhookSecrets(field: string, path: string | undefined): readonly SecretFile[] {
  return path === undefined ? [] : [{ field, path, maxBytes: LIMITS.webhookSecretsFileBytes, isJson: false }];
}

const json = (field: string, path: string, maxBytes: number): SecretFile => ({ field, path, maxBytes, isJson: true });

function checkSecretFile({ field, path, maxBytes, isJson }: SecretFile, { hostUser }: Facts): Finding {
  try {
    const { bytes } = readPrivateFile(path, field, maxBytes, hostUser);
    try {
      // secret-rule: JSON makes strings of it, which V8 keeps until it likes; this process ends soon
      if (isJson) parseStrictJson(bytes);
      return ok('files', `${field} ${path}: for the host’s user alone`);
    } finally {
      bytes.fill(0);
    }
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'EACCES') return unreadable(`${field} ${path}`, hostUser);
    if (code !== undefined)
      return failed(
        'files',
        `${field} ${path}: ${code}`,
        'Put the file there, or correct the path; the host refuses to start.',
      );
    const fix = `chown ${hostUser ?? '<the host’s user>'} ${path}; chmod 600 ${path}; and see host/src/config.ts for its form`;
    return failed('files', `${field} ${path}: ${reasonOf(error)}`, fix, 'config_invalid');
  }
}

const unreadable = (what: string, hostUser: number | undefined): Finding =>
  skipped('files', `${what}: not for this user to read; call qv doctor as root, or as user ${hostUser}`);

function checkConfigFile({ options: { configFile }, hostUser }: Facts): Finding {
  const facts = statSync(configFile);
  if ((facts.mode & OTHERS_WRITE) !== 0)
    return failed('files', `${configFile}: anybody may write it`, `chmod o-w ${configFile}`);
  if (![0, hostUser].includes(facts.uid))
    return warning(
      'files',
      `${configFile}: belongs to user ${facts.uid}, who is neither root nor runs the host`,
      `chown root ${configFile}`,
    );
  return ok('files', `${configFile}: not for others to write`);
}

function checkDatabaseFile({ config: { store }, hostUser }: Facts): Finding {
  const facts = factsOf(store.sqlite);
  if (typeof facts === 'string') return skipped('files', `${store.sqlite}: ${facts}`);
  const stray = facts.uid !== hostUser ? `chown ${hostUser} ${store.sqlite}*` : undefined;
  if (stray !== undefined)
    return failed('files', `${store.sqlite}: belongs to user ${facts.uid}, and the host runs as ${hostUser}`, stray);
  if ((facts.mode & OTHERS_WRITE) !== 0)
    return failed('files', `${store.sqlite}: anybody may write it`, `chmod 600 ${store.sqlite}*`);
  if ((facts.mode & OTHERS_ANY) !== 0)
    return warning('files', `${store.sqlite}: anybody may read it`, `chmod 600 ${store.sqlite}*`);
  return ok('files', `${store.sqlite}: not for others`);
}

/** Whoever can write there can freeze the fleet; if the host cannot, the stop button without a host is lost. */
function checkMarkers({ config: { freezeMarkers, adminSocket }, hostUser, said }: Facts): Finding {
  const facts = factsOf(freezeMarkers);
  if (typeof facts === 'string') {
    if ('value' in said)
      return failed('files', `freezeMarkers ${freezeMarkers}: ${facts}`, 'Restart the host, which makes it.');
    return skipped('files', `freezeMarkers ${freezeMarkers}: ${facts}; the host makes it at its start`);
  }
  const where = `freezeMarkers ${freezeMarkers}`;
  if (!facts.isDirectory()) return failed('files', `${where}: no directory`, 'Move it away, and restart the host.');
  if ((facts.mode & OTHERS_ANY) !== 0)
    return failed('files', `${where}: others may use it, and so freeze the fleet`, `chmod 770 ${freezeMarkers}`);
  const isHosts = facts.uid === hostUser && (facts.mode & 0o700) === 0o700;
  const isGroups = (facts.mode & 0o070) === 0o070 && [undefined, facts.gid].includes(adminSocket.groupId);
  if (!isHosts || !isGroups)
    return failed(
      'files',
      `${where}: not for the host and the admin socket’s group to use`,
      `chown ${hostUser}${adminSocket.groupId === undefined ? '' : `:${adminSocket.groupId}`} ${freezeMarkers}; chmod 770 ${freezeMarkers}`,
    );
  return ok('files', `${where}: for the host and its group alone`);
}

/** One that is missing is the business of who asks the host. */
function checkSocket(path: string, what: string, { hostUser }: Facts): readonly Finding[] {
  const facts = factsOf(path);
  if (typeof facts === 'string') return [];
  const where = `${what} ${path}`;
  if (!facts.isSocket())
    return [failed('files', `${where}: something else than a socket`, `Move it away: the host refuses to start.`)];
  if ((facts.mode & OTHERS_ANY) !== 0)
    return [failed('files', `${where}: anybody may open it`, `chmod o-rwx ${path}; the host’s restart does it, too`)];
  if (facts.uid !== hostUser)
    return [
      failed('files', `${where}: belongs to user ${facts.uid}`, 'Which process made it? The host runs as another.'),
    ];
  return [ok('files', `${where}: not for others`)];
}

function factsOf(path: string): Stats | string {
  try {
    return lstatSync(path);
  } catch (error) {
    return systemCodeOf(error) === 'ENOENT' ? 'not there' : (systemCodeOf(error) ?? String(error));
  }
}
