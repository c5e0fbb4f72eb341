/**
 * Webhook sources in the host's configuration, `webhooks: [...]`: who may send signals to `POST /v1/webhooks/<name>`, and
 * how that is verified. Secrets stand in files of their own and never here.
 */
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parseName } from '@quantumvault/shared/policy/program-rules.ts';
import { type Network, parseNetwork } from '../client-address.ts';
import { absolutePath, networks } from '../config-fields.ts';
import { ed25519Key } from '../ed25519.ts';

interface Source {
  /** As policies name it in `signals.sources`, and the last part of its URL: 1 to 64 of A-Z a-z 0-9 . _ - */
  readonly name: string;
  /**
   * CIDR blocks that webhooks may come from, see `trustedProxies`. Default: from anywhere; for `tradingview` the four
   * addresses that TradingView publishes. Hazard: behind a proxy that is not trusted, every webhook comes from the proxy.
   */
  readonly addresses?: readonly Network[];
  /**
   * Seconds for which a signal can be cited, and its id is remembered. Default 3600, at most 31 days. Hazard: a webhook
   * without a time of its own (`tradingview`) counts anew when it is sent again later than this.
   */
  readonly keepSeconds: number;
}

/** `"kind": "standard"`: Standard Webhooks 1.0, signed under a shared secret (`v1`) or an Ed25519 key (`v1a`). */
export interface StandardSource extends Source {
  readonly kind: 'standard';
  /**
   * Path of a file with shared secrets, `whsec_<base64>` of 24 to 64 bytes, one per line, at most 8: each of them counts,
   * so that one can be replaced. Default: none. Read again when it changes. Hazard: whoever reads it can send signals;
   * refused when other users may read it, or own it (root excepted).
   */
  readonly secretsFile?: string;
  /**
   * Ed25519 public keys, at most 4: base58 as in policies, or `whpk_<base64>`. Default: none. What such a key signed is
   * verified again in the enclave, where the policy names the key.
   */
  readonly keys: readonly Uint8Array[];
  /** How old a webhook's timestamp may be, in seconds. Default 300, at most 3600. Hazard: longer, and so may replays. */
  readonly toleranceSeconds: number;
}

/** `"kind": "tradingview"`: alerts of TradingView, which signs nothing. Always the host's word. */
export interface TradingViewSource extends Source {
  readonly kind: 'tradingview';
  /**
   * Path of a file with secrets, 16 to 256 printable characters without spaces, one per line, at most 8, as above. Not
   * optional: address and certificate are those of every customer of TradingView.
   */
  readonly secretsFile: string;
  /** Member of a JSON body that holds the secret. Default `secret`. In a body of plain text it is the first line. */
  readonly secretField: string;
  /**
   * Member of a JSON body, text or a whole number, that becomes the signal's id; what ids cannot hold becomes `_`.
   * Default: none, and the id is drawn from the body and the time. Hazard: with one, bodies of plain text are refused.
   */
  readonly idField?: string;
  /**
   * Without `idField`: the same body within so many seconds is the same signal. Default 60. Hazard: shorter than the
   * time between an alert and its repeats it makes two signals of one; longer, one of two.
   */
  readonly repeatSeconds: number;
  /**
   * The header in which a proxy of `trustedProxies` passes the client certificate's name on, and its exact value, for
   * example `{"header": "x-client-cert-dn", "name": "CN=TradingView Webhooks,O=TradingView, Inc."}`. Default: none is
   * asked for. Hazard: the proxy has to verify the certificate, and to remove that header from what clients send.
   */
  readonly certificate?: { readonly header: string; readonly name: string };
}

export type WebhookSource = StandardSource | TradingViewSource;

/** https://www.tradingview.com/support/solutions/43000529348, as of November 2026: IPv4 only. */
export const TRADINGVIEW_ADDRESSES = ['52.89.214.238', '34.212.75.30', '54.218.53.128', '52.32.178.7'];

const KEY_PREFIX = 'whpk_';
/** RFC 9110 section 5.1, as Node spells names. */
const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$/;

/** @throws QvError field_malformed */
export function webhookSources(parent: JsonFields, trustedProxies: readonly Network[]): readonly WebhookSource[] {
  if (parent.optional('webhooks') === undefined) return [];
  const listed = parent.list('webhooks');
  if (listed.length > LIMITS.webhookSources) throw parent.fault('webhooks', 'too many');
  const names = new Set<string>();
  return listed.map((value, index) => {
    const source = readSource(value, `webhooks[${index}]`, trustedProxies);
    if (names.has(source.name)) throw parent.fault(`webhooks[${index}].name`, 'listed twice');
    names.add(source.name);
    return source;
  });
}

