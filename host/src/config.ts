/**
 * The host's configuration: one JSON file, read once, checked and frozen. Unknown keys are refused, because a
 * misspelt limit that is silently ignored is worse than a host that does not start. Secrets are file paths only.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { deepFreeze } from '@quantumvault/shared/deep-freeze.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { DEPLOYMENT_NAME } from '@quantumvault/shared/names.ts';
import { checkDistinct, parseVerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import {
  formatTransportAddress,
  parseTransportAddress,
  type TransportAddress,
} from '@quantumvault/shared/transport.ts';
import { type AlertEndpoint, alertEndpoints, type DenialBurst, denialBurst } from './alerts/config.ts';
import type { Network } from './client-address.ts';
import { absolutePath, networks } from './config-fields.ts';
import { DEFAULT_RATE_LIMITS, type RateLimitName, type RateLimitsConfig } from './rate-limits/config.ts';
import { type TlsConfig, tlsConfig } from './tls/config.ts';
import { type WebhookSource, webhookSources } from './webhooks/config.ts';
import type { WitnessEndpoint } from './witness/client.ts';

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface HostConfig {
  /**
   * The deployment's name, as statements and signed requests spell it. Must equal the name measured into the enclave.
   * Hazard: the database is bound to it at the first start; another name is refused from then on.
   */
  readonly deployment: string;
  /** Where HTTP listens. `port` 0 lets the system choose. Hazard: plain HTTP, unless there is `tls`. */
  readonly listen: { readonly host: string; readonly port: number };
  /**
   * `{certificateFile, keyFile, minVersion, clientCaFile}`: TLS on `listen`; each key is explained in tls/config.ts.
   * Default: plain HTTP, and TLS ends in front of the host. Hazard: the private key is then on the parent instance.
   */
  readonly tls?: TlsConfig;
  /**
   * The proxies in front of this host, as CIDR blocks: `["10.0.0.0/8", "2001:db8::7"]`. From these alone
   * `X-Forwarded-For` is believed, see client-address.ts. Default: none, and the client is who opens the connection.
   * Hazard: whoever can connect from such an address can claim to be anybody; without this, everybody behind a proxy is
   * one client, which the failures and the load of one of them slow for all.
   */
  readonly trustedProxies: readonly Network[];
  /**
   * Requests that one caller may make in a minute: `{address, attestations, statements, requester, wallet}`, see
   * rate-limits/rate-limits.ts; each 1 to 10,000,000, any of them may be left out. Default: 6,000, 120, 60, 6,000, 6,000.
   * Hazard: too high lets one caller use up what all share, too low refuses your own bots (429 `rate_limited`).
   */
  readonly rateLimits: RateLimitsConfig;
  /**
   * The Unix socket for `qv` on this machine, mode 0660. `groupId` (numeric) may use it besides the host's own user;
   * default: the process's group. Hazard: whoever can open it can freeze the fleet.
   */
  readonly adminSocket: { readonly path: string; readonly groupId?: number };
  /**
   * `unix:/path` or `vsock:CID:port` of the enclave: `data` for requests, `control` for freezes alone, so that a
   * freeze never queues behind signing. Both of one enclave: with vsock, of one CID. Hazard: vsock needs the addon that
   * `npm run build:native` builds.
   */
  readonly enclave: { readonly data: TransportAddress; readonly control: TransportAddress };
  /**
   * Path of the SQLite file; made at the first start. Hazard: a wrong path starts an empty database, which shows as
   * `not_initialised` because the row key is only ever created by `qv init`.
   */
  readonly store: { readonly sqlite: string };
  /**
   * Directory where `qv kill` leaves orders while no host answers; made at the start, mode 0770, with the admin socket's
   * group. Default: `freezes` beside the SQLite file. Hazard: whoever can write there can freeze the fleet.
   */
  readonly freezeMarkers: string;
  /**
   * File in which this host keeps which row keys were replaced by later ones, so that none of them ever counts again; made
   * when the first one is. Default: `retired-row-keys` beside the SQLite file. Hazard: who can change it and the database
   * can bring back a row key that leaked; moved away, it has to be before an older backup is put in place here.
   */
  readonly retiredRowKeys: string;
  /**
   * The byte tunnel for the enclave's TLS: where the enclave reaches us, and the only endpoint we connect it to.
   * `listen` is written as the enclave's measured configuration has it, for vsock with this instance's own CID, which
   * is 3 on Nitro: `vsock:3:5002`. The kernel listens on the port; who connects must have the CID of `enclave.data`, or
   * one of `alsoFrom`: CIDs of this instance's other enclaves, default none. Every enclave dials the same port, so of two
   * hosts on one instance one carries both enclaves' bytes, and the other takes the port when the first one ends.
   * `further`: `[{"listen", "endpoint"}]`, a tunnel for each further endpoint that the enclave's measured configuration
   * names: with vsock on the ports behind, by the tunnel's number (`vsock:3:5003` is 1). Default: none. Hazard: what one
   * of them leads to wrongly is no endpoint of KMS to the enclave, which then does without those keys.
   */
  readonly kmsTunnel: KmsTunnel & {
    readonly alsoFrom: readonly number[];
    readonly further: readonly KmsTunnel[];
  };
  /**
   * Where the instance role's credentials come from, which are handed to the enclave; exactly one of two in the file:
   *
   * - `credentials: {"imds": true}`: EC2's instance metadata service, version 2, at its fixed address. Hazard: until it
   *   answers the enclave signs nothing; /readyz and `qv status` say so.
   * - `credentialsFile`: path of a JSON file {accessKeyId, secretAccessKey, sessionToken?, expiresAt?: RFC 3339}, read
   *   again when it changes. Hazard: refused when other users may read it, or own it (root excepted).
   */
  readonly credentials: { readonly file: string } | { readonly imds: true };
  /**
   * Path of a JSON file {logins: [{name, secret}]} with TOTP secrets in base32, as `qv init totp` writes it, read again
   * when it changes. Default: none, and no login can freeze over HTTP. Hazard: whoever reads it can freeze every wallet
   * one by one, and nothing else; refused when other users may read it, or own it (root excepted).
   */
  readonly operatorsFile?: string;
  /**
   * Path of a JSON file {tokens: [{name, role, sha256, wallets?}]} of those who may read over HTTP, as `qv init api-token`
   * writes it, read again when it changes. Default: none, and nobody can. Hazard: whoever can write it can read which
   * wallets there are and what they did; refused when other users may read or write it, or own it (root excepted).
   */
  readonly apiTokensFile?: string;
  /**
   * Whether log and receipts are served to everybody. Default true. With false they take the token of an auditor who
   * sees all wallets, a wallet's facts and the attestation anybody's, and there has to be an `apiTokensFile`. Hazard:
   * witnesses are shown checkpoints in any case, and an auditor without a token sees nothing.
   */
  readonly publicLog: boolean;
  /**
   * The witnesses that cosign the enclave's log: where, and their keys as measured into the enclave. Default: none.
   * Hazard: an enclave that requires witnesses releases no signature without them.
   */
  readonly witnesses: readonly WitnessEndpoint[];
  /**
   * Where `GET /metrics` answers Prometheus, and nothing else, over plain HTTP. Default: nowhere; `qv metrics` asks over
   * the admin socket in any case. Hazard: whoever reaches it reads how much is signed, and which rules deny: 127.0.0.1,
   * or a network of yours. Never the address and port of `listen`. `budgets`: at most 32 wallets whose windows and rates
   * are among the metrics. Default: none. Hazard: it says of these, by name, what they may still spend.
   */
  readonly metrics?: { readonly host: string; readonly port: number; readonly budgets: readonly Address[] };
  /**
   * Where the status page is, over plain HTTP: `host` is a loopback address. Default: nowhere. Hazard: whoever has an
   * account on this machine reads wallets, freezes and denials there; it changes nothing.
   */
  readonly opsPage?: { readonly host: string; readonly port: number };
  /**
   * Who is told of freezes, bursts of denials, trouble and edited rows, by signed webhooks: `[{url, secretsFile, events}]`,
   * each key is explained in alerts/config.ts. Default: nobody. Hazard: what is not delivered waits in memory alone.
   */
  readonly alerts: readonly AlertEndpoint[];
  /**
   * Other hosts of this deployment, on the same database and in front of an enclave of their own: `["http://127.0.0.1:8081"]`,
   * at most 3. What concerns a wallet that the enclave here does not hold is passed on to them, so that callers go on
   * with one address while wallets move. Default: none. Hazard: what a peer answers is passed on as it came, with what
   * callers send; so name hosts of your own, on this machine or over TLS. Tokens are passed on, client certificates are
   * not: who shows one in place of a token is refused budgets, and with `publicLog` false attestations, by a peer.
   */
  readonly peers: readonly URL[];
  /**
   * `{count, seconds}`: so many denials of one wallet within so long are a burst. Default: 20 in 60. Hazard: a low count
   * makes an alert of every mistake.
   */
  readonly denialBurst: DenialBurst;
  /** Who may send signals to `POST /v1/webhooks/<name>`; each key is explained in webhooks/config.ts. Default: nobody. */
  readonly webhooks: readonly WebhookSource[];
  /** Default `info`. Logs never hold bodies, signatures, credentials or blobs at any level. */
  readonly logLevel: LogLevel;
}

