/**
 * The keys of KMS that the measured configuration names, `kms`, and the ways to them.
 *
 * ```jsonc
 * { "keyArn": "…", "endpoint": "https://…", "tunnel": 0, // new keys are made under this one
 *   "rootCertificates": ["…"],                           // the only roots trusted for TLS, to all endpoints
 *   "replicas": [{ "keyArn": "…", "endpoint": "…" }],    // the same multi-Region key in other Regions: opens as well
 *   "previous": [{ "keyArn": "…", "endpoint": "…" }],    // keys that are being replaced: open, and make nothing new
 *   "second": { "keyArn": "…", "endpoint": "…" } }       // of another account or Region: whatever is made under the
 *                                                        // first is sealed for this one, too, and either opens it
 * ```
 *
 * Each endpoint is reached by a tunnel of its own, which leads nowhere else; `tunnel` is its number. Where it is left
 * out, endpoints are counted in the order keyArn, replicas, previous, second, and take the lowest number that is free.
 */
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { KmsKeyState } from '@quantumvault/shared/protocol/message-parts.ts';

/** What a key is for. `current`: makes and opens. */
export type KmsKeyUse = KmsKeyState['use'];

export interface KmsKey {
  /** The full ARN: aliases can be moved. */
  readonly keyArn: string;
  readonly use: KmsKeyUse;
  readonly region: string;
  /** An https origin. */
  readonly endpoint: URL;
  /** Of the host's tunnels, the one that leads to the endpoint. */
  readonly tunnel: number;
}

export interface KmsConfig {
  readonly keyArn: string;
  /** All of them, the current one first and the second one last. */
  readonly keys: readonly KmsKey[];
  readonly rootCertificates: readonly string[];
}

type Read = Omit<KmsKey, 'tunnel'> & { readonly tunnel: number | undefined; readonly path: string };

const KEY_ARN = /^arn:(aws[a-z-]*):kms:([a-z0-9-]{1,32}):([0-9]{12}):key\/(mrk-[0-9a-f]{32}|[0-9a-f-]{36})$/;
const PEM = /^-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,76}\n)+-----END CERTIFICATE-----\n?$/;

const invalid = (path: string, why: string): QvError => new QvError('config_invalid', { path, value: why });

/** @throws QvError config_invalid naming the path */
export function parseKms(parent: JsonFields): KmsConfig {
  const fields = new JsonFields(parent.required('kms'), 'kms');
  const current = readKey(fields, 'current', 'kms');
  const replicas = readKeys(fields, 'replicas', 'replica');
  const previous = readKeys(fields, 'previous', 'previous');
  const second = fields.optional('second');
  const seconds = second === undefined ? [] : [readFurther(second, 'kms.second', 'second')];
  const rootCertificates = fields.list('rootCertificates').map((value, index) => {
    if (typeof value !== 'string' || !PEM.test(value))
      throw invalid(`kms.rootCertificates[${index}]`, 'not one PEM certificate');
    return value;
  });
  if (rootCertificates.length === 0) throw invalid('kms.rootCertificates', 'empty');
  fields.end();
  for (const replica of replicas) checkReplica(replica, current.keyArn);
  for (const key of seconds) checkSecond(key, current.keyArn);
  const read = [current, ...replicas, ...previous, ...seconds];
  checkDistinct(read);
  return { keyArn: current.keyArn, keys: numbered(read), rootCertificates };
}

function readKeys(fields: JsonFields, name: string, use: KmsKeyUse): readonly Read[] {
  if (fields.optional(name) === undefined) return [];
  const listed = fields.list(name);
  // Whoever has none leaves the field out.
  if (listed.length === 0) throw invalid(`kms.${name}`, 'empty');
  if (listed.length > LIMITS.kmsFurtherKeys) throw invalid(`kms.${name}`, 'too many');
  return listed.map((value, index) => readFurther(value, `kms.${name}[${index}]`, use));
}

