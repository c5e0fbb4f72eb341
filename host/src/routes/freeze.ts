/**
 * POST /v1/freeze, the stop button over HTTP (design 9), in one of two forms:
 *
 *   {"login": name, "code": "123456", "scope": "wallet:<address>" | "requester:<key>", "reason": text}
 *   {"panicCode": text, "reason"?: text}
 *
 * The answer is the FreezeReport: which of host, enclave and database hold.
 */
import { address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { FLEET } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { FACT } from '@quantumvault/shared/evidence/leaf.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { FastifyInstance } from 'fastify';
import type { AppDeps } from '../app.ts';
import { clientOf } from '../client-address.ts';
import { REASON_CHARACTERS } from '../freeze-report.ts';
import { LOGIN_NAME } from '../remote-freeze/operators-file.ts';
import { parsePanicCode } from '../remote-freeze/panic-code.ts';
import type { PanicOrder, SupportOrder } from '../remote-freeze/remote-freeze.ts';
import { sourceOf } from '../remote-freeze/source.ts';
import { TOTP_CODE } from '../remote-freeze/totp.ts';
import { factsOf } from '../request-facts.ts';
import { bodyBytes } from '../wire-json.ts';

export const FREEZE_ROUTE = '/v1/freeze';

export function freezeRoute(app: FastifyInstance, { remoteFreeze, trustedProxies }: AppDeps): void {
  app.post(FREEZE_ROUTE, { bodyLimit: LIMITS.freezeBodyBytes }, async (request) => {
    const fields = new JsonFields(parseStrictJson(bodyBytes(request.body)));
    const source = sourceOf(clientOf(request.raw, trustedProxies).address);
    const byPanicCode = fields.optional('panicCode') !== undefined;
    const report = byPanicCode
      ? await remoteFreeze.byPanicCode(source, panicOrder(fields))
      : await remoteFreeze.bySupport(source, supportOrder(fields));
    const [kind, wallet] = report.scope.split(':');
    if (kind === 'wallet' && wallet !== undefined) factsOf(request).wallet = wallet;
    return report;
  });
}

/** @throws QvError field_malformed, base58_malformed, freeze_scope_forbidden */
function supportOrder(fields: JsonFields): SupportOrder {
  const login = matching(fields, 'login', LOGIN_NAME);
  const code = matching(fields, 'code', TOTP_CODE);
  const scope = scopeField(fields);
  const reason = reasonField(fields, `support ${login}: `);
  fields.end();
  return { login, code, scope, reason };
}

/** @throws QvError field_malformed */
function panicOrder(fields: JsonFields): PanicOrder {
  const code = parsePanicCode(fields.text('panicCode'), 'panicCode');
  const reason = fields.optional('reason') === undefined ? 'panic code' : reasonField(fields, 'panic code: ');
  fields.end();
  return { code, reason };
}

function scopeField(fields: JsonFields): SupportOrder['scope'] {
  const scope = fields.text('scope');
  if (scope === FLEET) throw new QvError('freeze_scope_forbidden', { path: 'scope' });
  const [kind, key = '', ...more] = scope.split(':');
  if (more.length === 0 && kind === 'wallet') return { wallet: address(key, 'scope') };
  if (more.length === 0 && kind === 'requester') return { requester: address(key, 'scope') };
  throw fields.fault('scope', 'neither wallet:<address> nor requester:<key>');
}

/** Says who froze. The record of the enclave takes REASON_CHARACTERS in all, and cutting a reason could turn it round. */
function reasonField(fields: JsonFields, who: string): string {
  const text = fields.text('reason');
  const room = REASON_CHARACTERS - who.length;
  if (text.length === 0 || text.length > room || !FACT.test(text))
    throw fields.fault('reason', `1 to ${room} printable ASCII characters`);
  return who + text;
}

/** What was sent is not repeated in the fault. */
function matching(fields: JsonFields, key: string, pattern: RegExp): string {
  const value = fields.text(key);
  if (!pattern.test(value)) throw fields.fault(key, `must match ${pattern.source}`);
  return value;
}
