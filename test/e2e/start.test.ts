/** `npm start`: every command it prints works as printed, and Ctrl-C leaves nothing behind. */
import { execFile, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../support/temporary.ts';
import { type Child, startNpm, startScript } from './child.ts';

const REPOSITORY = join(import.meta.dirname, '..', '..');
/** Not everybody's machine has them; the product does not need them. */
const hasTools = ['curl', 'openssl'].every((name) => spawnSync(name, ['version']).error === undefined);
let child: Child;
let commands: readonly string[];

beforeAll(async () => {
  child = startScript('start.ts');
  await until('it runs', () => child.stdout().includes('qv -- resume --all'), 30_000);
  commands = child
    .stdout()
    .split('\n')
    .filter((line) => line.startsWith('    '))
    .map((line) => line.trim());
});
afterAll(() => {
  child.process.kill('SIGKILL');
  child.remove();
});

/** In a shell, from the repository's folder. */
function shell(command: string): Promise<{ exit: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile('/bin/sh', ['-c', command], { cwd: REPOSITORY }, (error, stdout, stderr) =>
      resolve({ exit: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

const printed = (part: string): string => {
  const command = commands.find((line) => line.includes(part));
  if (command === undefined) throw new Error(`no command with ${part} in:\n${child.stdout()}`);
  return command;
};

describe('npm start', () => {
  test('prints commands, and keys that only this user may read', () => {
    expect(commands).toHaveLength(10);
    expect(child.stdout()).toMatch(/Panic code +(?:[0-9A-Z]{4}-){6}[0-9A-Z]{2}[0-9A-Z*~$=]:/);
    const dir = dirname(printed('sign.sh').replace('sh ', ''));
    for (const name of ['owner.key', 'requester.key']) {
      const { mode, size } = statSync(join(dir, name));
      expect([mode & 0o777, size]).toEqual([0o600, 64]);
    }
  });

  test('the SDK example signs, and shows a refusal', async () => {
    const signed = await shell(printed('example.ts'));
    expect(signed).toMatchObject({ exit: 0, stdout: expect.stringContaining('signature') });
    const refused = await shell(printed('50000001'));
    expect(refused).toMatchObject({ exit: 3, stdout: expect.stringContaining('sol.maxPerTransaction') });
  });

  test.skipIf(!hasTools)('openssl and curl sign as well', async () => {
    const { exit, stdout } = await shell(printed('sign.sh'));
    expect(exit).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ signature: expect.any(String), lamportsOut: '1000000' });
  });

  test.skipIf(!hasTools)('readiness, attestation and status answer', async () => {
    expect(JSON.parse((await shell(printed('/readyz'))).stdout)).toMatchObject({ ready: true });
    expect(JSON.parse((await shell(printed('/v1/attestation'))).stdout)).toMatchObject({ boot: expect.any(String) });
    const status = await shell(printed('status'));
    expect(status).toMatchObject({ exit: 0, stdout: expect.stringContaining('can sign') });
    const verified = await shell(printed('verify attestation'));
    expect(verified).toMatchObject({ exit: 0, stdout: expect.stringContaining('Verified') });
    expect(verified.stdout).toContain('UNSAFE: --unsafe-trusted-root');
  });

  test('its log passes an audit', async () => {
    const audited = await shell(printed('verify log'));
    expect(audited).toMatchObject({ exit: 0, stdout: expect.stringContaining('Verified') });
  });

  test('the kill switch holds, is proven live, and stops the example', async () => {
    const killed = await shell(`${printed('kill')} --json`);
    expect(killed.exit).toBe(0);
    const { checks, ...answer } = JSON.parse(killed.stdout) as { checks: { result: string }[] };
    expect(answer).toMatchObject({ ok: true, allHold: true });
    expect(checks.map(({ result }) => result)).toEqual(['holds', 'holds']);
    const frozen = await shell(printed('example.ts'));
    expect(frozen).toMatchObject({
      exit: 1,
      stdout: '',
      stderr: expect.stringMatching(/^refused: frozen\. [^\n]+\n$/),
    });
  });

  test('two operators end the freeze', async () => {
    const resumed = await shell(printed('resume --all'));
    expect(resumed).toMatchObject({ exit: 0, stdout: expect.stringContaining('Resumed') });
    expect(await shell(printed('example.ts'))).toMatchObject({ exit: 0 });
  });

  test('Ctrl-C ends it with success and leaves nothing behind', async () => {
    child.process.kill('SIGINT');
    expect(await child.ended).toBe(0);
    expect(child.stdout()).toContain('Stopped.');
    expect(child.stderr()).toBe('');
    await until('nothing of it runs', () => child.survivors().length === 0);
    expect(readdirSync(child.folder)).toEqual([]);
  });
});

describe('npm start with a port', () => {
  test.each(['x', '65536', ''])('refuses %j', async (port) => {
    const refused = startScript('start.ts', ['--port', port]);
    expect(await refused.ended).toBe(2);
    expect(refused.stderr()).toContain('usage: npm start');
    refused.remove();
  });

  test('that is taken fails, and leaves nothing behind', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await until('it listens', () => server.listening);
    const refused = startScript('start.ts', ['--port', String((server.address() as AddressInfo).port)]);
    try {
      expect(await refused.ended).toBe(1);
      expect(refused.stderr()).toMatch(/start: host ended at its start/);
      await until('nothing of it runs', () => refused.survivors().length === 0);
      expect(readdirSync(refused.folder)).toEqual([]);
    } finally {
      server.close();
      refused.remove();
    }
  });
});

describe('npm, told to stop by its own process id', () => {
  // Whoever supervises npm signals npm alone, not the group that a terminal would.
  test.each(['SIGTERM', 'SIGINT'] as const)('%s ends everything it started', async (signal) => {
    const npm = startNpm('start');
    try {
      await until('it runs', () => npm.stdout().includes('qv -- kill'), 30_000);
      expect(npm.survivors()).not.toEqual([]);
      npm.process.kill(signal);
      await npm.ended;
      await until('nothing of it runs', () => npm.survivors().length === 0);
      expect(readdirSync(npm.folder)).toEqual([]);
      expect(npm.stdout()).toContain('Stopped.');
    } finally {
      npm.process.kill('SIGKILL');
      npm.remove();
    }
  });

  test('every script of package.json hands over to its command', () => {
    const { scripts } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    for (const [name, script] of Object.entries(scripts)) {
      expect(script.split(' && ').at(-1), name).toMatch(/^exec node \.toolchain\/run\.mjs /);
    }
  });
});
