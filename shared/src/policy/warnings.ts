/** What a legal policy leaves open. `qv policy check` prints these; the owner's statement repeats those on programs. */
import type { Policy } from './policy.ts';
import type { InstructionRule } from './program-rules.ts';

/** Each weakness, as `qv policy check` explains it. */
export const WEAKNESSES = {
  'program-upgradeable': 'Whoever may upgrade this program can take what the wallet passes to it.',
  'rule-counts-nothing':
    'No data rule spends and no bracket bounds: what this instruction takes counts against no limit.',
  'bracket-upgradeable': 'Whoever may upgrade the assertion program can make it assert nothing.',
  'rule-bounds-no-price': 'No minPerSpent: the wallet may get nothing for what it spends.',
  'host-verified': 'Only the host verifies this source: whoever controls the host can invent its signals.',
  'no-window': 'Without a window the limit holds for one transaction, and their number has none.',
} as const;
export type Weakness = keyof typeof WEAKNESSES;

export interface Warning {
  readonly path: string;
  readonly weakness: Weakness;
}

export function policyWarnings(policy: Policy): readonly Warning[] {
  const warnings: Warning[] = [];
  const warn = (applies: boolean, path: string, weakness: Weakness): void => {
    if (applies) warnings.push({ path, weakness });
  };
  for (const [index, source] of (policy.signals?.sources ?? []).entries())
    warn('hostVerified' in source, `signals.sources[${index}]`, 'host-verified');
  // A rate bounds fees as well as a window does.
  const isDrainable = policy.fees.window === undefined && policy.rate === undefined;
  warn(isDrainable && policy.fees.maxLamports > 0n, 'fees', 'no-window');
  const limits = [policy.sol, ...policy.tokens];
  for (const [index, limit] of limits.entries())
    warn(
      limit.window === undefined && limit.maxPerTransaction > 0n,
      index === 0 ? 'sol' : `tokens[${index - 1}]`,
      'no-window',
    );
  for (const [index, { instructions }] of policy.programs.entries()) {
    // Nothing off chain proves that a program is final, so every one may be upgraded under the rule.
    warn(true, `programs[${index}].program`, 'program-upgradeable');
    for (const [position, rule] of instructions.entries()) {
      const path = `programs[${index}].instructions[${position}]`;
      warn(rule.bracketedBy !== undefined, `${path}.bracketedBy`, 'bracket-upgradeable');
      warn(!counts(rule), path, 'rule-counts-nothing');
      warn(counts(rule) && !bounds(rule), path, 'rule-bounds-no-price');
    }
  }
  return warnings;
}

const counts = (rule: InstructionRule): boolean =>
  rule.bracketedBy !== undefined || rule.data.some((data) => data.kind === 'integer' && data.spends !== undefined);

const bounds = (rule: InstructionRule): boolean =>
  rule.data.some((data) => data.kind === 'integer' && data.minPerSpent !== undefined);
