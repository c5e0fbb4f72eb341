/** The verdict and the checklist behind it. */
import type { StepOf } from '@quantumvault/shared/attestation/checklist.ts';
import { codeOf, ERRORS, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { type Child, el } from './dom.ts';

const MARKS = { pass: '✓', fail: '✗', skipped: '–', 'not-reached': '' } as const;
/** Said by screen readers in place of the marks. */
const WORDS = { pass: 'Passed', fail: 'Failed', skipped: 'Not asked for', 'not-reached': 'Not reached' } as const;

export function notice(kind: 'good' | 'bad' | 'warn', headline: string, ...lines: readonly Child[]): HTMLElement {
  return el('div', `notice ${kind}`, el('p', 'headline', headline), ...lines.map((line) => el('p', '', line)));
}

/** @param proves what it is worth that every check passes */
export function verdict(proves: string): HTMLElement {
  return notice('good', '✓ Verified: every check passes', proves);
}

export function refusal({ code }: { readonly code: ErrorCode }): HTMLElement {
  return notice('bad', '✗ Not verified', ERRORS[code].meaning, el('code', '', code));
}

/** Input that cannot be judged at all. */
export function unusable(error: unknown): HTMLElement {
  const code = codeOf(error);
  const { path, value } = error instanceof QvError ? error.facts : {};
  const where = [path, value].filter((fact) => fact !== undefined).join(': ');
  const detail = where === '' ? code : `${code} (${where})`;
  return notice('warn', 'No verdict: the input is unusable', ERRORS[code].meaning, el('code', '', detail));
}

export function checklist(steps: readonly StepOf<string>[]): HTMLElement {
  return el('ol', 'steps', ...steps.map(stepItem));
}

function stepItem(step: StepOf<string>): HTMLElement {
  const { status, title, found } = step;
  const mark = el('span', 'mark', MARKS[status]);
  mark.ariaHidden = 'true';
  const item = el('li', status, mark, el('span', 'title', el('span', 'hidden-text', `${WORDS[status]}: `), title));
  if (status === 'not-reached') item.append(el('span', 'found', 'not reached'));
  if (found !== '') item.append(el('span', 'found', found));
  if (status === 'fail') item.append(el('span', 'found', el('code', '', step.code)));
  return item;
}
