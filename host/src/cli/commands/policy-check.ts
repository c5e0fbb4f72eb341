/** qv policy check: everything wrong with a policy document, and what a right one leaves open. */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { ERRORS, QvError } from '@quantumvault/shared/errors.ts';
import type { JsonValue } from '@quantumvault/shared/json.ts';
import { type Fault, policyFaults } from '@quantumvault/shared/policy/faults.ts';
import {
  ENCLAVE_FEATURES,
  POLICY_FEATURES,
  parsePolicy,
  policyBytes,
  policyHash,
} from '@quantumvault/shared/policy/policy.ts';
import { policyWarnings, type Warning, WEAKNESSES } from '@quantumvault/shared/policy/warnings.ts';
import type { Command, Result } from '../command.ts';
import { cross, printable, type Style, tick } from '../terminal.ts';
import { jsonInput, oneOperand } from '../text-input.ts';

export const policyCheck: Command = {
  name: 'policy check',
  summary: 'Explain every error of a policy document with its path, and warn of what it leaves open.',
  details: [
    'Errors are those that enabling the policy would give; one is named per field, token and instruction.',
    'Exits 0 when the policy is valid, also with warnings, and 2 when it is not. With --strict, warnings exit 1.',
    'What this version’s enclave does not enforce yet is listed apart: such a policy is valid, but not enabled.',
  ],
  operands: '<file|->',
  options: { strict: { help: 'warnings, and what is not enforced yet, exit 1' } },
  run: async (args) => {
    const source = oneOperand(args, 'policy');
    const document = await jsonInput(source, source);
    const faults = policyFaults(document);
    return faults.length > 0 ? refused(faults) : accepted(document, args.flag('strict'));
  },
};

/** The first one also stands where every refusal of qv has its error. */
function refused(faults: readonly Fault[]): Result {
  const [first] = faults;
  const { meaning, retryable } = ERRORS.policy_invalid;
  const error = { code: 'policy_invalid', meaning, retryable, path: first?.path, value: first?.why };
  return {
    exit: 'usage',
    json: { valid: false, error, errors: faults },
    text: (style) => [
      ...faults.map(
        ({ path, why }) =>
          `${cross(style)} ${style('bold', path === '' ? '(document)' : printable(path))}  ${printable(why)}`,
      ),
      '',
      `${style(['bold', 'red'], 'Not valid')}: ${faults.length} ${faults.length === 1 ? 'error' : 'errors'}.`,
    ],
  };
}

/** @throws QvError policy_too_large */
function accepted(document: JsonValue, isStrict: boolean): Result {
  const policy = parsePolicy(document, { support: POLICY_FEATURES });
  const bytes = policyBytes(policy);
  const hash = toHex(policyHash(bytes));
  const warnings = policyWarnings(policy);
  const notEnforced = unsupportedPaths(document);
  const isOpen = warnings.length > 0 || notEnforced.length > 0;
  return {
    exit: isStrict && isOpen ? 'failed' : 'ok',
    json: {
      valid: true,
      errors: [],
      warnings: warnings.map((warning) => ({ ...warning, meaning: WEAKNESSES[warning.weakness] })),
      notEnforced,
      policyHash: hash,
      bytes: bytes.length,
    },
    text: (style) => [
      ...warnings.map((warning) => warningLine(warning, style)),
      ...notEnforced.map(
        (path) =>
          `${style('red', '!')} ${style('bold', printable(path))}  This version’s enclave does not enforce it and refuses the policy.`,
      ),
      ...(isOpen ? [''] : []),
      `${tick(style)} ${style(['bold', 'green'], 'Valid')}, ${warnings.length} ${warnings.length === 1 ? 'warning' : 'warnings'}. ${bytes.length} bytes, SHA-256 ${hash}`,
    ],
  };
}

const warningLine = ({ path, weakness }: Warning, style: Style): string =>
  `${style('yellow', '!')} ${style('bold', printable(path))}  ${weakness}: ${WEAKNESSES[weakness]}`;

/** What the enclave would refuse a valid policy for. */
function unsupportedPaths(document: JsonValue): readonly string[] {
  return POLICY_FEATURES.filter((feature) => !ENCLAVE_FEATURES.includes(feature)).flatMap((feature) => {
    try {
      parsePolicy(document, { support: POLICY_FEATURES.filter((other) => other !== feature) });
      return [];
    } catch (error) {
      if (error instanceof QvError && error.code === 'policy_unsupported') return [error.facts.path ?? feature];
      throw error;
    }
  });
}
