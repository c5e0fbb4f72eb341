/** Shell scripts, by Debian's ShellCheck with everything it knows by default. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { requireProgram } from '../support/requires.ts';
import { git, ROOT } from './kit.ts';

const shellcheck = requireProgram('shellcheck');
const scripts = ['.ci/run', ...git(ROOT, 'ls-files', '*.sh').split('\n')];

it.runIf(shellcheck !== undefined).each(scripts)('%s', (script) => {
  const done = spawnSync(shellcheck ?? '', ['--format=gcc', join(ROOT, script)], { encoding: 'utf8' });
  expect([done.status, done.stdout]).toEqual([0, '']);
});

it('the build is among them', () => expect(scripts).toContain('nitro-build.sh'));
