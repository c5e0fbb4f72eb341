/** Completion as the shells themselves do it: each script is sourced there, and asked. */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { COMMANDS } from '@quantumvault/host/cli/commands.ts';
import { placeOf } from '@quantumvault/host/cli/completion/grammar.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requireProgram } from '../../support/requires.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { qv, qvJson } from './call.ts';

const run = promisify(execFile);
const shells = {
  bash: requireProgram('bash'),
  zsh: requireProgram('zsh'),
  fish: requireProgram('fish'),
} as const;
type Shell = keyof typeof shells;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;

beforeAll(async () => {
  folder = await temporaryFolder();
  for (const name of Object.keys(shells)) {
    const { exit, stdout } = await qv('completion', name);
    expect(exit).toBe(0);
    writeFileSync(join(folder.path, `qv.${name}`), stdout);
  }
  mkdirSync(join(folder.path, 'some folder'));
  writeFileSync(join(folder.path, 'some file.json'), '{}');
});
afterAll(() => folder.remove());

/** In the words of the person at the keyboard: what was typed up to the cursor. */
const ASK: Readonly<Record<Shell, (typed: string) => { readonly argv: readonly string[]; readonly input?: string }>> = {
  bash: (typed) => ({
    argv: ['--norc', '--noprofile', '-c', BASH, 'bash', ...typed.split(' ')],
  }),
  zsh: (typed) => ({ argv: ['-f', '-c', ZSH, 'zsh', typed] }),
  fish: (typed) => ({ argv: ['--no-config', '-c', 'source qv.fish; complete -C $argv[1]', typed] }),
};

const BASH = `
source ./qv.bash
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_qv
printf '%s\\n' "\${COMPREPLY[@]}"`;

/** Its completion needs a terminal, which a shell inside of the shell is given; every match is listed in a line. */
const ZSH = `
zmodload zsh/zpty
zpty asked zsh -f -i
zpty -w asked 'PS1=; PROMPT=; unsetopt prompt_cr prompt_sp zle_bracketed_paste; autoload -U compinit && compinit -D -u'
zpty -w asked 'source ./qv.zsh'
zpty -w asked 'compadd() { [[ $@[1,(i)(-|--)] == *-(O|A|D)\\ * ]] && { builtin compadd "$@"; return }
  local -a matches; builtin compadd -O matches "$@"; print -rl -- "" "+"$^matches; builtin compadd "$@" }'
zpty -w asked 'listed() { print -r -- "" ALL-"LISTED" }; comppostfuncs=(listed)'
zpty -w asked 'bindkey "^I" complete-word; zstyle ":completion:*" verbose no; print -r READY-NOW'
zpty -r -m asked ignored '*READY-NOW*READY-NOW*'
zpty -w -n asked "$1"$'\\t'
zpty -r -m asked answer '*ALL-LISTED*'
print -r -- "$answer"
zpty -d asked`;

async function completions(shell: Shell, typed: string): Promise<readonly string[]> {
  const { argv } = ASK[shell](typed);
  const { stdout } = await run(String(shells[shell]), [...argv], {
    cwd: folder.path,
    env: { PATH: process.env['PATH'], HOME: folder.path, TERM: 'dumb', LC_ALL: 'C.UTF-8', ...zshEnvironment() },
    timeout: 30_000,
  });
  const lines = stdout.split(/\r?\n/);
  if (shell === 'zsh') return lines.filter((line) => line.startsWith('+')).map((line) => line.slice(1).trim());
  // fish says what a word is behind a tab.
  return lines.filter((line) => line !== '').map((line) => line.split('\t')[0]?.trim() ?? '');
}

/** Where a zsh that is not installed system-wide keeps its functions and modules. */
function zshEnvironment(): NodeJS.ProcessEnv {
  const names = ['FPATH', 'MODULE_PATH', 'LD_LIBRARY_PATH'];
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}

