/** `npx qv`: the link that the install leaves, started by whichever Node comes first, runs under the pinned one. */
import { execFile } from 'node:child_process';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..', '..', '..');
const link = join(root, 'node_modules', '.bin', 'qv');
const run = promisify(execFile);

/** The machine's own Node in front of the pinned one, where it has one. */
function pathWithoutPinned(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.includes('.toolchain'));
  return [...folders, dirname(process.execPath)].join(delimiter);
}

describe('the launcher', () => {
  test.each([
    ['the repository', root],
    ['a folder in it', join(root, 'test')],
    ['elsewhere', '/'],
  ])('runs from %s', async (_, cwd) => {
    const { stdout } = await run(link, ['version', '--json'], { cwd, env: { PATH: pathWithoutPinned() } });
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, node: process.versions.node });
  });

  test('passes arguments and the exit code on', async () => {
    const failure = await run(link, ['verify', 'attestation', 'a b', '--json'], {
      env: { PATH: pathWithoutPinned() },
    }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 2, stdout: expect.stringContaining('usage_invalid') });
  });
});
