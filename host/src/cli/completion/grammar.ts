/** What there is to complete, read out of the table of commands: the shells' scripts are written from this alone. */
import { type Command, GLOBAL_OPTIONS, type OptionSpec } from '../command.ts';

/** What may stand in a place: files, directories, one of some words, or something that only the caller knows. */
export type Place = 'files' | 'directories' | 'anything' | readonly string[];

export interface CompletedOption {
  /** `--pcrs` */
  readonly name: string;
  readonly help: string;
  /** Absent for a flag. */
  readonly value?: Place;
  readonly isRepeated: boolean;
}

export interface CompletedCommand {
  /** `init kms-key`, or an alias. */
  readonly name: string;
  readonly summary: string;
  readonly options: readonly CompletedOption[];
  readonly operands: Place;
}

const FILES = /\b(?:file|pem|socket)\b|\.eif$/;
const DIRECTORIES = /\b(?:dir|folder)\b/;
/** Words that stand for something and are not typed themselves. */
const STAND_INS = ['url', 'hex', 'json', 'base64', '-'];

/** How help names a place says what goes there: `<file>`, `<live|replay>`. */
export function placeOf(shown: string): Place {
  const words = shown.replace(/^<|>$/g, '').split('|');
  const hasFiles = words.some((word) => FILES.test(word));
  const hasDirectories = words.some((word) => DIRECTORIES.test(word));
  // A directory's files are no answer where a directory is asked for; the other way round it may lead to one.
  if (hasFiles) return 'files';
  if (hasDirectories) return 'directories';
  const isChoice = words.length > 1 && words.every((word) => /^[a-z0-9-]+$/.test(word) && !STAND_INS.includes(word));
  return isChoice ? words : 'anything';
}

export function completedCommands(commands: readonly Command[]): readonly CompletedCommand[] {
  return commands.flatMap(({ name, alias, summary, options, operands }) =>
    [name, ...(alias === undefined ? [] : [alias])].map((spelled) => ({
      name: spelled,
      summary,
      options: Object.entries({ ...options, ...GLOBAL_OPTIONS }).map(completedOption),
      operands: operands === undefined ? [] : operandsOf(operands, commands),
    })),
  );
}

/** Where a command's name goes, all of their first words do. */
function operandsOf(shown: string, commands: readonly Command[]): Place {
  const words = shown.replace(/^\[|\]$/g, '').split('|');
  if (!words.includes('<command>')) return placeOf(shown);
  const first = commands.flatMap(({ name, alias }) => [name.split(' ')[0] ?? '', ...(alias ? [alias] : [])]);
  return [...new Set([...words.filter((word) => word !== '<command>'), ...first])];
}

function completedOption([name, { help, value, multiple }]: [string, OptionSpec]): CompletedOption {
  return {
    name: `--${name}`,
    help,
    ...(value !== undefined && { value: placeOf(value) }),
    isRepeated: multiple === true,
  };
}

export interface FirstWord {
  readonly word: string;
  /** Of the command, or of the family's members: their names. */
  readonly summary: string;
}

/** `init` once, for all of its members. */
export function firstWords(commands: readonly CompletedCommand[]): readonly FirstWord[] {
  const words = new Map<string, string>();
  for (const { name, summary } of commands) {
    const [word = '', second] = name.split(' ');
    if (second === undefined) words.set(word, summary);
    else if (!words.has(word))
      words.set(
        word,
        secondWords(word, commands)
          .map(({ word: member }) => member)
          .join(', '),
      );
  }
  return [...words].map(([word, summary]) => ({ word, summary }));
}

export function secondWords(first: string, commands: readonly CompletedCommand[]): readonly FirstWord[] {
  return commands
    .filter(({ name }) => name.startsWith(`${first} `))
    .map(({ name, summary }) => ({ word: name.slice(first.length + 1), summary }));
}

export function families(commands: readonly CompletedCommand[]): readonly string[] {
  return [...new Set(commands.filter(({ name }) => name.includes(' ')).map(({ name }) => name.split(' ')[0] ?? ''))];
}
