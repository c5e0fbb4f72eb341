import { address } from '@quantumvault/shared/brands.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import type { SignedBy } from '@quantumvault/shared/evidence/succession.ts';
import { JsonFields } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ResumeReport } from '../freeze-report.ts';
import { parseFreezeScope } from '../freeze-scope.ts';
import { signatureField } from '../wire-json.ts';
import type { AdminDeps } from './deps.ts';

/**
 * Forms only: who signed, and what, is the enclave's to verify.
 * @throws QvError field_malformed, hex_malformed, base58_malformed, base64_malformed; what Freezes.resume throws
 */
export async function resume(fields: JsonFields, { freezes, session }: AdminDeps): Promise<ResumeReport> {
  const scope = parseFreezeScope(fields.text('scope'));
  const freezeId = fromHex(fields.text('freezeId'), 'freezeId');
  if (freezeId.length !== 16) throw fields.fault('freezeId', 'not 16 bytes');
  const listed = fields.list('signatures');
  if (listed.length === 0 || listed.length > LIMITS.operators) throw fields.fault('signatures', 'none, or too many');
  const signatures: readonly SignedBy[] = listed.map((value, index) => {
    const inner = new JsonFields(value, `signatures[${index}]`);
    const signed = {
      key: address(inner.text('key'), inner.path('key')),
      signature: signatureField(inner, 'signature'),
    };
    inner.end();
    return signed;
  });
  fields.end();
  const report = await freezes.resume(scope, freezeId, signatures);
  // Whether the enclave serves again is known at once, not at the next poll.
  void session.refresh();
  return report;
}
