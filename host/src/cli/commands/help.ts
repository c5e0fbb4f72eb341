/** qv help */
import { ERRORS, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import type { Command, Result } from '../command.ts';
import { didYouMean } from '../did-you-mean.ts';
import { EXIT, exitOf } from '../exit-codes.ts';
import { exitLines, explain, family, overview } from '../help.ts';
import { nextStep } from '../next-steps.ts';
import { plain, type Style } from '../terminal.ts';

const TOPICS: Readonly<Record<string, () => Result>> = { 'exit-codes': exitCodes, errors };

export const help: Command = {
  name: 'help',
  summary: 'Explain a command, what the exit codes mean, or every error code.',
  details: ['qv help exit-codes, qv help errors, qv help <command>; without a topic, the list of commands.'],
  operands: `[<command>|${Object.keys(TOPICS).join('|')}]`,
  options: {},
  run: async ({ operands }) => {
    const topic = operands.join(' ');
    if (Object.hasOwn(TOPICS, topic)) return (TOPICS[topic] as () => Result)();
    // The table lists this command, too.
    const { COMMANDS } = await import('../commands.ts');
    if (topic === '') return lines((style) => overview(COMMANDS, style));
    const command = COMMANDS.find(({ name, alias }) => name === topic || alias === topic);
    if (command !== undefined) return lines((style) => explain(command, style));
    const members = family(topic, COMMANDS);
    if (members.length > 0) return lines((style) => overview(members, style));
    const meant = didYouMean(topic, [...Object.keys(TOPICS), ...COMMANDS.map(({ name }) => name)]);
    const instead = meant === undefined ? `topics are ${Object.keys(TOPICS).join(', ')}` : `did you mean ${meant}?`;
    throw new QvError('usage_invalid', { value: `no help on ${topic}; ${instead}` });
  },
};

function lines(text: (style: Style) => readonly string[]): Result {
  return { exit: 'ok', json: { help: text(plain).join('\n') }, text };
}

function exitCodes(): Result {
  const exitCodes = Object.entries(EXIT).map(([name, { code, meaning }]) => ({ code, name, meaning }));
  return { exit: 'ok', json: { exitCodes }, text: (style) => exitLines(style) };
}

function errors(): Result {
  const rows = (Object.keys(ERRORS) as ErrorCode[]).map((code) => {
    const { meaning, retryable } = ERRORS[code];
    const next = nextStep(code);
    return { code, exit: EXIT[exitOf(code)].code, retryable, meaning, ...(next !== undefined && { next }) };
  });
  const shown = (style: Style) =>
    rows.flatMap(({ code, exit, retryable, meaning, next }) => [
      `${style('bold', code)} ${style('dim', `(exits ${exit}${retryable ? ', a repeat may help' : ''})`)}`,
      `    ${meaning}`,
      ...(next === undefined ? [] : [`    → ${next}`]),
    ]);
  return { exit: 'ok', json: { errors: rows }, text: shown };
}
