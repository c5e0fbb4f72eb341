/**
 * Replies of the admin socket, checked field by field before anybody prints or compares them: the socket may be
 * another program's, or a host's of another version. Fields that are not known yet are let through.
 */
import { isErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import type { AdminCommand, AdminCommands } from '../admin-protocol.ts';
import { readResponse } from '../client/http.ts';

type Shape = Readonly<Record<AdminCommand, (fields: JsonFields) => void>>;

const SHAPES: Shape = {
  freeze: (fields) => {
    fields.text('scope');
    hold(fields, 'host');
    hold(fields, 'database');
    const enclave = hold(fields, 'enclave');
    if (!isHeld(enclave)) return;
    for (const key of ['ack', 'receipt']) inner(enclave, key);
  },
  status: (fields) => {
    fields.text('deployment');
    for (const key of ['draining', 'rowKey', 'store']) flag(fields, key);
    count(fields, 'backlog');
    const freeze = nullable(fields, 'freeze');
    if (freeze !== undefined) for (const key of ['scope', 'reason', 'at']) freeze.text(key);
    const enclave = nullable(fields, 'enclave');
    if (enclave === undefined) return;
    for (const key of ['phase', 'version', 'configHash', 'kmsKeyArn', 'leaves']) enclave.text(key);
    for (const key of ['boot', 'freezeId', 'time']) if (enclave.required(key) !== null) enclave.text(key);
    count(enclave, 'wallets');
  },
  'row-key-create': (fields) => flag(fields, 'created'),
};

/** @throws QvError with the code of a refusal; response_malformed for everything that is no reply to `command` */
export function readAdminReply<C extends AdminCommand>(command: C, line: Uint8Array): AdminCommands[C]['result'] {
  const reply = readResponse(() => new JsonFields(parseStrictJson(line)));
  if (readResponse(() => flag(reply, 'ok'))) {
    const result = readResponse(() => {
      SHAPES[command](inner(reply, 'result'));
      return reply.required('result');
    });
    // The shape has just been checked.
    return result as unknown as AdminCommands[C]['result'];
  }
  throw readResponse(() => refusal(inner(reply, 'error')));
}

function refusal(error: JsonFields): QvError {
  const code = error.required('code');
  if (!isErrorCode(code)) throw error.fault('code', 'unknown');
  const facts = (['path', 'value'] as const).flatMap((key) =>
    error.optional(key) === undefined ? [] : [[key, error.text(key)] as const],
  );
  return new QvError(code, Object.fromEntries(facts));
}

/** Held since when, or why not. */
function hold(fields: JsonFields, key: string): JsonFields {
  const place = inner(fields, key);
  place.text(isHeld(place) ? 'at' : 'code');
  return place;
}

const isHeld = (place: JsonFields): boolean => flag(place, 'held');

const inner = (fields: JsonFields, key: string): JsonFields => new JsonFields(fields.required(key), fields.path(key));

function nullable(fields: JsonFields, key: string): JsonFields | undefined {
  const value: JsonValue = fields.required(key);
  return value === null ? undefined : inner(fields, key);
}

function flag(fields: JsonFields, key: string): boolean {
  const value = fields.required(key);
  if (typeof value !== 'boolean') throw fields.fault(key, 'not a boolean');
  return value;
}

const count = (fields: JsonFields, key: string): number => fields.integer(key, Number.MAX_SAFE_INTEGER);
