/** What a legal policy leaves open. `qv policy check` prints these; the owner's statement repeats those on programs. */
import type { Policy } from './policy.ts';
import type { InstructionRule } from './program-rules.ts';

export type Weakness =
  | 'program-upgradeable'
  | 'rule-counts-nothing'
  | 'rule-bounds-no-price'
  | 'host-verified'
  | 'no-window';

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
      warn(!counts(rule), path, 'rule-counts-nothing');
      warn(counts(rule) && !bounds(rule), path, 'rule-bounds-no-price');
    }
  }
  return warnings;
}

const counts = (rule: InstructionRule): boolean =>
  rule.data.some((data) => data.kind === 'integer' && data.spends !== undefined);

const bounds = (rule: InstructionRule): boolean =>
  rule.data.some((data) => data.kind === 'integer' && data.minPerSpent !== undefined);
