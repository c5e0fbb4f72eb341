/** What qv says when something goes wrong, and the topics of its help. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { COMMANDS } from '@quantumvault/host/cli/commands.ts';
import { didYouMean } from '@quantumvault/host/cli/did-you-mean.ts';
import { EXIT } from '@quantumvault/host/cli/exit-codes.ts';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { describe, expect, test } from 'vitest';
import { requireProgram } from '../../support/requires.ts';
import { qv, qvJson } from './call.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const QV = join(ROOT, 'host', 'src', 'cli', 'qv.ts');
const run = promisify(execFile);

describe('a mistyped word', () => {
  test.each([
    [['statsu'], 'unknown command statsu; did you mean status?'],
    [['stat'], 'unknown command stat; did you mean status?'],
    [['frezee'], 'unknown command frezee; did you mean freeze?'],
    [['init', 'row-kye'], 'unknown command init row-kye; did you mean init row-key?'],
    [['verfy', 'log'], 'unknown command verfy log; did you mean verify log?'],
    [['polcy'], 'unknown command polcy; did you mean policy?'],
    [['status', '--adnim', 'x'], "Unknown option '--adnim'; did you mean --admin?"],
    [['status', '--jsno'], "Unknown option '--jsno'; did you mean --json?"],
    [['kill', '--walet', 'x'], "Unknown option '--walet'; did you mean --wallet?"],
    [['help', 'exit-code'], 'no help on exit-code; did you mean exit-codes?'],
    [['help', 'kil'], 'no help on kil; did you mean kill?'],
  ])('%j', async (argv, value) => {
    expect(await qvJson(...argv)).toMatchObject({ exit: 2, error: { code: 'usage_invalid', value } });
    const { exit, stderr } = await qv(...argv);
    expect(exit).toBe(2);
    expect(stderr).toContain(value);
  });

  test('nothing is guessed from afar, and what is typed may be long', () => {
    expect(didYouMean('elephant', ['status', 'kill'])).toBeUndefined();
    expect(didYouMean('a', ['all'])).toBeUndefined();
    expect(didYouMean('x'.repeat(1_000_000), ['status'])).toBeUndefined();
    expect(didYouMean('STATUS', ['status'])).toBe('status');
    expect(didYouMean('tsatus', ['status'])).toBe('status');
  });
});

describe('what to do next', () => {
  test('comes with an error, to people and machines', async () => {
    const nobody = ['status', '--admin', '/nonexistent/admin.sock'];
    const { stderr } = await qv(...nobody);
    expect(stderr).toContain('qv: host_unavailable (/nonexistent/admin.sock)');
    expect(stderr).toContain('qv doctor --config');
    expect(await qvJson(...nobody)).toMatchObject({
      exit: 4,
      error: { code: 'host_unavailable', next: expect.stringContaining('qv doctor') },
    });
  });

  test('a wrong command line names the help of its command', async () => {
    expect((await qv('kill', '--all')).stderr).toContain('qv help kill explains the command.');
    expect((await qv('bogus')).stderr).toContain('qv --help lists the commands.');
    expect(await qvJson('init', 'row-key', 'x')).toMatchObject({
      error: { next: 'qv help init row-key explains the command.' },
    });
  });
});

describe('help', () => {
  test.each(COMMANDS)('on $name, as --help has it', async ({ name, alias }) => {
    const expected = await qv(...name.split(' '), '--help');
    expect(await qv('help', ...name.split(' '))).toEqual(expected);
    if (alias !== undefined) expect(await qv('help', alias)).toEqual(expected);
  });

  test('without a topic, and on a family', async () => {
    expect(await qv('help')).toEqual(await qv('--help'));
    expect(await qv('help', 'init')).toEqual(await qv('init', '--help'));
  });

  test('on exit codes: the one table, and README has it, too', async () => {
    const exitCodes = Object.entries(EXIT).map(([name, { code, meaning }]) => ({ code, name, meaning }));
    expect(await qvJson('help', 'exit-codes')).toEqual({ ok: true, exit: 0, exitCodes });
    const { stdout } = await qv('help', 'exit-codes');
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    for (const { code, meaning } of exitCodes) {
      expect(stdout).toContain(`${code}  ${meaning}`);
      expect(readme).toMatch(new RegExp(`^\\| ${code} +\\| ${meaning.replace(/[.()]/g, '\\$&')} +\\|$`, 'm'));
    }
  });

  test('on errors: every code with its exit code', async () => {
    const answer = (await qvJson('help', 'errors')) as unknown as { errors: { code: string; exit: number }[] };
    expect(answer.errors.map(({ code }) => code)).toEqual(Object.keys(ERRORS));
    expect(answer.errors.find(({ code }) => code === 'policy_denied')).toMatchObject({ exit: 3, retryable: false });
    const { stdout } = await qv('help', 'errors');
    expect(stdout).toContain(ERRORS.not_initialised.meaning);
    expect(stdout).toContain('→ Once per deployment: qv init row-key.');
  });
});

describe('on a real terminal', () => {
  // Gives its child one of its own.
  const script = requireProgram('script', 'bsdutils');
  const typed = (environment: NodeJS.ProcessEnv): Promise<{ stdout: string }> =>
    run(
      String(script),
      ['--quiet', '--return', '--command', `${process.execPath} ${QV} help exit-codes`, '/dev/null'],
      {
        env: { PATH: process.env['PATH'], TERM: 'xterm-256color', SHELL: '/bin/sh', ...environment },
      },
    );

  test.skipIf(script === undefined)('there are colours, and under NO_COLOR none', async () => {
    expect((await typed({})).stdout).toContain('\u001b[1mExit codes');
    const { stdout } = await typed({ NO_COLOR: '1' });
    expect(stdout).toContain('Exit codes');
    expect(stdout).not.toContain('\u001b');
    // A terminal that can do nothing.
    expect((await typed({ TERM: 'dumb' })).stdout).not.toContain('\u001b');
  });
});

describe('options of every command', () => {
  test('may stand in front of it', async () => {
    expect((await qv('--json', 'version')).stdout).toBe((await qv('version', '--json')).stdout);
    expect((await qv('--help', 'status')).stdout).toBe((await qv('status', '--help')).stdout);
  });
});
