/**
 * The production kms-agent, and what others get of it: processes of its own user, of another, and the inspector. The
 * vault process gives up the same by the same call, and is of another user than anything else in an image.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { bundleEnclave } from '@quantumvault/enclave/bundle.ts';
import { agentFlags, NODE_FLAGS } from '@quantumvault/enclave/node-flags.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { requireProgram, unavailable } from '../support/requires.ts';
import { until } from '../support/temporary.ts';
import { type ClosedImage, closedImage } from './kit/closed-image.ts';

const run = promisify(execFile);
const compiler = requireProgram('cc', 'gcc');
const isRoot = process.getuid?.() === 0 || unavailable('root', 'other users need root') !== undefined;
const STRANGER = join(import.meta.dirname, 'kit', 'stranger.cjs');
const AGENT_USER = 10_001;
const OTHER_USER = 10_002;
const EPERM = -1;

describe.skipIf(compiler === undefined || !isRoot)('the kms-agent of an image', () => {
  let image: ClosedImage;
  let launcher: ChildProcess;
  let agent: number;
  let said = '';
  const ask = async (user: number, pid: number): Promise<Record<string, unknown>> => {
    const addon = join(image.folder, 'system-calls.node');
    const script = readFileSync(STRANGER, 'utf8');
    // By -e: another user may not be able to read this checkout.
    const { stdout } = await run(process.execPath, ['-e', script, addon, String(pid)], {
      uid: user,
      gid: user,
      cwd: '/',
      env: {},
    });
    return JSON.parse(stdout) as Record<string, unknown>;
  };

  beforeAll(async () => {
    image = await closedImage();
    const production = join(image.folder, 'production');
    const entries = join(import.meta.dirname, '..', '..', 'enclave', 'src');
    const { agent: file } = await bundleEnclave({
      vaultEntry: join(entries, 'main.ts'),
      agentEntry: join(entries, 'kms-agent', 'main.ts'),
      outDir: production,
    });
    buildNative({ outFile: join(production, 'qv-native.node') });
    launcher = spawn(process.execPath, [...NODE_FLAGS, image.launch, file, image.config], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {},
    });
    launcher.stderr?.on('data', (chunk) => {
      said += chunk;
    });
    const lines = createInterface({ input: launcher.stdout ?? process.stdin });
    const [line] = (await Promise.race([
      once(lines, 'line'),
      once(launcher, 'exit').then(() => Promise.reject(new Error(said))),
    ])) as [string];
    agent = (JSON.parse(line) as { agent: number }).agent;
    // Its filter is the last thing that it takes on.
    await until('it is confined', () => /^Seccomp_filters:\s+2$/m.test(status(agent)));
  });
  afterAll(async () => {
    launcher?.stdin?.end();
    if (launcher?.exitCode === null) await once(launcher, 'exit');
    image?.remove();
  });
  const status = (pid: number): string => readFileSync(`/proc/${pid}/status`, 'latin1');

  it('runs as a user of its own, with no capability', () => {
    expect(status(agent)).toMatch(/^Uid:\t10001\t10001\t10001\t10001$/m);
    expect(status(agent)).toMatch(/^Groups:\s*$/m);
    for (const set of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb'])
      expect(status(agent)).toMatch(new RegExp(`^${set}:\\t0+$`, 'm'));
  });

  it('keeps its private keys in memory that is locked', () => {
    expect(Number(/^VmLck:\s+(\d+) kB$/m.exec(status(agent))?.[1])).toBeGreaterThanOrEqual(64);
  });

  it.each([
    ['its own', AGENT_USER],
    ['another', OTHER_USER],
  ])('shows nothing to a process of %s user', async (_, user) => {
    const refused = { mem: 'EACCES', maps: 'EACCES', environ: 'EACCES', descriptors: 'EACCES', ptrace: EPERM };
    expect(await ask(user, agent)).toEqual(refused);
  });

  it('an ordinary process of the same user shows everything', async () => {
    const script = 'setInterval(() => 0, 1000)';
    const child = spawn(process.execPath, ['-e', script], {
      uid: AGENT_USER,
      gid: AGENT_USER,
      stdio: 'ignore',
      env: {},
    });
    try {
      await once(child, 'spawn');
      const all = { mem: 'succeeded', maps: 'succeeded', environ: 'succeeded', descriptors: 'succeeded', ptrace: 0 };
      await expect.poll(() => ask(AGENT_USER, child.pid ?? 0), { timeout: 10_000 }).toEqual(all);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('opens no inspector on a signal', async () => {
    process.kill(agent, 'SIGUSR1');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(said).not.toContain('Debugger');
    const socket = connect(9229, '127.0.0.1');
    const outcome = await once(socket, 'connect').then(
      () => 'connected',
      (error: NodeJS.ErrnoException) => error.code,
    );
    socket.destroy();
    expect(outcome).toBe('ECONNREFUSED');
    // Node reminds of addons, which --permission does not watch; the filter does.
    expect(said).toBe('kms-agent: warning: SecurityWarning PERM0001\n');
  });

  it('does not start without the filter of the process that starts it', async () => {
    const file = join(image.folder, 'production', 'kms-agent.cjs');
    const started = run(process.execPath, [...agentFlags(file, image.config), file, image.config, 'unix:/nowhere'], {
      env: {},
    });
    await expect(started).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^kms-agent: did not start: Error EBUSY\n$/),
    });
  });
});
