/**
 * An order to freeze that no host could take, as `qv kill` leaves it on disk for the next start: one file for each
 * order, one line of strict JSON,
 *
 *   {"version": 1, "scope": text, "reason": text, "orderedAt": RFC 3339 with milliseconds, "boot"?: base58, "freezeId"?: hex}
 *
 * with boot and id when an enclave has acknowledged it.
 */
import { address, type BootId, type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { FACT } from '@quantumvault/shared/evidence/leaf.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { REASON_CHARACTERS } from './freeze-report.ts';
import { parseFreezeScope } from './freeze-scope.ts';
import type { FreezeRecord } from './store/store.ts';

/** A file of this ending is being written; it is renamed once it is on disk. */
export const PART = '.part';

export function encodeMarker({ scope, reason, latchedAt, boot, freezeId }: FreezeRecord): Uint8Array {
  const acknowledged = boot !== undefined && freezeId !== undefined && { boot, freezeId: toHex(freezeId) };
  const order = { version: 1, scope, reason, orderedAt: new Date(latchedAt).toISOString(), ...acknowledged };
  return utf8(`${JSON.stringify(order)}\n`);
}

/** @throws QvError json_malformed, field_malformed, hex_malformed, base58_malformed */
export function parseMarker(bytes: Uint8Array): FreezeRecord {
  const fields = new JsonFields(parseStrictJson(bytes));
  if (fields.integer('version', 1) !== 1) throw fields.fault('version', 'not 1');
  const scope = parseFreezeScope(fields.text('scope'));
  const reason = fields.text('reason');
  if (reason.length > REASON_CHARACTERS || !FACT.test(reason)) throw fields.fault('reason', 'not a reason');
  const record = { scope, reason, latchedAt: orderedAt(fields) };
  if (fields.optional('boot') === undefined && fields.optional('freezeId') === undefined) {
    fields.end();
    return record;
  }
  const boot = address(fields.text('boot'), 'boot') as string as BootId;
  const freezeId = fromHex(fields.text('freezeId'), 'freezeId');
  if (freezeId.length !== 16) throw fields.fault('freezeId', 'not 16 bytes');
  fields.end();
  return { ...record, boot, freezeId };
}

function orderedAt(fields: JsonFields): TimeMs {
  const text = fields.text('orderedAt');
  const time = Date.parse(text);
  // The one spelling: what Date would print.
  if (!(time >= 0) || new Date(time).toISOString() !== text) throw fields.fault('orderedAt', 'not a time');
  return timeMs(time);
}