function readFurther(value: ConstructorParameters<typeof JsonFields>[0], path: string, use: KmsKeyUse): Read {
  const fields = new JsonFields(value, path);
  const read = readKey(fields, use, path);
  fields.end();
  return read;
}

function readKey(fields: JsonFields, use: KmsKeyUse, path: string): Read {
  const keyArn = fields.text('keyArn');
  const region = KEY_ARN.exec(keyArn)?.[2];
  if (region === undefined) throw invalid(`${path}.keyArn`, 'not of the required form');
  const endpoint = URL.parse(fields.text('endpoint'));
  const isOrigin =
    endpoint?.protocol === 'https:' && endpoint.pathname === '/' && endpoint.search === '' && endpoint.username === '';
  if (endpoint === null || !isOrigin) throw invalid(`${path}.endpoint`, 'not an https origin');
  const tunnel = fields.optional('tunnel') === undefined ? undefined : fields.integer('tunnel', LIMITS.kmsTunnels - 1);
  return { keyArn, use, region, endpoint, tunnel, path };
}

/** Related multi-Region keys have one id and one account; KMS opens with each what any of them made. */
function checkReplica({ keyArn, path }: Read, current: string): void {
  const [, partition, , account, id] = KEY_ARN.exec(keyArn) ?? [];
  const [, ofPartition, , ofAccount, ofId = ''] = KEY_ARN.exec(current) ?? [];
  if (!ofId.startsWith('mrk-')) throw invalid('kms.keyArn', 'not a multi-Region key, and has replicas');
  if (id !== ofId || account !== ofAccount || partition !== ofPartition)
    throw invalid(`${path}.keyArn`, 'not a replica of kms.keyArn');
}

/** What takes the current key away from us has to leave this one: its account, its Region, its deletion. */
function checkSecond({ keyArn, path }: Read, current: string): void {
  const [, , region, account, id] = KEY_ARN.exec(keyArn) ?? [];
  const [, , ofRegion, ofAccount, ofId] = KEY_ARN.exec(current) ?? [];
  if (region === ofRegion && account === ofAccount)
    throw invalid(`${path}.keyArn`, 'of the same account and Region as kms.keyArn');
  if (id === ofId) throw invalid(`${path}.keyArn`, 'the same key as kms.keyArn');
}

function checkDistinct(keys: readonly Read[]): void {
  const seen = new Set<string>();
  for (const { keyArn, path } of keys) {
    if (seen.has(keyArn)) throw invalid(`${path}.keyArn`, 'named twice');
    seen.add(keyArn);
  }
}

/** One tunnel for each endpoint. */
function numbered(keys: readonly Read[]): readonly KmsKey[] {
  const tunnels = new Map<string, number>();
  const regions = new Map<string, string>();
  for (const { endpoint, region, tunnel, path } of keys) {
    const { origin } = endpoint;
    if ((regions.get(origin) ?? region) !== region) throw invalid(`${path}.endpoint`, 'of another Region');
    regions.set(origin, region);
    if (tunnel === undefined) continue;
    if ((tunnels.get(origin) ?? tunnel) !== tunnel) throw invalid(`${path}.tunnel`, 'two for one endpoint');
    if ([...tunnels].some(([other, number]) => other !== origin && number === tunnel))
      throw invalid(`${path}.tunnel`, 'leads to another endpoint');
    tunnels.set(origin, tunnel);
  }
  for (const { endpoint, path } of keys) {
    if (tunnels.has(endpoint.origin)) continue;
    const taken = new Set(tunnels.values());
    let free = 0;
    while (taken.has(free)) free++;
    if (free >= LIMITS.kmsTunnels) throw invalid(`${path}.endpoint`, 'too many endpoints');
    tunnels.set(endpoint.origin, free);
  }
  return keys.map(({ path: _, ...key }) => ({ ...key, tunnel: tunnels.get(key.endpoint.origin) ?? 0 }));
}
