/** What the tests of audits share. */
import type { BootId } from '@quantumvault/shared/brands.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { auditLog } from '@quantumvault/shared/evidence/audit/audit.ts';
import type { AuditExpectations, AuditReport, Finding } from '@quantumvault/shared/evidence/audit/types.ts';
import { expect } from 'vitest';
import { noteCode } from '../../../support/codes-seen.ts';
import { auditDeps, type Deployment, type Served, type ServedLog, sourceOf } from '../../../support/log-builder.ts';

export function auditOf(
  deployment: Deployment,
  change: Partial<AuditExpectations> = {},
  served: Served = deployment.serve(),
): Promise<AuditReport> {
  return auditLog(sourceOf(served), deployment.expectations(change), auditDeps);
}

/** The finding of that code, which has to be there; the report has to say no. */
export function findingOf(report: AuditReport, code: ErrorCode): Finding {
  expect(report.ok).toBe(false);
  expect(report.seen).toBeUndefined();
  expect(report.steps.some((step) => step.status === 'fail')).toBe(true);
  const found = report.findings.find((finding) => finding.code === code);
  expect(
    report.findings.map((finding) => finding.code),
    code,
  ).toContain(code);
  noteCode(code);
  return found as Finding;
}

export const codesOf = ({ findings }: AuditReport): ErrorCode[] => findings.map(({ code }) => code);

export function servedLog({ logs }: Served, boot: BootId): ServedLog {
  const log = logs.get(boot);
  if (log === undefined) throw new Error('no such log');
  return log;
}
