/** One call of qv: find the command, read its arguments, run it, print once, answer with the exit code. */
import { codeOf, ERRORS, QvError } from '@quantumvault/shared/errors.ts';
import { type Command, GLOBAL_OPTIONS, type Output, parseArguments, requireOptions } from './command.ts';
import { COMMANDS } from './commands.ts';
import { didYouMean } from './did-you-mean.ts';
import { EXIT, type Exit, exitOf } from './exit-codes.ts';
import { explain, family, overview } from './help.ts';
import { nextStep } from './next-steps.ts';
import { jsonLine, onlyColours, plain, printable, styleFor } from './terminal.ts';

const ANYWHERE: readonly string[] = Object.keys(GLOBAL_OPTIONS).map((name) => `--${name}`);

/** @param argv without interpreter and script */
export async function runCli(argv: readonly string[], output: Output): Promise<number> {
  const json = argv.includes('--json');
  // Options of every command may stand in front of it, too.
  const leading = argv.findIndex((word) => !ANYWHERE.includes(word));
  const ordered = leading > 0 ? [...argv.slice(leading), ...argv.slice(0, leading)] : argv;
  try {
    return await dispatch(ordered, output, json);
  } catch (error) {
    return EXIT[report(error, output, json, find(ordered)[0])].code;
  }
}

async function dispatch(argv: readonly string[], output: Output, json: boolean): Promise<number> {
  const wantsHelp = argv.includes('--help');
  const words = argv.filter((word) => !word.startsWith('-'));
  if (words.length === 0) {
    const stray = argv.find((word) => !['--help', '--json', '--version'].includes(word));
    if (stray !== undefined) throw new QvError('usage_invalid', { value: `unknown option ${stray}` });
    if (!argv.includes('--version')) {
      help(overview(COMMANDS, helpStyle(output, json)), output, json);
      // Asked for help is success; called without a command is not.
      return EXIT[wantsHelp ? 'ok' : 'usage'].code;
    }
  }
  const [command, rest] = find(argv.includes('--version') && words.length === 0 ? ['version', ...argv] : argv);
  if (command === undefined) {
    const members = family(words[0] ?? '', COMMANDS);
    if (wantsHelp && members.length > 0) {
      help(overview(members, helpStyle(output, json)), output, json);
      return EXIT.ok.code;
    }
    throw new QvError('usage_invalid', { value: unknownCommand(words, members) });
  }
  const args = parseArguments(command, rest);
  if (args.flag('help')) {
    help(explain(command, helpStyle(output, json)), output, json);
    return EXIT.ok.code;
  }
  requireOptions(command, args);
  const result = await command.run(args, output);
  const { code } = EXIT[result.exit];
  if (json) write(output.stdout, [jsonLine({ ok: code === 0, exit: code, ...result.json })]);
  else write(output.stdout, result.text(styleFor(output.stdout)));
  return code;
}

/** The command with the longest name at the start of the line, and what follows it. */
function find(argv: readonly string[]): [Command | undefined, readonly string[]] {
  for (const words of [2, 1]) {
    const name = argv.slice(0, words).join(' ');
    const command = COMMANDS.find((candidate) => candidate.name === name || candidate.alias === name);
    if (command !== undefined) return [command, argv.slice(words).filter((word) => word !== '--version')];
  }
  return [undefined, argv];
}

function unknownCommand(words: readonly string[], members: readonly Command[]): string {
  const names = (members.length > 0 ? members : COMMANDS).map(({ name }) => name);
  const spelled = words.slice(0, 2).join(' ');
  // Families, too: `polcy` for what `policy` lists.
  const known = COMMANDS.flatMap(({ name, alias }) => [
    name,
    ...name.split(' ').slice(0, 1),
    ...(alias ? [alias] : []),
  ]);
  const meant = didYouMean(spelled, known) ?? (members.length > 0 ? undefined : didYouMean(words[0] ?? '', known));
  // A family's name alone asks for its members.
  if (meant !== undefined && (members.length === 0 || words.length > 1))
    return `unknown command ${spelled}; did you mean ${meant}?`;
  return `unknown command ${spelled}; known are ${names.join(', ')}`;
}

const helpStyle = ({ stdout }: Output, json: boolean) => (json ? plain : styleFor(stdout));

function help(lines: readonly string[], { stdout }: Output, json: boolean): void {
  write(stdout, json ? [jsonLine({ ok: true, exit: 0, help: lines.join('\n') })] : lines);
}

/** An unexpected fault of qv's own shows its stack; one that the host names with its code has none here. */
function report(error: unknown, { stdout, stderr }: Output, json: boolean, command?: Command): Exit {
  const code = codeOf(error);
  const { path, value } = error instanceof QvError ? error.facts : {};
  const { meaning, retryable } = ERRORS[code] as { meaning: string; retryable: boolean };
  const exit = exitOf(code);
  const next = code === 'usage_invalid' ? usageHelp(command) : nextStep(code);
  if (json) {
    const facts = { ...(path !== undefined && { path }), ...(value !== undefined && { value }) };
    const body = {
      ok: false,
      exit: EXIT[exit].code,
      error: { code, meaning, retryable, ...facts, ...(next !== undefined && { next }) },
    };
    write(stdout, [jsonLine(body)]);
    return exit;
  }
  const style = styleFor(stderr);
  const where = [path, value].filter((fact) => fact !== undefined).map(printable);
  write(stderr, [
    `${style('red', 'qv:')} ${style('bold', code)}${where.length === 0 ? '' : ` (${where.join(': ')})`}`,
    `    ${meaning}`,
    ...(next === undefined ? [] : [`    ${next}`]),
    ...(error instanceof QvError ? [] : stackOf(error).map((line) => style('dim', line))),
  ]);
  return exit;
}

function usageHelp(command: Command | undefined): string {
  return command === undefined ? 'qv --help lists the commands.' : `qv help ${command.name} explains the command.`;
}

function stackOf(error: unknown): readonly string[] {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return text.split('\n').map(printable);
}

function write(stream: NodeJS.WritableStream, lines: readonly string[]): void {
  // A command that has written its own output has nothing to add.
  if (lines.length === 0) return;
  stream.write(`${onlyColours(lines.join('\n'))}\n`);
}
