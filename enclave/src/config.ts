/**
 * The measured configuration: one strict JSON file inside the image, so that PCR0 and PCR2 cover it and nobody who
 * runs the host can change it. Its SHA-256 is in every attestation's `user_data`.
 *
 * ```jsonc
 * { "version": 1,
 *   "deployment": "prod-eu-1",            // signed inside every request as `audience`
 *   "logOrigin": "example.com/qv/prod-eu-1", // names the log in checkpoints (C2SP tlog-checkpoint)
 *   "kms": { "keyArn": "arn:aws:kms:…:key/…", // the full ARN: aliases can be moved
 *            "endpoint": "https://kms.eu-central-1.amazonaws.com",
 *            "rootCertificates": ["-----BEGIN CERTIFICATE-----…"], // the only roots trusted for TLS
 *            "replicas": […], "previous": […] }, // optional: further keys, see kms-config.ts
 *   "unwrappedKeys": { "timeToLiveSeconds": 30, "count": 256 }, // optional: how long an execution key stays
 *                                         // unwrapped, and how many do; without it each use asks KMS
 *   "migration": true,                    // optional: operators may bring wallets of v2 in (migrate.ts)
 *   "parentCid": 3,                       // the one vsock peer
 *   "operators": { "threshold": 2, "keys": ["…", "…", "…"] }, // M of N, 2M > N
 *   "witnesses": { "threshold": 2, "keys": ["name+id+…", …] } } // optional; C2SP verifier keys of type 0x04
 * ```
 */
import { type Address, address, type Hash } from '@quantumvault/shared/brands.ts';
import { deepFreeze } from '@quantumvault/shared/deep-freeze.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { DEPLOYMENT_NAME } from '@quantumvault/shared/names.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { checkDistinct, parseVerifierKey, type VerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import type { KeepFor } from './kept-keys.ts';
import { type KmsConfig, parseKms } from './kms-config.ts';

export interface EnclaveConfig {
  readonly deployment: string;
  readonly logOrigin: string;
  readonly kms: KmsConfig;
  readonly unwrappedKeys?: KeepFor;
  /** Operators may bring wallets of v2 in. */
  readonly migration?: true;
  readonly parentCid: number;
  readonly operators: { readonly threshold: number; readonly keys: readonly Address[] };
  /** A signature is held back until so many of them have cosigned its leaf; 0 without witnesses (design 10). */
  readonly witnesses: { readonly threshold: number; readonly keys: readonly VerifierKey[] };
  /** SHA-256 of the file. */
  readonly hash: Hash;
}

const ORIGIN = /^[a-z0-9][a-z0-9./-]{0,126}$/;

const invalid = (path: string, why: string): QvError => new QvError('config_invalid', { path, value: why });

/** @throws QvError config_invalid naming the path */
export function parseEnclaveConfig(bytes: Uint8Array): EnclaveConfig {
  try {
    const fields = new JsonFields(parseStrictJson(bytes));
    if (fields.integer('version', 1) !== 1) throw invalid('version', 'not 1');
    const deployment = matching(fields, 'deployment', DEPLOYMENT_NAME);
    const logOrigin = matching(fields, 'logOrigin', ORIGIN);
    const kms = parseKms(fields);
    const unwrappedKeys = parseUnwrappedKeys(fields);
    const migration = parseMigration(fields);
    // 2^32 - 1 is "any": the parent is one peer (design 8).
    const parentCid = fields.integer('parentCid', 0xffff_fffe);
    const operators = parseOperators(fields);
    const witnesses = parseWitnesses(fields);
    fields.end();
    return deepFreeze({
      deployment,
      logOrigin,
      kms,
      ...(unwrappedKeys && { unwrappedKeys }),
      ...(migration && { migration }),
      parentCid,
      operators,
      witnesses,
      hash: sha256(bytes),
    });
  } catch (error) {
    if (!(error instanceof QvError) || error.code === 'config_invalid') throw error;
    throw new QvError('config_invalid', error.facts, { cause: error });
  }
}

function parseUnwrappedKeys(parent: JsonFields): KeepFor | undefined {
  const value = parent.optional('unwrappedKeys');
  if (value === undefined) return undefined;
  const fields = new JsonFields(value, 'unwrappedKeys');
  const timeToLiveSeconds = fields.integer('timeToLiveSeconds', LIMITS.unwrappedKeySeconds);
  const count = fields.integer('count', LIMITS.unwrappedKeys);
  // Whoever wants nothing kept leaves the field out: zeros would look like a setting.
  if (timeToLiveSeconds === 0) throw invalid('unwrappedKeys.timeToLiveSeconds', '0');
  if (count === 0) throw invalid('unwrappedKeys.count', '0');
  fields.end();
  return { timeToLiveSeconds, count };
}

/** Whoever wants none leaves it out, as with the others. */
function parseMigration(fields: JsonFields): true | undefined {
  const value = fields.optionalBoolean('migration');
  if (value === false) throw invalid('migration', 'false');
  return value;
}

function parseOperators(parent: JsonFields): EnclaveConfig['operators'] {
  const fields = new JsonFields(parent.required('operators'), 'operators');
  const keys = fields.list('keys').map((value, index) => {
    if (typeof value !== 'string') throw invalid(`operators.keys[${index}]`, 'not a string');
    return address(value, `operators.keys[${index}]`);
  });
  const threshold = fields.integer('threshold', keys.length);
  // Two disjoint groups of operators must never both be enough (design 1).
  if (2 * threshold <= keys.length) throw invalid('operators.threshold', 'must be more than half of the keys');
  if (new Set(keys).size !== keys.length) throw invalid('operators.keys', 'duplicate');
  fields.end();
  return { threshold, keys };
}

function parseWitnesses(parent: JsonFields): EnclaveConfig['witnesses'] {
  const value = parent.optional('witnesses');
  if (value === undefined) return { threshold: 0, keys: [] };
  const fields = new JsonFields(value, 'witnesses');
  const listed = fields.list('keys');
  if (listed.length > LIMITS.witnesses) throw invalid('witnesses.keys', 'too many');
  const keys = listed.map((text, index) => witnessKey(text, `witnesses.keys[${index}]`));
  const threshold = fields.integer('threshold', keys.length);
  // Whoever wants no witnesses leaves the field out: a threshold of 0 beside a list of keys would look like some.
  if (threshold === 0) throw invalid('witnesses.threshold', '0');
  fields.end();
  try {
    checkDistinct(keys);
  } catch (error) {
    throw new QvError('config_invalid', { path: 'witnesses.keys', value: 'duplicate' }, { cause: error });
  }
  return { threshold, keys };
}

function witnessKey(text: unknown, path: string): VerifierKey {
  try {
    const key = parseVerifierKey(typeof text === 'string' ? text : '');
    if (key.type === 'cosignature') return key;
  } catch (error) {
    throw new QvError('config_invalid', { path, value: 'not a verifier key' }, { cause: error });
  }
  throw invalid(path, 'not of type 0x04');
}

function matching(fields: JsonFields, key: string, pattern: RegExp): string {
  const value = fields.text(key);
  if (!pattern.test(value)) throw invalid(fields.path(key), 'not of the required form');
  return value;
}
