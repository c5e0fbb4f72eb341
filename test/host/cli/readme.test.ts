/** The commands that the README shows for files of this repository work as they stand there. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { qv } from './call.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8').replaceAll('\\\n', ' ');
const commands = readme.split('\n').filter((line) => /^npx qv .*test\/vectors\//.test(line));

test('there are some', () => expect(commands.length).toBeGreaterThan(2));

test.each(commands)('%s', async (command) => {
  const argv = command.split(/\s+/).slice(2);
  const { exit, stdout } = await qv(...argv.map((word) => (word.startsWith('test/') ? join(ROOT, word) : word)));
  expect(exit).toBe(0);
  expect(stdout.length).toBeGreaterThan(100);
});
