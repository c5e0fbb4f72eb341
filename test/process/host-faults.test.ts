/** The host's process and faults that nobody foresaw: it ends, says where, and prints no data. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { kindOf, placesOf } from '@quantumvault/shared/faults.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Harness } from '../host/harness.ts';
import { MARKER } from './entry/faults.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'host', 'src', 'main.ts');
const FAULTS = join(import.meta.dirname, 'entry', 'faults.ts');

describe('the host', () => {
  let host: Harness;
  let child: ChildProcess;
  beforeEach(async () => {
    host = await new Harness().start();
    await host.host.close();
    writeFileSync(host.path('host.json'), JSON.stringify(host.configJson()));
  });
  afterEach(async () => {
    if (child.exitCode === null) child.kill('SIGKILL');
    await host.stop();
  });

  /** Faults come from a file that is loaded beside it. @returns what it will have said on standard error */
  async function start(): Promise<{ readonly said: Promise<string> }> {
    const preload = host.path('preload.ts');
    writeFileSync(preload, `import { faultOnSignal } from ${JSON.stringify(FAULTS)};\nfaultOnSignal();\n`);
    child = spawn(process.execPath, ['--import', preload, MAIN, '--config', host.path('host.json')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {},
    });
    if (child.stdout === null || child.stderr === null) throw new Error('no output');
    const said = text(child.stderr);
    await once(child.stdout, 'data');
    return { said };
  }

  it.each(['SIGUSR2', 'SIGHUP', 'SIGALRM', 'SIGVTALRM', 'SIGPROF'] as const)('ends on a fault (%s)', async (signal) => {
    const { said } = await start();
    const exit = once(child, 'exit');
    child.kill(signal);
    expect(await exit).toEqual([1, null]);
    expect(await said).not.toContain(MARKER);
    const last = JSON.parse((await said).trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
    expect(last).toMatchObject({ level: 'fatal', value: expect.stringMatching(/^fatal: \w+( \w+)?$/) });
    if (signal === 'SIGUSR2') expect(last['places']).toEqual(expect.arrayContaining([expect.stringContaining(FAULTS)]));
  });

  it('goes on after a warning, of which the kind is said', async () => {
    const { said } = await start();
    const exit = once(child, 'exit');
    child.kill('SIGWINCH');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(child.exitCode).toBeNull();
    child.kill('SIGTERM');
    expect(await exit).toEqual([0, null]);
    for (const kind of ['MarkedWarning', 'DeprecationWarning DEP0001'])
      expect(await said).toContain(`{"level":"warn","value":"warning: ${kind}"`);
    expect(await said).not.toContain(MARKER);
  });
});

describe('what is said of a fault', () => {
  it.each<[unknown, string]>([
    [new TypeError(MARKER), 'TypeError'],
    [Object.assign(new Error(MARKER), { code: 'EPIPE' }), 'Error EPIPE'],
    [Object.assign(new Error(MARKER), { code: `${MARKER} x` }), 'Error'],
    [Object.assign(new Error(), { name: `a ${MARKER}` }), 'unknown fault'],
    [
      Object.defineProperty(new Error(), 'name', {
        get: () => {
          throw new Error(MARKER);
        },
      }),
      'unknown fault',
    ],
    [MARKER, 'unknown fault'],
    [null, 'unknown fault'],
    [undefined, 'unknown fault'],
    [{ name: 'A'.repeat(65) }, 'unknown fault'],
  ])('%#: its kind', (fault, kind) => {
    expect(kindOf(fault)).toBe(kind);
    expect(JSON.stringify(placesOf(fault))).not.toContain(MARKER);
  });

  it('lines of a message are not taken for places', () => {
    const error = new Error(`first\n    at ${MARKER} (file:1:1)`);
    expect(placesOf(error).length).toBeGreaterThan(0);
    expect(JSON.stringify(placesOf(error))).not.toContain(MARKER);
    error.message = 'changed';
    expect(placesOf(error)).toEqual([]);
  });
});
