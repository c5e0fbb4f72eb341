/** Whom the host tells what happens, by signed webhooks (Standard Webhooks, `v1`). */
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { absolutePath } from '../config-fields.ts';

export const ALERT_EVENTS = ['freeze', 'denials', 'trouble', 'tampering', 'succession'] as const;
export type AlertEvent = (typeof ALERT_EVENTS)[number];

export interface AlertEndpoint {
  /**
   * Where alerts are sent by POST; redirects are not followed. Hazard: with http:// whoever carries it reads it; what it
   * says, which wallets are frozen and denied, is nobody else's business.
   */
  readonly url: URL;
  /**
   * Path of a file of secrets `whsec_<base64>`, one per line, of 24 to 64 bytes; each makes a signature, so that the next
   * one goes in front of the last. Hazard: whoever reads it can forge alerts; refused when other users may read it.
   */
  readonly secretsFile: string;
  /**
   * Any of `freeze` (latched, ended), `denials` (bursts), `trouble` (enclave, attestation, credentials, KMS),
   * `tampering` (rows that fail their MAC) and `succession` (successors named, claims of theirs, and their end).
   * Default: all. Hazard: whoever is to learn of a claim in time has this one.
   */
  readonly events: readonly AlertEvent[];
}

/** What is a burst: so many denials of one wallet within so long. */
export interface DenialBurst {
  readonly count: number;
  readonly seconds: number;
}

/** @throws QvError field_malformed naming the field */
export function alertEndpoints(parent: JsonFields): readonly AlertEndpoint[] {
  if (parent.optional('alerts') === undefined) return [];
  const listed = parent.list('alerts');
  if (listed.length > LIMITS.alertEndpoints) throw parent.fault('alerts', 'too many');
  return listed.map((value, index) => endpointOf(value, `alerts[${index}]`));
}

function endpointOf(value: JsonValue, path: string): AlertEndpoint {
  const fields = new JsonFields(value, path);
  const url = URL.parse(fields.text('url'));
  if (url === null || !/^https?:$/.test(url.protocol) || url.hash !== '' || url.username !== '' || url.password !== '')
    throw fields.fault('url', 'not an http(s) address without a login');
  const secretsFile = absolutePath(fields, 'secretsFile');
  const events = eventsOf(fields);
  fields.end();
  return { url, secretsFile, events };
}

function eventsOf(fields: JsonFields): readonly AlertEvent[] {
  if (fields.optional('events') === undefined) return ALERT_EVENTS;
  const listed = fields.list('events');
  const events = ALERT_EVENTS.filter((event) => listed.includes(event));
  if (events.length === 0 || events.length !== listed.length)
    throw fields.fault('events', `some of ${ALERT_EVENTS.join(', ')}, each once`);
  return events;
}

/** @throws QvError field_malformed naming the field */
export function denialBurst(parent: JsonFields): DenialBurst {
  const { denialBurstCount, denialBurstSeconds } = LIMITS;
  if (parent.optional('denialBurst') === undefined) return { count: denialBurstCount, seconds: denialBurstSeconds };
  const fields = new JsonFields(parent.required('denialBurst'), parent.path('denialBurst'));
  const burst = {
    count: fields.integer('count', LIMITS.denialBurstMaxCount),
    seconds: fields.integer('seconds', 86_400),
  };
  for (const key of ['count', 'seconds'] as const) if (burst[key] === 0) throw fields.fault(key, '0');
  fields.end();
  return burst;
}
