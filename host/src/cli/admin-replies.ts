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
    const enclaves = items(fields, 'enclaves');
    if (enclaves.length === 0) throw fields.fault('enclaves', 'none');
    for (const enclave of enclaves) {
      enclave.text('enclave');
      holdIn(enclave);
      if (isHeld(enclave)) for (const key of ['ack', 'receipt']) inner(enclave, key);
    }
  },
  resume: (fields) => {
    fields.text('scope');
    for (const key of ['ack', 'receipt']) inner(fields, key);
    for (const key of ['host', 'database']) {
      const place = inner(fields, key);
      place.text(flag(place, 'cleared') ? 'at' : 'code');
    }
  },
  metrics: (fields) => void fields.text('text'),
  status: (fields) => {
    fields.text('deployment');
    for (const key of ['draining', 'rowKey', 'store']) flag(fields, key);
    const credentials = inner(fields, 'credentials');
    credentials.text('state');
    if (credentials.required('expiresAt') !== null) credentials.text('expiresAt');
    const fault = credentials.required('fault');
    if (fault !== null && !isErrorCode(fault)) throw credentials.fault('fault', 'unknown');
    fields.text('rowKeyState');
    const rowKeyFault = fields.required('rowKeyFault');
    if (rowKeyFault !== null && !isErrorCode(rowKeyFault)) throw fields.fault('rowKeyFault', 'unknown');
    if (fields.required('walletsWithoutSecond') !== null) count(fields, 'walletsWithoutSecond');
    count(fields, 'backlog');
    count(fields, 'freezeCount');
    for (const freeze of items(fields, 'freezes')) {
      for (const key of ['scope', 'reason', 'at']) freeze.text(key);
      for (const key of ['boot', 'freezeId']) if (freeze.required(key) !== null) freeze.text(key);
    }
    const enclave = nullable(fields, 'enclave');
    if (enclave === undefined) return;
    for (const key of ['phase', 'version', 'configHash', 'kmsKeyArn', 'leaves']) enclave.text(key);
    for (const key of ['boot', 'bornAt', 'freezeId', 'time']) if (enclave.required(key) !== null) enclave.text(key);
    for (const key of items(enclave, 'kmsKeys')) {
      for (const name of ['keyArn', 'use']) key.text(name);
      flag(key, 'avoided');
    }
    count(enclave, 'wallets');
    const said = nullable(enclave, 'freezes');
    if (said === undefined) return;
    count(said, 'count');
    for (const freeze of items(said, 'held')) for (const key of ['scope', 'freezeId']) freeze.text(key);
  },
  wallets: (fields) => {
    for (const item of fields.list('wallets'))
      if (typeof item !== 'string') throw fields.fault('wallets', 'not a list of strings');
  },
  release: (fields) => {
    for (const key of ['bytes', 'signature']) inner(fields, 'release').text(key);
    for (const key of ['blob', 'version']) inner(fields, 'state').text(key);
  },
  take: (fields) => {
    fields.text('version');
    flag(fields, 'already');
  },
  'lease-show': (fields) => count(fields, 'given'),
  'migration-begin': (fields) => flag(fields, 'begun'),
  'migration-row': (fields) => {
    const outcome = fields.text('outcome');
    if (!['migrated', 'there', 'opens'].includes(outcome)) throw fields.fault('outcome', 'unknown');
    if (outcome !== 'migrated') return;
    for (const key of ['bytes', 'signature']) inner(fields, 'certificate').text(key);
    for (const key of ['leaf', 'signature']) inner(fields, 'receipt').text(key);
  },
  'migration-end': (fields) => flag(fields, 'ended'),
  publish: (fields) => flag(fields, 'published'),
  'wallet-rotate': (fields) => {
    flag(fields, 'rotated');
    fields.text('at');
  },
  'row-key-create': (fields) => flag(fields, 'created'),
  'row-key-rotate': (fields) => {
    flag(fields, 'begun');
    rowKeyReport(fields);
  },
  'row-key-status': rowKeyReport,
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

function rowKeyReport(fields: JsonFields): void {
  if (!['current', 'replacing', 'edited', 'unknown'].includes(fields.text('state')))
    throw fields.fault('state', 'unknown');
  for (const key of ['key', 'since', 'replaces']) if (fields.required(key) !== null) fields.text(key);
  for (const key of ['examined', 'resealed', 'editedCount']) count(fields, key);
  for (const wallet of fields.list('edited'))
    if (typeof wallet !== 'string') throw fields.fault('edited', 'not a list of strings');
  const fault = fields.required('fault');
  if (fault !== null && !isErrorCode(fault)) throw fields.fault('fault', 'unknown');
}

/** Held since when, or why not. */
function hold(fields: JsonFields, key: string): void {
  holdIn(inner(fields, key));
}

function holdIn(place: JsonFields): void {
  place.text(isHeld(place) ? 'at' : 'code');
  if (isHeld(place)) count(place, 'elapsedMilliseconds');
}

const items = (fields: JsonFields, key: string): readonly JsonFields[] =>
  fields.list(key).map((value, index) => new JsonFields(value, `${fields.path(key)}[${index}]`));

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