/** Where the enclave reaches us, and the one endpoint that connections there are carried to. */
export interface KmsTunnel {
  readonly listen: TransportAddress;
  readonly endpoint: { readonly host: string; readonly port: number };
}

/** VMADDR_CID_LOCAL (vsock(7)): host and enclave are two processes of one machine, for tests. */
const LOOPBACK_CID = 1;
/** The instance itself, as its enclaves see it. */
const PARENT_CID = 3;
/** VMADDR_CID_ANY: nobody's own. */
const ANY_CID = 0xffff_ffff;
const MAX_ENCLAVES = 4;
/** Host name or address, and port. */
const ENDPOINT = /^([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?):([1-9][0-9]{0,4})$/;

const invalid = (path: string, value: string): QvError => new QvError('config_invalid', { path, value });

/** @throws QvError config_invalid naming the field */
export function parseHostConfig(bytes: Uint8Array): HostConfig {
  try {
    if (bytes.length > LIMITS.configBytes) throw invalid('(file)', 'too large');
    return deepFreeze(readConfig(new JsonFields(parseStrictJson(bytes))));
  } catch (error) {
    throw asConfigFault(error, '(file)');
  }
}

/** @throws QvError config_invalid, also when the file cannot be read */
export function loadHostConfig(path: string): HostConfig {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new QvError('config_invalid', { path: '(file)', value: 'cannot be read' }, { cause: error });
  }
  return parseHostConfig(bytes);
}

