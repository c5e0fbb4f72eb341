/** What the guide and the runbook tell people to type exists: commands, options, parameters, files; and is shell. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { COMMANDS } from '@quantumvault/host/cli/commands.ts';
import { describe, expect, it } from 'vitest';
import { readTemplate } from './cloudformation.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const DEPLOY = join(ROOT, 'host', 'deploy');

interface Page {
  readonly name: string;
  readonly text: string;
  /** The text of each fenced shell block, without the indentation of lists. */
  readonly blocks: readonly string[];
}

const pages = ['README.md', 'runbook.md'].map((name): Page => {
  const text = readFileSync(join(DEPLOY, name), 'utf8');
  const blocks = [...text.matchAll(/^( *)```sh\n([\s\S]*?)^ *```$/gm)].map(([, indent = '', block = '']) =>
    block.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  );
  return { name, text, blocks };
});

/** One command per line, comments and continuations taken out. */
const linesOf = (block: string): readonly string[] =>
  block
    .replaceAll(/ *\\\n */g, ' ')
    .replaceAll(/ +# .*$/gm, '')
    .split('\n');

/** The words of each call of qv, from its command's name on. */
const calls = pages.flatMap(({ name, blocks }) =>
  blocks.flatMap(linesOf).flatMap((line) =>
    [...line.matchAll(/(?:^|[ (])(?:npx |npm run -s )?qv (?:-- )?([^|;&>]*)/g)].map(([, words = '']) => ({
      name,
      words: words.trim().split(/ +/),
    })),
  ),
);

describe.each(pages)('$name', ({ blocks }) => {
  it('has shell that parses', () => {
    expect(blocks.length).toBeGreaterThan(5);
    for (const block of blocks) {
      // <your host> is for people; … stands for what was said before.
      const shell = block.replaceAll(/<[^<>\n]+>/g, 'x').replaceAll('…', 'x');
      execFileSync('bash', ['-n'], { input: shell });
    }
  });
});

it('calls of qv are of commands and options that there are', () => {
  expect(calls.length).toBeGreaterThan(20);
  for (const { name, words } of calls) {
    const command = COMMANDS.filter((candidate) => `${words.join(' ')} `.startsWith(`${candidate.name} `))
      .sort((one, other) => other.name.length - one.name.length)
      .at(0);
    expect(command, `${name}: qv ${words.join(' ')}`).toBeDefined();
    const known = [...Object.keys(command?.options ?? {}), 'json', 'help'];
    for (const word of words.filter((candidate) => candidate.startsWith('--'))) {
      expect(known, `${name}: qv ${words.join(' ')}`).toContain(word.slice(2));
    }
  }
});

it('CloudFormation gets parameters that its template has, and all that it needs', () => {
  const lines = pages
    .flatMap(({ blocks }) => blocks.flatMap(linesOf))
    .filter((line) => line.includes('deploy --stack'));
  expect(lines.length).toBeGreaterThanOrEqual(5);
  for (const line of lines) {
    const file = /--template-file host\/deploy\/cloudformation\/(\S+)/.exec(line)?.[1] ?? '';
    const { Parameters, Resources } = readTemplate(file);
    const given = (line.split('--parameter-overrides ')[1] ?? '').match(/[A-Za-z0-9]+(?==)/g) ?? [];
    for (const name of given) expect(Object.keys(Parameters), line).toContain(name);
    const needed = Object.entries(Parameters).filter(([, { Default }]) => Default === undefined);
    for (const [name] of needed) expect(given, line).toContain(name);
    const makesRoles = Object.values(Resources).some(({ Type }) => Type === 'AWS::IAM::Role');
    expect(line.includes('CAPABILITY_IAM'), line).toBe(makesRoles);
  }
});

it('outputs that are asked for are outputs', () => {
  const templates: Readonly<Record<string, string>> = {
    'quantumvault-break-glass': 'break-glass.json',
    'quantumvault-kms-key': 'kms-key.json',
    quantumvault: 'instance.json',
  };
  const asked = pages.flatMap(({ text }) => [...text.matchAll(/\$\(out \S+ (\S+) (\w+)\)/g)]);
  expect(asked.length).toBe(3);
  for (const [, stack = '', output = ''] of asked) {
    expect(Object.keys(readTemplate(templates[stack] ?? '').Outputs)).toContain(output);
  }
});

it('files of the repository that are named are there', () => {
  const named = pages.flatMap(({ text }) => [
    ...[...text.matchAll(/(?:^|[ `])((?:host|enclave|test|shared)\/[\w./@?*-]+)/gm)].map(([, path = '']) =>
      join(ROOT, path),
    ),
    ...[...text.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path = '']) => join(DEPLOY, path)),
  ]);
  expect(named.length).toBeGreaterThan(20);
  for (const path of named) {
    if (/[*?]/.test(path)) expect(existsSync(join(path, '..'))).toBe(true);
    else expect(existsSync(path), path).toBe(true);
  }
});
