/** What a command of qv is. Each is one file under `commands/`, listed in `commands.ts`. */
import { parseArgs } from 'node:util';
import { QvError } from '@quantumvault/shared/errors.ts';
import { didYouMean } from './did-you-mean.ts';
import type { Exit } from './exit-codes.ts';
import { refuseExposedKeys } from './import/exposed-key.ts';
import type { Style } from './terminal.ts';

export interface OptionSpec {
  /** How help names the value, `<arn>`; absent for a flag. */
  readonly value?: string;
  readonly help: string;
  readonly required?: true;
  /** May be given several times. */
  readonly multiple?: true;
}

export interface Result {
  readonly exit: Exit;
  /** What --json prints beside `ok` and `exit`. Keys and meanings are stable. */
  readonly json: Readonly<Record<string, unknown>>;
  /** What people read instead. */
  readonly text: (style: Style) => readonly string[];
}

/** Where a call of qv prints. */
export interface Output {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

export interface Command {
  /** `init kms-key` */
  readonly name: string;
  readonly alias?: string;
  readonly summary: string;
  /** More for `--help`, in lines of at most 100 characters. */
  readonly details?: readonly string[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** How help names what follows the options; absent when nothing does. */
  readonly operands?: string;
  /** It reads a key: one on the command line or in the environment is refused, and nothing unexpected is repeated. */
  readonly readsKey?: true;
  /**
   * The result is printed by the caller; a command that takes long may draw on `output.stderr` meanwhile.
   * @throws QvError; its code decides the exit code
   */
  readonly run: (args: Arguments, output: Output) => Promise<Result>;
}

/** Known to every command. */
export const GLOBAL_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  json: { help: 'print one JSON object' },
  help: { help: 'explain the command' },
};

const wrong = (value: string): QvError => new QvError('usage_invalid', { value });

/** A command line that fits the command's table. */
export class Arguments {
  readonly #values: ReadonlyMap<string, readonly string[]>;
  readonly operands: readonly string[];

  constructor(values: ReadonlyMap<string, readonly string[]>, operands: readonly string[]) {
    this.#values = values;
    this.operands = operands;
  }

  flag(name: string): boolean {
    return this.#values.has(name);
  }

  list(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  optional(name: string): string | undefined {
    return this.list(name)[0];
  }

  /** @throws QvError usage_invalid */
  text(name: string): string {
    const value = this.optional(name);
    if (value === undefined) throw wrong(`--${name} is required`);
    return value;
  }
}

/** @throws QvError usage_invalid naming the argument; key_exposed */
export function parseArguments(command: Command, argv: readonly string[]): Arguments {
  if (command.readsKey) refuseExposedKeys(argv, process.env);
  const specs = { ...GLOBAL_OPTIONS, ...command.options };
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, { value }]) => [
      name,
      { type: value === undefined ? ('boolean' as const) : ('string' as const), multiple: true },
    ]),
  );
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...argv], options, strict: true, allowPositionals: true });
  } catch (error) {
    const what = (error as Error).message.split('. ')[0] ?? '';
    throw new QvError('usage_invalid', { value: `${what}${meantOption(what, Object.keys(specs))}` }, { cause: error });
  }
  const values = new Map(Object.entries(parsed.values).map(([name, list]) => [name, (list as unknown[]).map(String)]));
  for (const [name, { multiple, value }] of Object.entries(specs)) {
    const given = values.get(name) ?? [];
    if (given.length > 1 && !multiple) throw wrong(`--${name} is given twice`);
    if (value !== undefined && given.includes('')) throw wrong(`--${name} is empty`);
  }
  if (command.operands === undefined && parsed.positionals.length > 0)
    throw wrong(command.readsKey ? 'an unexpected argument' : `unexpected argument ${parsed.positionals[0]}`);
  return new Arguments(values, parsed.positionals);
}

/** Node's message names the option: `Unknown option '--adnim'`. */
function meantOption(message: string, known: readonly string[]): string {
  const [, unknown] = /^Unknown option '--([^']+)'/.exec(message) ?? [];
  const meant = unknown === undefined ? undefined : didYouMean(unknown, known);
  return meant === undefined ? '' : `; did you mean --${meant}?`;
}

/** Apart from parsing, so that --help works without them. @throws QvError usage_invalid */
export function requireOptions(command: Command, args: Arguments): void {
  for (const [name, { required }] of Object.entries(command.options)) if (required) args.text(name);
}