function readConfig(fields: JsonFields): HostConfig {
  const store = nested(fields, 'store', (inner) => ({ sqlite: absolutePath(inner, 'sqlite') }));
  const trustedProxies = networks(fields, 'trustedProxies') ?? [];
  const tls = tlsConfig(fields);
  const config: HostConfig = {
    deployment: matching(fields, 'deployment', DEPLOYMENT_NAME),
    listen: hostAndPort(fields, 'listen'),
    ...(tls && { tls }),
    trustedProxies,
    adminSocket: nested(fields, 'adminSocket', (inner) => ({
      path: absolutePath(inner, 'path'),
      ...(inner.optional('groupId') === undefined ? {} : { groupId: inner.integer('groupId', 0xffff_fffe) }),
    })),
    enclave: nested(fields, 'enclave', (inner) => ({
      data: transportAddress(inner, 'data'),
      control: transportAddress(inner, 'control'),
    })),
    store,
    freezeMarkers:
      fields.optional('freezeMarkers') === undefined
        ? join(dirname(store.sqlite), 'freezes')
        : absolutePath(fields, 'freezeMarkers'),
    retiredRowKeys:
      fields.optional('retiredRowKeys') === undefined
        ? join(dirname(store.sqlite), 'retired-row-keys')
        : absolutePath(fields, 'retiredRowKeys'),
    kmsTunnel: nested(fields, 'kmsTunnel', (inner) => ({
      listen: transportAddress(inner, 'listen'),
      endpoint: endpoint(inner, 'endpoint'),
      alsoFrom: enclaveCids(inner, 'alsoFrom'),
      further: furtherTunnels(inner),
    })),
    credentials: credentials(fields),
    ...(fields.optional('operatorsFile') === undefined ? {} : { operatorsFile: absolutePath(fields, 'operatorsFile') }),
    ...(fields.optional('apiTokensFile') === undefined ? {} : { apiTokensFile: absolutePath(fields, 'apiTokensFile') }),
    publicLog: publicLog(fields),
    witnesses: witnesses(fields),
    ...(fields.optional('opsPage') === undefined ? {} : { opsPage: loopback(fields, 'opsPage') }),
    alerts: alertEndpoints(fields),
    peers: peers(fields),
    denialBurst: denialBurst(fields),
    webhooks: webhookSources(fields, trustedProxies),
    ...(fields.optional('metrics') === undefined ? {} : { metrics: metrics(fields) }),
    rateLimits: rateLimits(fields),
    logLevel: logLevel(fields),
  };
  fields.end();
  checkAddresses(fields, config);
  return config;
}

