/** Query parameters that several reads have. Each throws QvError field_malformed with its name. */
import { type Address, address, type TimeMs } from '@quantumvault/shared/brands.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parseTime } from '@quantumvault/shared/rfc3339.ts';

/** A parameter that is given twice arrives as a list, which none of the readers takes. */
export function queryFields(query: unknown): JsonFields {
  return new JsonFields({ ...(query as Record<string, JsonValue>) });
}

/** How many entries at most; default and largest: LIMITS.pageEntries. */
export function limitField(fields: JsonFields): number {
  if (fields.optional('limit') === undefined) return LIMITS.pageEntries;
  const text = fields.text('limit');
  const limit = /^[1-9][0-9]{0,5}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > LIMITS.pageEntries) throw fields.fault('limit', `1 to ${LIMITS.pageEntries}`);
  return limit;
}

export function addressField(fields: JsonFields, key: string): Address | undefined {
  return fields.optional(key) === undefined ? undefined : address(fields.text(key), key);
}

export function timeField(fields: JsonFields, key: string): TimeMs | undefined {
  if (fields.optional(key) === undefined) return undefined;
  const time = parseTime(fields.text(key));
  if (time === undefined) throw fields.fault(key, 'not a time like 2026-11-22T12:00:00Z');
  return time;
}
