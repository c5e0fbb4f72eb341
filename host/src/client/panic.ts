/** The owner's stop button: freezes one wallet with the panic code that came with its policy. No key is needed. */
import { isErrorCode } from '@quantumvault/shared/errors.ts';
import { JsonFields } from '@quantumvault/shared/json.ts';
import { formatPanicCode, parsePanicCode } from '../remote-freeze/panic-code.ts';
import { type Connection, exchange, readResponse } from './http.ts';
import { jsonBody } from './wire.ts';

export interface PanicOptions {
  /** As it was written down: letters of either size, with or without hyphens and spaces. */
  readonly panicCode: string;
  /** For the record: printable ASCII, at most 188 characters. */
  readonly reason?: string;
  readonly signal?: AbortSignal;
}

/** One place that should hold the freeze: since when (RFC 3339), or why not. */
export type Held = { readonly held: true; readonly at: string } | { readonly held: false; readonly code: string };

/** The host's word; nothing of it is verified. */
export interface PanicAnswer {
  /** `wallet:<address>` */
  readonly scope: string;
  readonly host: Held;
  /** Every enclave of the deployment. */
  readonly enclaves: readonly Held[];
  readonly database: Held;
}

/**
 * May be repeated: what is frozen stays frozen.
 * @throws QvError field_malformed before anybody is asked, when it is no panic code; HostProblem:
 * freeze_credentials_invalid, source_slowed; host_unreachable, response_malformed
 */
export async function panic(connection: Connection, options: PanicOptions): Promise<PanicAnswer> {
  const { panicCode, reason, signal } = options;
  const code = formatPanicCode(parsePanicCode(panicCode, 'panicCode'));
  const fields = await exchange(connection, {
    method: 'POST',
    path: 'v1/freeze',
    signal,
    body: jsonBody({ panicCode: code, ...(reason !== undefined && { reason }) }),
  });
  return readResponse(() => ({
    scope: fields.text('scope'),
    host: heldField(fields, 'host'),
    enclaves: fields
      .list('enclaves')
      .map((value, index) => held(new JsonFields(value, fields.path(`enclaves[${index}]`)))),
    database: heldField(fields, 'database'),
  }));
}

function heldField(fields: JsonFields, key: string): Held {
  return held(new JsonFields(fields.required(key), fields.path(key)));
}

function held(inner: JsonFields): Held {
  const isHeld = inner.optionalBoolean('held');
  if (isHeld === undefined) throw inner.fault('held', 'missing');
  if (isHeld) return { held: true, at: inner.text('at') };
  const code = inner.text('code');
  if (!isErrorCode(code)) throw inner.fault('code', 'unknown');
  return { held: false, code };
}
