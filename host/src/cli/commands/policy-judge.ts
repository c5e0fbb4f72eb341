/** qv policy judge: the enclave's own verdict, offline and by the same code. */
import { timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { judge, type RuleOutcome, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { NOTHING_SPENT } from '@quantumvault/shared/policy/state.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { inspectTransaction } from '@quantumvault/shared/solana/transaction.ts';
import type { Command } from '../command.ts';
import { readPolicy, signalOf, spendState, timeOption } from '../policy-input.ts';
import { cross, printable, type Style, table, tick } from '../terminal.ts';
import { base64Input, jsonInput } from '../text-input.ts';

export const policyJudge: Command = {
  name: 'policy judge',
  summary: 'Judge a transaction under a policy, offline: the verdict the enclave would give.',
  details: [
    'The policy may use everything the format has, also what this version’s enclave refuses to enable.',
    'Exits 0 when it allows, 3 when it denies (naming rule and value), 2 when policy or transaction is malformed.',
    '',
    '--prior is what the wallet signed before, for windows and rates. Only "at" is needed; the fee is 5000 and',
    'everything else nothing unless given:',
    '  [{"at": "2026-11-22T11:59:30Z", "lamportsOut": "5", "fee": "5000", "tokens": {"<mint>": "1"},',
    '    "signal": {…}}]',
    '--signal is what triggered the request; "verifiedBy" is "host" unless given:',
    '  {"source": "alpha", "id": "4711", "at": "2026-11-22T11:59:30Z", "verifiedBy": "enclave"}',
    'Both are JSON themselves, or a file that holds it, or - for standard input.',
  ],
  options: {
    policy: { value: '<file>', help: 'the policy document; - for standard input', required: true },
    transaction: { value: '<base64|file|->', help: 'in wire form, signed or not', required: true },
    now: { value: '<time>', help: 'judge as of this time, like 2026-11-22T12:00:00Z; now unless given' },
    prior: { value: '<json|file|->', help: 'earlier signatures of the wallet' },
    signal: { value: '<json|file|->', help: 'the signal that triggered the request' },
  },
  run: async (args) => {
    const inputs = ['policy', 'transaction', 'prior', 'signal'].filter((name) => args.optional(name) === '-');
    if (inputs.length > 1) throw new QvError('usage_invalid', { value: 'only one input can be standard input' });
    const policy = await readPolicy(args.text('policy'));
    const bytes = await base64Input(args.text('transaction'), 'transaction');
    const nowText = args.optional('now');
    const now = nowText === undefined ? timeMs(Date.now()) : timeOption('now', nowText);
    const prior = args.optional('prior');
    const signal = args.optional('signal');
    // Suspicious transactions reach the judge, which denies them: only what can never be included is malformed.
    const { message } = inspectTransaction(bytes).transaction;
    const verdict = judge(policy, message, now, {
      state: prior === undefined ? NOTHING_SPENT : spendState(await jsonInput(prior, 'prior')),
      ...(signal !== undefined && { signal: signalOf(await jsonInput(signal, 'signal')) }),
    });
    return {
      exit: verdict.allow ? 'ok' : 'denied',
      json: { ...verdictJson(verdict), now: formatTime(now) },
      text: (style) => render(verdict, style),
    };
  },
};

/** What is counted is shown for denials too: the amounts would have left. */
function verdictJson({ allow, denied, lamportsOut, feeLamports, tokens, rules }: Verdict) {
  return {
    verdict: allow ? 'allow' : 'deny',
    ...denied,
    lamportsOut: lamportsOut.toString(),
    fee: feeLamports.toString(),
    tokens: Object.fromEntries([...tokens].map(([mint, units]) => [mint, units.toString()])),
    rules,
  };
}

function render(verdict: Verdict, style: Style): readonly string[] {
  const { denied, lamportsOut, feeLamports, tokens, rules } = verdict;
  return [
    ...rules.map((rule) => ruleLine(rule, style)),
    '',
    ...table(
      [
        ['SOL out', `${lamportsOut} lamports`],
        ['Fee', `${feeLamports} lamports`],
        ...[...tokens].map(([mint, units]): [string, string] => ['Tokens out', `${units} units of ${mint}`]),
      ],
      style,
    ),
    '',
    denied === undefined
      ? `${tick(style)} ${style(['bold', 'green'], 'Allowed')} by the policy.`
      : `${cross(style)} ${style(['bold', 'red'], 'Denied')} by ${style('bold', printable(denied.rule))}: ${printable(denied.value)}`,
  ];
}

function ruleLine({ rule, outcome, value }: RuleOutcome, style: Style): string {
  const mark = outcome === 'allow' ? tick(style) : cross(style);
  return `${mark} ${printable(rule)}${value === undefined ? '' : `  ${style('dim', printable(value))}`}`;
}
