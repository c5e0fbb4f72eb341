/** Checklists on the terminal: what `qv verify` prints of each step, whatever it verifies. */
import { ERRORS, type ErrorCode, type ErrorFacts } from '@quantumvault/shared/errors.ts';
import { cross, printable, type Style, tick } from './terminal.ts';

/** A step of any checklist of ours. */
export interface CheckedStep {
  readonly title: string;
  readonly status: 'pass' | 'fail' | 'skipped' | 'not-reached';
  readonly found: string;
  readonly code?: ErrorCode;
}

export function stepLines(step: CheckedStep, style: Style, indent = ''): readonly string[] {
  const marks = { pass: tick(style), fail: cross(style), skipped: style('yellow', '–'), 'not-reached': ' ' };
  const title = step.status === 'fail' ? style('red', step.title) : step.title;
  const found = step.status === 'not-reached' ? 'not reached' : printable(step.found);
  const code = step.status === 'fail' && step.code !== undefined ? [`    ${style('red', step.code)}`] : [];
  const lines = [`${marks[step.status]} ${title}`, ...(found === '' ? [] : [`    ${style('dim', found)}`]), ...code];
  return lines.map((line) => indent + line);
}

export function notVerified(code: ErrorCode, style: Style): readonly string[] {
  return [
    `${cross(style)} ${style(['bold', 'red'], 'NOT verified')}: ${style('bold', code)}`,
    `  ${ERRORS[code].meaning}`,
  ];
}

/** As for every refusal of qv, and the step besides. */
export function failureJson(
  { code, facts = {} }: { readonly code: ErrorCode; readonly facts?: ErrorFacts },
  step: string,
): Readonly<Record<string, unknown>> {
  const { meaning, retryable } = ERRORS[code];
  return { step, code, meaning, retryable, ...facts };
}
