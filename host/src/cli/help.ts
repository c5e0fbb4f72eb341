/** Help, written from the tables of commands and exit codes and from nothing else. */
import { type Command, GLOBAL_OPTIONS, type OptionSpec } from './command.ts';
import { EXIT } from './exit-codes.ts';
import { type Style, table } from './terminal.ts';

export function overview(commands: readonly Command[], style: Style): readonly string[] {
  return [
    `${style('bold', 'qv')}  operates a QuantumVault signing appliance`,
    '',
    style('bold', 'Commands'),
    ...table(
      commands.map(({ name, alias, summary }) => [alias === undefined ? name : `${name}, ${alias}`, summary]),
      style,
    ),
    '',
    style('bold', 'Options of every command'),
    ...optionLines(GLOBAL_OPTIONS, style),
    '',
    ...exitLines(style),
  ];
}

export function explain(command: Command, style: Style): readonly string[] {
  const { name, alias, summary, details = [], options, operands } = command;
  const own = Object.entries(options);
  const required = own.filter(([, { required: needed }]) => needed).map(([key, spec]) => ` ${spelled(key, spec)}`);
  const rest = own.length > required.length ? ' [options]' : '';
  return [
    `${style('bold', `qv ${name}`)}${required.join('')}${rest}${operands === undefined ? '' : ` ${operands}`}`,
    '',
    `${summary}${alias === undefined ? '' : ` Also: qv ${alias}.`}`,
    ...(details.length === 0 ? [] : ['', ...details]),
    '',
    style('bold', 'Options'),
    ...optionLines({ ...options, ...GLOBAL_OPTIONS }, style),
    '',
    ...exitLines(style),
  ];
}

/** The commands below a first word: `init` names a family. */
export function family(word: string, commands: readonly Command[]): readonly Command[] {
  return commands.filter(({ name }) => name.startsWith(`${word} `));
}

function spelled(name: string, { value }: OptionSpec): string {
  return value === undefined ? `--${name}` : `--${name} ${value}`;
}

function optionLines(options: Readonly<Record<string, OptionSpec>>, style: Style): readonly string[] {
  return table(
    Object.entries(options).map(([name, spec]) => [
      spelled(name, spec),
      `${spec.help}${spec.required ? ' (required)' : ''}${spec.multiple ? ' (may be repeated)' : ''}`,
    ]),
    style,
  );
}

export function exitLines(style: Style): readonly string[] {
  return [
    style('bold', 'Exit codes'),
    ...table(
      Object.values(EXIT).map(({ code, meaning }) => [String(code), meaning]),
      style,
    ),
  ];
}
