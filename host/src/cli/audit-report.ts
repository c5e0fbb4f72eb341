/** What an audit found, for people and machines: the same from every command that makes one. */
import { createHash } from 'node:crypto';
import { isoTime } from '@quantumvault/shared/attestation/chain.ts';
import { hash, timeMs } from '@quantumvault/shared/brands.ts';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import type { AuditDeps, AuditedBoot, AuditReport, Finding } from '@quantumvault/shared/evidence/audit/types.ts';
import { verifyEd25519 } from '../client/keys.ts';
import { failureJson, stepLines } from './checklist.ts';
import { countText } from './progress.ts';
import { cross, printable, type Style } from './terminal.ts';

export const AUDIT_DEPS: AuditDeps = {
  verifyEd25519,
  sha256: (bytes) => hash(Uint8Array.from(createHash('sha256').update(bytes).digest())),
};

/** Keys and meanings are stable. */
export function auditJson(report: AuditReport): Readonly<Record<string, unknown>> {
  const [first] = report.findings;
  const step = report.steps.find(({ status }) => status === 'fail')?.name ?? '';
  return {
    steps: report.steps,
    ...(first && { error: failureJson(first, step) }),
    findings: report.findings.map(findingJson),
    findingCount: report.findingCount,
    boots: report.boots.map(({ size, from, to, cosignedAt, ...boot }) => ({
      ...(cosignedAt !== undefined && { cosignedAt: isoTime(cosignedAt) }),
      ...boot,
      size: String(size),
      from: isoTime(from),
      to: isoTime(to),
    })),
    leaves: String(report.leaves),
    kinds: report.kinds,
    claims: report.claims.map(({ claimedAt, dueAt, ...claim }) => ({
      ...claim,
      claimedAt: isoTime(claimedAt),
      dueAt: isoTime(dueAt),
    })),
  };
}

/** The checklist, and whatever was found wrong. */
export function auditLines(report: AuditReport, style: Style): readonly string[] {
  return [...report.steps.flatMap((step) => stepLines(step, style)), ...findingLines(report, style)];
}

/** Successors' claims: no fault, and what an owner looks for. */
export function claimRows({ claims }: AuditReport): readonly (readonly [string, string])[] {
  return claims.map(({ wallet, successor, dueAt }) => [
    'Claimed',
    `${wallet} by ${successor}; its owner can cancel until ${isoTime(dueAt)}`,
  ]);
}

export function bootText({ size, from, to, witnesses, cosignedAt, follows }: AuditedBoot): string {
  return [
    `${countText(size)} leaves, ${isoTime(from)} to ${isoTime(to)}`,
    ...(follows === undefined ? [] : [`continues ${follows}`]),
    witnesses.length === 0
      ? 'no witness'
      : `cosigned by ${witnesses.map(printable).join(', ')} at ${isoTime(cosignedAt ?? timeMs(0))}`,
  ].join('; ');
}

/** `12 leaves: 3 boot, 9 signed` */
export function leavesText({ leaves, kinds }: AuditReport): string {
  const each = Object.entries(kinds).map(([kind, count]) => `${countText(count)} ${kind}`);
  return `${countText(leaves)} leaves${each.length === 0 ? '' : `: ${each.join(', ')}`}`;
}

function findingJson({ sequence, ...finding }: Finding): Readonly<Record<string, unknown>> {
  return { ...finding, ...(sequence !== undefined && { sequence: String(sequence) }) };
}

function findingLines({ findings, findingCount }: AuditReport, style: Style): readonly string[] {
  if (findings.length === 0) return [];
  const hidden = findingCount - findings.length;
  return [
    '',
    style('bold', `Findings (${countText(findingCount)})`),
    ...findings.flatMap((finding) => {
      const { code, boot, sequence, wallet, detail } = finding;
      const places = [
        ...(boot === undefined ? [] : [`boot ${boot}${sequence === undefined ? '' : `, leaf ${sequence}`}`]),
        ...(wallet === undefined ? [] : [`wallet ${wallet}`]),
      ];
      return [
        `${cross(style)} ${style('red', code)}  ${ERRORS[code].meaning}`,
        ...places.map((place) => `    ${style('dim', printable(place))}`),
        `    ${printable(detail)}`,
      ];
    }),
    ...(hidden > 0 ? [style('yellow', `  and ${countText(hidden)} more`)] : []),
  ];
}