describe.each(Object.keys(shells) as Shell[])('%s', (shell) => {
  const asked = test.skipIf(shells[shell] === undefined);

  asked(
    'completes commands, and the members of families',
    async () => {
      const first = await completions(shell, 'qv ');
      for (const { name, alias } of COMMANDS) expect(first).toContain(alias ?? name.split(' ')[0]);
      expect(await completions(shell, 'qv stat')).toEqual(
        shell === 'zsh' ? expect.arrayContaining(['status']) : ['status'],
      );
      const members = await completions(shell, 'qv init ');
      expect(members).toEqual(
        expect.arrayContaining(['kms-key', 'kms-policy', 'row-key', 'operator', 'totp', 'witness']),
      );
      expect(members).not.toContain('status');
      expect(await completions(shell, 'qv resume st')).toContain('statement');
    },
    60_000,
  );

  asked(
    'completes options of the command alone, of an alias, and of two words',
    async () => {
      const kill = await completions(shell, 'qv kill --');
      expect(kill).toEqual(expect.arrayContaining(['--all', '--wallet', '--reason', '--json', '--help']));
      expect(kill).not.toContain('--region');
      expect(await completions(shell, 'qv freeze --al')).toContain('--all');
      const init = await completions(shell, 'qv init kms-key --');
      expect(init).toEqual(expect.arrayContaining(['--region', '--break-glass']));
      expect(init).not.toContain('--pcrs');
      // A command that has the first word of another one for its name.
      const resume = await completions(shell, 'qv resume --');
      expect(resume).toContain('--operator-key');
      expect(await completions(shell, 'qv resume statement --')).not.toContain('--operator-key');
    },
    60_000,
  );

  asked(
    'completes files, folders and choices where those go',
    async () => {
      const escaped = (name: string): string[] => [
        name,
        name.replace(' ', '\\ '),
        `${name}/`,
        `${name.replace(' ', '\\ ')}/`,
      ];
      const has = (list: readonly string[], name: string): boolean => escaped(name).some((form) => list.includes(form));
      const files = await completions(shell, 'qv kill --config so');
      expect([has(files, 'some file.json'), has(files, 'some folder')]).toEqual([true, true]);
      const folders = await completions(shell, 'qv log fetch --dir so');
      expect([has(folders, 'some file.json'), has(folders, 'some folder')]).toEqual([false, true]);
      expect(has(await completions(shell, 'qv verify attestation so'), 'some file.json')).toBe(true);
      expect(await completions(shell, 'qv verify attestation --mode ')).toEqual(
        expect.arrayContaining(['live', 'replay']),
      );
      expect(await completions(shell, 'qv completion f')).toContain('fish');
      expect(await completions(shell, 'qv help ex')).toContain('exit-codes');
      expect(await completions(shell, 'qv help doc')).toContain('doctor');
      // What only the caller knows.
      expect(await completions(shell, 'qv kill --wallet so')).toEqual([]);
    },
    60_000,
  );
});

describe('the command', () => {
  test('knows three shells', async () => {
    for (const argv of [[], ['tcsh'], ['bash', 'zsh'], ['toString']]) {
      const answer = await qvJson('completion', ...argv);
      expect(answer).toMatchObject({
        exit: 2,
        error: { code: 'usage_invalid', value: expect.stringContaining('bash, zsh, fish') },
      });
    }
    expect(await qvJson('completion', 'fish')).toMatchObject({
      ok: true,
      shell: 'fish',
      script: expect.stringContaining('complete -c qv'),
    });
  });

  test('what help says of a place decides what goes there', () => {
    expect(placeOf('<file>')).toBe('files');
    expect(placeOf('<releases file>')).toBe('files');
    expect(placeOf('<image.eif>')).toBe('files');
    expect(placeOf('<url|folder>')).toBe('directories');
    expect(placeOf('<file|->')).toBe('files');
    expect(placeOf('<jsonl|csv>')).toEqual(['jsonl', 'csv']);
    expect(placeOf('<hex>')).toBe('anything');
    expect(placeOf('<host:port>')).toBe('anything');
  });
});