/** One enclave behind all of them: it is by its CID that the tunnel knows who connects. */
function checkAddresses(fields: JsonFields, { enclave: { data, control }, kmsTunnel }: HostConfig): void {
  if (formatTransportAddress(data) === formatTransportAddress(control)) {
    throw fields.fault('enclave.control', 'same as data');
  }
  if (control.kind !== data.kind) throw fields.fault('enclave.control', `not ${data.kind}, as data is`);
  if (data.kind === 'vsock' && control.kind === 'vsock' && control.cid !== data.cid)
    throw fields.fault('enclave.control', 'another CID than data');
  const listening = new Set<string>();
  for (const [index, { listen }] of [kmsTunnel, ...kmsTunnel.further].entries()) {
    const path = index === 0 ? 'kmsTunnel.listen' : `kmsTunnel.further[${index - 1}].listen`;
    if (listen.kind !== data.kind) throw fields.fault(path, `not ${data.kind}, as enclave.data is`);
    if (listen.kind === 'vsock' && data.kind === 'vsock' && listen.cid === data.cid && listen.cid !== LOOPBACK_CID)
      throw fields.fault(path, 'the CID of the enclave instead of this instance’s own');
    const text = formatTransportAddress(listen);
    if (listening.has(text)) throw fields.fault(path, 'of another tunnel');
    listening.add(text);
  }
}

function credentials(fields: JsonFields): HostConfig['credentials'] {
  const file = fields.optional('credentialsFile');
  if (fields.optional('credentials') === undefined) {
    if (file === undefined) throw fields.fault('credentials', 'missing, and no credentialsFile');
    return { file: absolutePath(fields, 'credentialsFile') };
  }
  if (file !== undefined) throw fields.fault('credentials', 'not together with credentialsFile');
  return nested(fields, 'credentials', (inner) => {
    if (inner.required('imds') !== true) throw inner.fault('imds', 'only true');
    return { imds: true };
  });
}

function publicLog(fields: JsonFields): boolean {
  const value = fields.optionalBoolean('publicLog') ?? true;
  if (!value && fields.optional('apiTokensFile') === undefined)
    throw fields.fault('publicLog', 'false, and no apiTokensFile');
  return value;
}

function nested<T>(fields: JsonFields, key: string, read: (inner: JsonFields) => T): T {
  const inner = new JsonFields(fields.required(key), fields.path(key));
  const value = read(inner);
  inner.end();
  return value;
}

function metrics(fields: JsonFields): NonNullable<HostConfig['metrics']> {
  return nested(fields, 'metrics', (inner) => ({
    host: filled(inner, 'host'),
    port: inner.integer('port', 0xffff),
    budgets: wallets(inner, 'budgets'),
  }));
}

function wallets(fields: JsonFields, key: string): readonly Address[] {
  if (fields.optional(key) === undefined) return [];
  const listed = fields.list(key);
  if (listed.length > LIMITS.metricsBudgets || new Set(listed).size !== listed.length)
    throw fields.fault(key, 'too many, or twice');
  return listed.map((value, index) => {
    if (typeof value !== 'string') throw fields.fault(key, 'not an address');
    return address(value, fields.path(`${key}[${index}]`));
  });
}

function hostAndPort(fields: JsonFields, key: string): { readonly host: string; readonly port: number } {
  return nested(fields, key, (inner) => ({ host: filled(inner, 'host'), port: inner.integer('port', 0xffff) }));
}

/** It asks nobody who they are. */
function loopback(fields: JsonFields, key: string): { readonly host: string; readonly port: number } {
  const where = hostAndPort(fields, key);
  if (where.host !== '::1' && !/^127(?:\.[0-9]{1,3}){3}$/.test(where.host))
    throw fields.fault(`${key}.host`, 'neither ::1 nor 127.x.x.x');
  return where;
}

function filled(fields: JsonFields, key: string): string {
  const value = fields.text(key);
  if (value.length === 0 || value.length > 255 || value.includes('\0')) throw fields.fault(key, 'empty or too long');
  return value;
}

function matching(fields: JsonFields, key: string, pattern: RegExp): string {
  const value = fields.text(key);
  if (!pattern.test(value)) throw fields.fault(key, `must match ${pattern.source}`);
  return value;
}

function transportAddress(fields: JsonFields, key: string): TransportAddress {
  try {
    return parseTransportAddress(fields.text(key));
  } catch (error) {
    if (codeOf(error) !== 'address_malformed') throw error;
    throw fields.fault(key, 'neither unix:/path nor vsock:CID:port');
  }
}

