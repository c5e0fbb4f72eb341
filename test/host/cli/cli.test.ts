/** What all commands have in common: arguments, help, errors, exit codes, colours. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { COMMANDS } from '@quantumvault/host/cli/commands.ts';
import { EXIT, type Exit, exitOf } from '@quantumvault/host/cli/exit-codes.ts';
import { printable } from '@quantumvault/host/cli/terminal.ts';
import { ERRORS, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { describe, expect, test } from 'vitest';
import { qv, qvJson } from './call.ts';

const CLI = join(import.meta.dirname, '..', '..', '..', 'host', 'src', 'cli');
const run = promisify(execFile);

describe('help', () => {
  test('lists every command, every common option and every exit code', async () => {
    const { exit, stdout, stderr } = await qv('--help');
    expect([exit, stderr]).toEqual([0, '']);
    for (const { name, alias, summary } of COMMANDS) {
      expect(stdout).toContain(alias === undefined ? name : `${name}, ${alias}`);
      expect(stdout).toContain(summary);
    }
    for (const { code, meaning } of Object.values(EXIT)) expect(stdout).toContain(`${code}  ${meaning}`);
    expect(stdout).toContain('--json');
  });

  test.each(COMMANDS)('explains $name with each of its options', async (command) => {
    const { exit, stdout } = await qv(...command.name.split(' '), '--help');
    expect(exit).toBe(0);
    expect(stdout).toContain(command.summary);
    for (const line of command.details ?? []) {
      expect(stdout).toContain(line);
      expect(line.length).toBeLessThanOrEqual(110);
    }
    for (const [name, { help }] of Object.entries(command.options)) {
      expect(stdout).toContain(`--${name}`);
      expect(stdout).toContain(help);
    }
  });

  test('explains a family, and an alias like its command', async () => {
    const family = await qv('init', '--help');
    expect(family.exit).toBe(0);
    expect(family.stdout).toContain('init row-key');
    expect(family.stdout).not.toContain('status ');
    expect((await qv('freeze', '--help')).stdout).toBe((await qv('kill', '--help')).stdout);
  });

  test('comes as JSON, too, and without any command is no success', async () => {
    expect(await qvJson('--help')).toMatchObject({ ok: true, help: expect.stringContaining('init kms-key') });
    const { exit, stdout } = await qv();
    expect([exit, stdout]).toEqual([2, (await qv('--help')).stdout]);
  });

  test('every file of commands/ is a command of the table, and names are unique', () => {
    const files = readdirSync(join(CLI, 'commands')).map((file) => file.replace(/\.ts$/, ''));
    const names = COMMANDS.flatMap(({ name, alias }) => (alias === undefined ? [name] : [name, alias]));
    expect(COMMANDS.map(({ name }) => name.replace(' ', '-')).sort()).toEqual(files.sort());
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('arguments', () => {
  test.each([
    [['bogus'], /unknown command bogus/],
    [['init'], /unknown command init; known are init kms-key, init kms-policy, init row-key/],
    [['init', 'bogus'], /unknown command init bogus/],
    [['--nope'], /unknown option --nope/],
    [['status', '--nope'], /--nope/],
    [['status', 'extra'], /unexpected argument extra/],
    [['status', '--admin'], /--admin/],
    [['status', '--admin='], /--admin is empty/],
    [['status', '--admin', 'a', '--admin', 'b'], /--admin is given twice/],
    [['init', 'kms-key', '--region', 'eu-central-1'], /--break-glass is required/],
    [['kill', '--reason', 'x'], /--all/],
    [['kill', '--all'], /--reason is required/],
    [['kill', '--all', '--reason', 'ä'], /printable ASCII/],
    [['kill', '--all', '--reason', 'x'.repeat(201)], /at most 200/],
    [['kill', '--all', '--reason', 'x', '--url', 'http://127.0.0.1:1'], /belong together/],
    [['kill', '--all', '--reason', 'x', '--pcrs', 'f'], /belong together/],
    [['kill', '--all', '--reason', 'x', '--pcrs', 'f', '--url', 'nonsense'], /--url is no URL/],
  ])('%j is refused before anything happens', async (argv, why) => {
    const answer = await qvJson(...argv);
    expect(answer).toMatchObject({ ok: false, exit: 2, error: { code: 'usage_invalid', retryable: false } });
    expect(answer.error?.value).toMatch(why);
    const { exit, stdout, stderr } = await qv(...argv);
    expect([exit, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(why);
    expect(stderr).toContain('qv: usage_invalid');
  });
});

describe('exit codes', () => {
  test('have distinct numbers from 0 on, and meanings', () => {
    expect(Object.values(EXIT).map(({ code }) => code)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  test.each<[ErrorCode, Exit]>([
    ['usage_invalid', 'usage'],
    ['field_malformed', 'usage'],
    ['policy_invalid', 'usage'],
    ['config_invalid', 'usage'],
    ['policy_denied', 'denied'],
    ['host_unavailable', 'unavailable'],
    ['host_unreachable', 'unavailable'],
    ['enclave_not_ready', 'unavailable'],
    ['deadline_exceeded', 'unavailable'],
    ['kms_refused', 'failed'],
    ['already_initialised', 'failed'],
    ['frozen', 'failed'],
    ['evidence_mismatch', 'failed'],
    ['attestation_pcrs_not_allowed', 'failed'],
    ['freeze_not_held', 'failed'],
    ['internal', 'fault'],
  ])('%s exits as %s', (code, exit) => expect(exitOf(code)).toBe(exit));

  test('no error is a success', () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) expect(exitOf(code)).not.toBe('ok');
  });
});

describe('version', () => {
  test('names both versions', async () => {
    const answer = await qvJson('version');
    expect(answer).toEqual({ ok: true, exit: 0, qv: '0.1.0', node: process.versions.node });
    expect((await qv('--version')).stdout).toBe(`qv 0.1.0 (Node ${process.versions.node})\n`);
  });
});

describe('the terminal', () => {
  const environment = (more: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({ PATH: process.env['PATH'], ...more });

  test('the binary runs by itself, without colours where nobody looks', async () => {
    const { stdout } = await run(process.execPath, [join(CLI, 'qv.ts'), '--help'], { env: environment({}) });
    expect(stdout).toContain('Commands');
    expect(stdout).not.toContain('\u001b');
  });

  test('colours on request, and never under NO_COLOR', async () => {
    const forced = await run(process.execPath, [join(CLI, 'qv.ts'), '--help'], {
      env: environment({ FORCE_COLOR: '1' }),
    });
    expect(forced.stdout).toContain('\u001b[1mCommands');
    const json = await run(process.execPath, [join(CLI, 'qv.ts'), '--help', '--json'], {
      env: environment({ FORCE_COLOR: '1' }),
    });
    expect(json.stdout).not.toContain('\\u001b');
    const never = await run(process.execPath, [join(CLI, 'qv.ts'), '--help'], { env: environment({ NO_COLOR: '1' }) });
    expect(never.stdout).not.toContain('\u001b');
  });

  test('the binary exits with the code', async () => {
    const failure = await run(process.execPath, [join(CLI, 'qv.ts'), 'bogus'], { env: environment({}) }).catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: 2, stdout: '' });
  });

  test('text from elsewhere cannot drive it', () => {
    expect(printable('a\u001b[2Jb\r\nc\u009bd\u202ee')).toBe('a?[2Jb??c?d?e');
    expect(printable('plain – ä ✓')).toBe('plain – ä ✓');
  });
});
