/** The checklist of an audit while it is made: what each step found, and every finding counted. */
import type { BootId } from '../../brands.ts';
import { codeOf, type ErrorCode, QvError } from '../../errors.ts';
import { LIMITS } from '../../limits.ts';
import type { AuditStep, Finding } from './types.ts';

/** Every step, in the order of the report. */
export const STEPS = {
  boots: 'the boots of the deployment are listed, and none that was seen before is gone',
  attestation: 'each boot runs an allowed image: its first leaf holds the attestation of its key',
  checkpoints: 'each checkpoint is signed by its boot key and names its log',
  witnesses: 'enough witnesses have cosigned each checkpoint',
  entries: 'every leaf is in its place, whole and unchanged',
  roots: 'the leaves are those of the checkpoint, all of them',
  history: 'the logs contain every state that was seen before',
  chain: 'each boot continues another one, except for the first',
  wallets: 'each wallet is held by one boot, and its versions have no gap',
  policies: 'each signature was made under the enabled policy, for a requester of it, within its limits',
  windows: 'no sum or rate was above what the policy allowed',
  freezes: 'nothing was signed under a freeze',
  repeats: 'requests that were signed again are those signed before',
  receipts: 'the receipts held by others are in the log',
  chainSignatures: 'the signatures found on chain are in the log',
} as const;
export type StepName = keyof typeof STEPS;

/** Where something was found. */
export type Place = Pick<Finding, 'boot' | 'sequence' | 'wallet'>;

export class Checklist {
  readonly #findings: Finding[] = [];
  readonly #first = new Map<StepName, Finding>();
  readonly #counts = new Map<StepName, number>();
  #count = 0;

  get findings(): readonly Finding[] {
    return this.#findings;
  }

  get count(): number {
    return this.#count;
  }

  add(step: StepName, code: ErrorCode, place: Place, detail: string): void {
    const finding: Finding = { code, ...place, detail };
    this.#count++;
    this.#counts.set(step, (this.#counts.get(step) ?? 0) + 1);
    if (!this.#first.has(step)) this.#first.set(step, finding);
    if (this.#findings.length < LIMITS.auditFindings) this.#findings.push(finding);
  }

  /** A refusal of a check as its finding; what is no refusal goes on as the fault it is. */
  refusal(step: StepName, error: unknown, place: Place, what: string): void {
    if (!(error instanceof QvError)) throw error;
    const { path, value } = error.facts;
    const facts = [path, value].filter((fact) => fact !== undefined).join(': ');
    this.add(step, codeOf(error), place, facts === '' ? what : `${what} (${facts})`);
  }

  /** @param passed what each step found where nothing was wrong; undefined where there was nothing to check */
  steps(passed: Readonly<Record<StepName, string | undefined>>): readonly AuditStep[] {
    return (Object.keys(STEPS) as StepName[]).map((name) => {
      const base = { name, title: STEPS[name] };
      const first = this.#first.get(name);
      if (first !== undefined) {
        const more = (this.#counts.get(name) ?? 1) - 1;
        const found = `${placeText(first)}${first.detail}${more > 0 ? `; ${more} more` : ''}`;
        return { ...base, status: 'fail', found, code: first.code };
      }
      const found = passed[name];
      return found === undefined
        ? { ...base, status: 'skipped', found: 'none to check' }
        : { ...base, status: 'pass', found };
    });
  }
}

function placeText({ boot, sequence }: { boot?: BootId; sequence?: bigint }): string {
  if (boot === undefined) return '';
  return sequence === undefined ? `${boot}: ` : `${boot}/${sequence}: `;
}