function endpoint(fields: JsonFields, key: string): { host: string; port: number } {
  const match = ENDPOINT.exec(fields.text(key));
  const port = Number(match?.[2]);
  if (match?.[1] === undefined || port > 0xffff) throw fields.fault(key, 'not host:port');
  return { host: match[1], port };
}

function furtherTunnels(parent: JsonFields): readonly KmsTunnel[] {
  if (parent.optional('further') === undefined) return [];
  const listed = parent.list('further');
  if (listed.length >= LIMITS.kmsTunnels) throw parent.fault('further', 'too many');
  return listed.map((value, index) => {
    const fields = new JsonFields(value, parent.path(`further[${index}]`));
    const tunnel = { listen: transportAddress(fields, 'listen'), endpoint: endpoint(fields, 'endpoint') };
    fields.end();
    return tunnel;
  });
}

/** At most as many enclaves as EC2 lets run beside each other; 0 to 3 are the kernel's and the instance's own. */
function enclaveCids(fields: JsonFields, key: string): readonly number[] {
  if (fields.optional(key) === undefined) return [];
  const cids = fields.list(key);
  if (cids.length > MAX_ENCLAVES || new Set(cids).size !== cids.length) throw fields.fault(key, 'too many, or twice');
  return cids.map((cid) => {
    if (typeof cid !== 'number' || !Number.isInteger(cid) || cid <= PARENT_CID || cid >= ANY_CID)
      throw fields.fault(key, 'not the CID of an enclave');
    return cid;
  });
}

function peers(fields: JsonFields): readonly URL[] {
  if (fields.optional('peers') === undefined) return [];
  const listed = fields.list('peers');
  if (listed.length > LIMITS.peers || new Set(listed).size !== listed.length)
    throw fields.fault('peers', 'too many, or twice');
  return listed.map((value, index) => {
    const url = typeof value === 'string' ? URL.parse(value) : null;
    if (url === null || !/^https?:$/.test(url.protocol) || url.href !== `${url.origin}/`)
      throw fields.fault(`peers[${index}]`, 'not an http(s) address without a path');
    return url;
  });
}

function witnesses(parent: JsonFields): readonly WitnessEndpoint[] {
  if (parent.optional('witnesses') === undefined) return [];
  const listed = parent.list('witnesses');
  if (listed.length > LIMITS.witnesses) throw parent.fault('witnesses', 'too many');
  const endpoints = listed.map((value, index) => {
    const fields = new JsonFields(value, `witnesses[${index}]`);
    const url = URL.parse(fields.text('url'));
    if (url === null || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '' || url.username !== '')
      throw fields.fault('url', 'not an http(s) address');
    const key = parseVerifierKey(fields.text('key'));
    if (key.type !== 'cosignature') throw fields.fault('key', 'not of type 0x04');
    fields.end();
    return { url, key };
  });
  checkDistinct(endpoints.map(({ key }) => key));
  return endpoints;
}

function rateLimits(parent: JsonFields): RateLimitsConfig {
  if (parent.optional('rateLimits') === undefined) return DEFAULT_RATE_LIMITS;
  return nested(parent, 'rateLimits', (inner) => {
    const limit = (name: RateLimitName): number => {
      if (inner.optional(name) === undefined) return DEFAULT_RATE_LIMITS[name];
      const perMinute = inner.integer(name, 10_000_000);
      if (perMinute === 0) throw inner.fault(name, '0');
      return perMinute;
    };
    return {
      address: limit('address'),
      attestations: limit('attestations'),
      statements: limit('statements'),
      requester: limit('requester'),
      wallet: limit('wallet'),
    };
  });
}

function logLevel(fields: JsonFields): LogLevel {
  const value = fields.optional('logLevel') ?? 'info';
  const level = LOG_LEVELS.find((candidate) => candidate === value);
  if (level === undefined) throw fields.fault('logLevel', `one of ${LOG_LEVELS.join(', ')}`);
  return level;
}

/** Everything wrong with a file is `config_invalid`; where it is wrong stays. */
export function asConfigFault(error: unknown, where: string): QvError {
  if (!(error instanceof QvError)) return new QvError('config_invalid', { path: where }, { cause: error });
  if (error.code === 'config_invalid') return error;
  const value = error.facts.value;
  return new QvError(
    'config_invalid',
    { path: error.facts.path ?? where, ...(value === undefined ? {} : { value }) },
    { cause: error },
  );
}
