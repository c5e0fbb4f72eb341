/** Expected PCRs, from the JSON that nitro-cli prints when it builds or describes an image. */
import { fromHex } from '../bytes.ts';
import { QvError } from '../errors.ts';
import { type JsonObject, type JsonValue, parseStrictJson } from '../json.ts';
import { LIMITS } from '../limits.ts';

/** One image that may have signed: every PCR listed must be equal. */
export interface PcrSet {
  /** For the report: a file name, a release. */
  readonly name: string;
  /** At least PCR0; 48 bytes each. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
}

const PCR_NAME = /^PCR(0|[1-9]\d?)$/;
export const PCR_BYTES = 48;

function refuse(name: string, why: string): never {
  throw new QvError('attestation_pcr_set_malformed', { path: name, value: why });
}

/**
 * Reads `{"Measurements": {"HashAlgorithm": "Sha384 { ... }", "PCR0": hex, …}}`, the inner object alone, or an array
 * of either. Among the PCRs other keys are refused: a misspelt PCR must not become an expectation nobody checks.
 *
 * @throws QvError json_malformed, attestation_pcr_set_malformed
 */
export function parsePcrSets(json: Uint8Array, name: string): readonly PcrSet[] {
  const value = parseStrictJson(json);
  const items = Array.isArray(value) ? value : [value];
  // check pcr-set-count: none would be an expectation of nothing
  if (items.length === 0 || items.length > LIMITS.attestationPcrSets) refuse(name, 'number of sets');
  return items.map((item, index) => readPcrSet(item, items.length === 1 ? name : `${name}#${index}`));
}

/** The parsed form of one set. @throws QvError attestation_pcr_set_malformed */
export function readPcrSet(value: JsonValue, name: string): PcrSet {
  const outer = objectOf(value, name);
  const isWrapped = Object.hasOwn(outer, 'Measurements');
  // check pcr-set-wrapped: nitro-cli and qv measure say other things of the image there; a PCR there is misplaced
  if (isWrapped && Object.keys(outer).some((key) => /^pcr/i.test(key))) refuse(name, 'PCR beside Measurements');
  const measurements = isWrapped ? objectOf(outer['Measurements'], name) : outer;
  const pcrs = new Map<number, Uint8Array>();
  for (const [key, measured] of Object.entries(measurements)) {
    if (typeof measured !== 'string') return refuse(name, key);
    if (key === 'HashAlgorithm') {
      // check pcr-set-algorithm: nitro-cli writes "Sha384 { ... }"
      if (!/^Sha384\b/.test(measured)) refuse(name, key);
    } else pcrs.set(indexOf(key, name), measurement(measured, name, key));
  }
  return pcrSet(name, pcrs);
}

/** @throws QvError attestation_pcr_set_malformed */
export function pcrSet(name: string, pcrs: ReadonlyMap<number, Uint8Array>): PcrSet {
  const isValid = [...pcrs].every(
    ([index, value]) =>
      Number.isInteger(index) && index >= 0 && index < LIMITS.attestationPcrIndexes && value.length === PCR_BYTES,
  );
  // check pcr-set-values: what could never match, or match too much, is a mistake
  if (!isValid) refuse(name, 'index or length');
  // check pcr-set-pcr0: an expectation without the image's measurement would accept any image
  if (!pcrs.has(0)) refuse(name, 'PCR0 is missing');
  return { name, pcrs };
}

function indexOf(key: string, name: string): number {
  const digits = PCR_NAME.exec(key)?.[1];
  if (digits === undefined) return refuse(name, 'unknown key');
  return Number(digits);
}

function measurement(hex: string, name: string, key: string): Uint8Array {
  try {
    return fromHex(hex);
  } catch (error) {
    throw new QvError('attestation_pcr_set_malformed', { path: name, value: key }, { cause: error });
  }
}

function objectOf(value: JsonValue | undefined, name: string): JsonObject {
  if (value === undefined || value === null || typeof value !== 'object' || Array.isArray(value))
    return refuse(name, 'not an object');
  return value as JsonObject;
}