function readSource(value: JsonValue, path: string, trustedProxies: readonly Network[]): WebhookSource {
  const fields = new JsonFields(value, path);
  const name = parseName(fields.required('name'), fields.path('name'));
  const keepSeconds = seconds(fields, 'keepSeconds', LIMITS.signalKeepSeconds, LIMITS.signalKeepMaxSeconds);
  const addresses = networks(fields, 'addresses');
  // An empty list admits nobody, which is nobody's intention.
  if (addresses?.length === 0) throw fields.fault('addresses', 'empty');
  const source = { name, keepSeconds, ...(addresses && { addresses }) };
  const kind = fields.text('kind');
  if (kind !== 'standard' && kind !== 'tradingview') throw fields.fault('kind', 'neither standard nor tradingview');
  const read = kind === 'standard' ? standard(fields, source) : tradingView(fields, source, trustedProxies);
  fields.end();
  return read;
}

function standard(fields: JsonFields, source: Source): StandardSource {
  const secretsFile = fields.optional('secretsFile') === undefined ? undefined : absolutePath(fields, 'secretsFile');
  const keys =
    fields.optional('keys') === undefined ? [] : fields.list('keys').map((key, at) => publicKey(fields, key, at));
  if (keys.length > LIMITS.webhookKeys) throw fields.fault('keys', 'too many');
  if (keys.length === 0 && secretsFile === undefined) throw fields.fault('secretsFile', 'missing, and no keys');
  const toleranceSeconds = seconds(
    fields,
    'toleranceSeconds',
    LIMITS.webhookToleranceSeconds,
    LIMITS.webhookToleranceMaxSeconds,
  );
  // A repeat is known by its id: forgotten before its timestamp is too old, it would count again.
  const least = toleranceSeconds + LIMITS.requestMaxFutureSeconds + 1;
  if (source.keepSeconds < least) throw fields.fault('keepSeconds', `less than ${least}, with this toleranceSeconds`);
  return { kind: 'standard', ...source, ...(secretsFile !== undefined && { secretsFile }), keys, toleranceSeconds };
}

function tradingView(fields: JsonFields, source: Source, trustedProxies: readonly Network[]): TradingViewSource {
  const published = TRADINGVIEW_ADDRESSES.flatMap((text) => parseNetwork(text) ?? []);
  const repeatSeconds = seconds(fields, 'repeatSeconds', LIMITS.webhookRepeatSeconds, LIMITS.signalKeepMaxSeconds);
  if (source.keepSeconds < repeatSeconds) throw fields.fault('keepSeconds', 'less than repeatSeconds');
  const certificate =
    fields.optional('certificate') === undefined ? undefined : readCertificate(fields, trustedProxies);
  return {
    kind: 'tradingview',
    addresses: published,
    ...source,
    secretsFile: absolutePath(fields, 'secretsFile'),
    secretField: fields.optional('secretField') === undefined ? 'secret' : member(fields, 'secretField'),
    ...(fields.optional('idField') !== undefined && { idField: member(fields, 'idField') }),
    repeatSeconds,
    ...(certificate && { certificate }),
  };
}

function readCertificate(parent: JsonFields, trustedProxies: readonly Network[]) {
  if (trustedProxies.length === 0) throw parent.fault('certificate', 'without trustedProxies nobody can pass it on');
  const fields = new JsonFields(parent.required('certificate'), parent.path('certificate'));
  const header = fields.text('header');
  if (!HEADER_NAME.test(header)) throw fields.fault('header', 'not the name of a header in lower case');
  const name = fields.text('name');
  if (!/^[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?$/.test(name))
    throw fields.fault('name', 'not a value of a header');
  fields.end();
  return { header, name };
}

function publicKey(fields: JsonFields, value: JsonValue, at: number): Uint8Array {
  const path = `keys[${at}]`;
  if (typeof value !== 'string') throw fields.fault(path, 'not a string');
  try {
    const key = value.startsWith(KEY_PREFIX) ? fromBase64(value.slice(KEY_PREFIX.length)) : fromBase58(value, 32);
    if (key.length === 32 && ed25519Key(key).asymmetricKeyType === 'ed25519') return key;
  } catch {
    // Says the fault below.
  }
  throw fields.fault(path, 'neither base58 nor whpk_<base64> of an Ed25519 key');
}

function member(fields: JsonFields, key: string): string {
  const value = fields.text(key);
  if (!/^[\x21-\x7e]{1,64}$/.test(value)) throw fields.fault(key, 'not the name of a member');
  return value;
}

function seconds(fields: JsonFields, key: string, standard: number, max: number): number {
  if (fields.optional(key) === undefined) return standard;
  const value = fields.integer(key, max);
  if (value === 0) throw fields.fault(key, 'zero');
  return value;
}
