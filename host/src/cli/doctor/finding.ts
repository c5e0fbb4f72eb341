/** What qv doctor finds: one line per thing examined, with what to do where something is to be done. */
import { codeOf, ERRORS, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';

/** In the order in which they are examined and shown. Names never change: scripts look for them. */
export const CHECKS = [
  'config',
  'files',
  'addon',
  'admin-socket',
  'http',
  'proxy',
  'tls',
  'database',
  'disk',
  'enclave',
  'credentials',
  'kms',
  'attestation',
  'clock',
  'freezes',
  'witnesses',
  'metrics',
  'ops-page',
] as const;

export type CheckName = (typeof CHECKS)[number];
/** From the best to the worst. */
export const HEALTHS = ['skipped', 'ok', 'warning', 'failed'] as const;
export type Health = (typeof HEALTHS)[number];

export interface Finding {
  readonly check: CheckName;
  readonly health: Health;
  readonly found: string;
  /** What to do; of what is well, a hint. */
  readonly fix?: string;
  readonly code?: ErrorCode;
}

export const ok = (check: CheckName, found: string, fix?: string): Finding => finding('ok', check, found, fix);
export const skipped = (check: CheckName, found: string): Finding => finding('skipped', check, found);
export const warning = (check: CheckName, found: string, fix: string): Finding => finding('warning', check, found, fix);
export const failed = (check: CheckName, found: string, fix: string, code?: ErrorCode): Finding => ({
  ...finding('failed', check, found, fix),
  ...(code !== undefined && { code }),
});

function finding(health: Health, check: CheckName, found: string, fix?: string): Finding {
  return { check, health, found, ...(fix !== undefined && { fix }) };
}

export function worstOf(findings: readonly Finding[]): Health {
  return HEALTHS[Math.max(0, ...findings.map(({ health }) => HEALTHS.indexOf(health)))] ?? 'failed';
}

/** `code (path: value): meaning` */
export function reasonOf(error: unknown): string {
  const code = codeOf(error);
  if (code === 'internal') return error instanceof Error ? error.message : String(error);
  const { path, value } = error instanceof QvError ? error.facts : {};
  const facts = [path, value].filter((fact) => fact !== undefined).join(': ');
  return `${code}${facts === '' ? '' : ` (${facts})`}: ${ERRORS[code].meaning}`;
}

/** `ENOENT`, of whatever the system refused, also behind a code of ours. */
export function systemCodeOf(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (typeof code === 'string' && /^E[A-Z0-9]+$/.test(code)) return code;
  }
  return undefined;
}

/** Why nobody answered, in a few words. */
export function networkFaultOf(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') return 'no answer in time';
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return systemCodeOf(error) ?? code ?? (cause instanceof Error ? cause.message : String(cause));
}
