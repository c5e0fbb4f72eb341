import { FACT } from '@quantumvault/shared/evidence/leaf.ts';
import type { JsonFields } from '@quantumvault/shared/json.ts';
import { type FreezeReport, REASON_CHARACTERS } from '../freeze-report.ts';
import { parseFreezeScope } from '../freeze-scope.ts';
import type { AdminDeps } from './deps.ts';

/** @throws QvError field_malformed */
export async function freeze(fields: JsonFields, { freezes }: AdminDeps): Promise<FreezeReport> {
  const scope = parseFreezeScope(fields.text('scope'));
  const reason = fields.text('reason');
  if (reason.length > REASON_CHARACTERS || !FACT.test(reason)) {
    throw fields.fault('reason', `at most ${REASON_CHARACTERS} printable ASCII characters`);
  }
  fields.end();
  return await freezes.freeze(scope, reason);
}
