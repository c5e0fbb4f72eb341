/** What a boot left behind, by an audit of the whole log that this operator makes himself. */
import type { BootId } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { auditLog } from '@quantumvault/shared/evidence/audit/audit.ts';
import type { AuditReport, Estate } from '@quantumvault/shared/evidence/audit/types.ts';
import type { Trust } from '../../client/attestation.ts';
import { AUDIT_DEPS, auditJson, auditLines } from '../audit-report.ts';
import { notVerified } from '../checklist.ts';
import type { Arguments, Output, Result } from '../command.ts';
import { openLogs } from '../log-source.ts';
import { inLeaves, progressBar } from '../progress.ts';
import { expectedSets, witnessOptions } from '../trust-options.ts';

export interface AuditedEstate {
  readonly report: AuditReport;
  /** Undefined when the log does not hold. */
  readonly estate: Estate | undefined;
}

/**
 * @param log as qv verify log takes it
 * @param more what else is known of the log and its root
 * @throws QvError log_unknown when that boot has no log there; what reading it throws
 */
export async function auditedEstate(
  args: Arguments,
  log: string,
  boot: BootId,
  more: Pick<Trust, 'unsafeTrustedRootDer' | 'logOrigin'>,
  { stderr }: Output,
): Promise<AuditedEstate> {
  const bar = progressBar(stderr, 'Verifying', { amounts: inLeaves });
  try {
    const onProgress = (leaves: bigint, of: bigint): void => bar.update(Number(leaves), Number(of));
    const expected = { pcrSets: expectedSets(args), ...more, ...witnessOptions(args) };
    const report = await auditLog(await openLogs(log), expected, { ...AUDIT_DEPS, onProgress });
    if (!report.ok) return { report, estate: undefined };
    const estate = report.estateOf(boot);
    if (estate === undefined) throw new QvError('log_unknown', { path: boot });
    return { report, estate };
  } finally {
    bar.clear();
  }
}

/** @param then what was not done because of it */
export function logDoesNotHold(report: AuditReport, warnings: readonly string[], then: string): Result {
  return {
    exit: 'failed',
    json: { warnings, ...auditJson(report) },
    text: (style) => [
      ...auditLines(report, style),
      '',
      ...notVerified(report.findings[0]?.code ?? 'internal', style),
      `  ${then}: a lease goes by a log that holds.`,
    ],
  };
}
