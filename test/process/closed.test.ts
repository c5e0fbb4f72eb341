/**
 * The enclave's two processes, closed as in an image, over the local stack's sockets: what somebody who runs code in them
 * can still do, and what others of the machine can do to them. Every attempt succeeds in an ordinary process.
 */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { agentFlags, NODE_FLAGS } from '@quantumvault/enclave/node-flags.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MaliciousHost } from '../support/malicious-host.ts';
import { requireProgram } from '../support/requires.ts';
import { until } from '../support/temporary.ts';
import { ATTEMPTS } from './entry/attempts.ts';
import { FAULTS, MARKER } from './entry/faults.ts';
import { OF_AGENT, OF_AGENT_ON_X64, OF_BOTH, type Report } from './entry/report.ts';
import { type ClosedImage, closedImage } from './kit/closed-image.ts';

const compiler = requireProgram('cc', 'gcc');
const EPERM = -1;
const ENOMEM = -12;

const procFile = (pid: number, name: string): string => readFileSync(`/proc/${pid}/${name}`, 'latin1');
const words = (pid: number, name: 'cmdline' | 'environ'): string[] => procFile(pid, name).split('\0').slice(0, -1);
const field = (status: string, name: string): string | undefined =>
  new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)?.[1];
const limit = (pid: number, name: string): string[] =>
  new RegExp(`^${name} +(\\S+) +(\\S+)`, 'm').exec(procFile(pid, 'limits'))?.slice(1) ?? [];

describe.skipIf(compiler === undefined)('the enclave’s processes', () => {
  let image: ClosedImage;
  let host: MaliciousHost;
  const vault = (): number => host.backend.processes.enclave.pid;
  const agent = (): number => Number(procFile(vault(), `task/${vault()}/children`).trim());
  const log = (): string => readFileSync(join(host.backend.dir, 'enclave.log'), 'utf8');
  const reportOf = async (who: 'vault' | 'agent'): Promise<Report> => {
    const found = () => {
      const pid = who === 'vault' ? vault() : agent();
      return new RegExp(`^report ${who} ${pid} (.*)$`, 'm').exec(log())?.[1];
    };
    await until(`the ${who} has reported`, () => found() !== undefined);
    return JSON.parse(found() ?? '') as Report;
  };

  beforeAll(async () => {
    image = await closedImage();
    host = await MaliciousHost.start({ bundle: image.bundle });
  });
  afterAll(async () => {
    await host?.stop();
    image?.remove();
  });

  it('work: KMS answers, a wallet is made, a transaction is signed', async () => {
    await host.giveCredentials();
    const wallet = await host.openWallet();
    const { signature } = await host.data.request('sign', host.request(wallet));
    expect(signature).toHaveLength(64);
  });

  it('an ordinary process allows what is attempted', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', image.plain]);
    expect(JSON.parse(stdout)).toEqual(Object.fromEntries(Object.keys(ATTEMPTS).map((name) => [name, 'succeeded'])));
  });

  it.each(['vault', 'agent'] as const)(
    '%s: makes no code of strings, loads none, and keeps its built-in objects',
    async (who) => {
      const { attempts } = await reportOf(who);
      expect(Object.keys(attempts)).toEqual(Object.keys(ATTEMPTS));
      expect(Object.entries(attempts).filter(([, outcome]) => outcome === 'succeeded')).toEqual([]);
    },
  );

  it.each(['vault', 'agent'] as const)('%s: the kernel refuses what it does not need', async (who) => {
    const { calls } = await reportOf(who);
    const more = who === 'vault' ? [] : [...OF_AGENT, ...(process.arch === 'x64' ? OF_AGENT_ON_X64 : [])];
    expect(calls).toEqual(Object.fromEntries([...OF_BOTH, ...more].map((name) => [name, EPERM])));
  });

  it.each(['vault', 'agent'] as const)(
    '%s: has no sockets but local ones, and the kms-agent a share of the memory',
    async (who) => {
      const { controls } = await reportOf(who);
      const refused = { inet6: EPERM, netlink: EPERM, packet: EPERM, alg: EPERM };
      expect(controls).toEqual({ getpid: 0, unix: 0, ...refused, memory: who === 'agent' ? ENOMEM : 0 });
    },
  );

  it.each(['vault', 'agent'] as const)(
    '%s: filter and promise hold for every thread, and there is no core file',
    (who) => {
      const pid = who === 'vault' ? vault() : agent();
      const threads = readdirSync(`/proc/${pid}/task`);
      expect(threads.length).toBeGreaterThan(4);
      for (const thread of threads) {
        const status = procFile(pid, `task/${thread}/status`);
        expect([field(status, 'Seccomp'), field(status, 'NoNewPrivs')]).toEqual(['2', '1']);
      }
      expect(limit(pid, 'Max core file size')).toEqual(['0', '0']);
    },
  );

  it('the kms-agent has limits that it cannot raise', () => {
    const { kmsAgentDataBytes, kmsAgentDescriptors, kmsAgentThreads } = LIMITS;
    const twice = (value: number): string[] => [String(value), String(value)];
    expect(limit(agent(), 'Max data size')).toEqual(twice(kmsAgentDataBytes));
    expect(limit(agent(), 'Max open files')).toEqual(twice(kmsAgentDescriptors));
    expect(limit(agent(), 'Max processes')).toEqual(twice(kmsAgentThreads));
  });

  it('command lines are flags and places; the kms-agent’s environment is a home that is not there', () => {
    const { dir, enclaveAddresses } = host.backend;
    const { data, control, tunnel } = enclaveAddresses;
    const config = join(dir, 'enclave.json');
    const places = [image.bundle.vault, config, `unix:${join(dir, 'nsm.sock')}`, data, control, tunnel];
    expect(words(vault(), 'cmdline')).toEqual([process.execPath, ...NODE_FLAGS, ...places]);
    const flags = agentFlags(image.bundle.agent, config);
    expect(words(agent(), 'cmdline')).toEqual([process.execPath, ...flags, image.bundle.agent, config, tunnel]);
    expect(words(agent(), 'environ')).toEqual(['HOME=/nonexistent']);
    // The C library ends the first of its settings where the next one begins.
    const known = /^(PATH|HOME|TMPDIR|NODE_NO_WARNINGS|GLIBC_TUNABLES|glibc\.malloc\.\w+)=/;
    expect(words(vault(), 'environ').filter((entry) => !known.test(entry))).toEqual([]);
    for (const pid of [vault(), agent()]) expect(procFile(pid, 'comm')).toMatch(/^(node|MainThread)\n$/);
  });

  it.each(Object.keys(FAULTS) as NodeJS.Signals[])(
    'a fault ends either process and prints no data (%s)',
    async (signal) => {
      await Promise.all([reportOf('vault'), reportOf('agent')]);
      const from = log().length;
      const [before, process_] = [agent(), host.backend.processes.enclave];
      process.kill(before, signal);
      if (signal === 'SIGWINCH') {
        const warned = /^kms-agent: warning: MarkedWarning$/m;
        await until('it has warned', () => warned.test(log().slice(from)));
        await until('of the other, too', () =>
          log().slice(from).includes('kms-agent: warning: DeprecationWarning DEP0001'),
        );
        expect(agent()).toBe(before);
      } else {
        await until('the kms-agent has ended', () => log().slice(from).includes('enclave: kms-agent ended (1)'));
        expect(log().slice(from)).toMatch(/^kms-agent: fatal: (Error|UnhandledPromiseRejection.*|unknown fault)$/m);
        // The vault process starts another one.
        await until('there is another', () => agent() > 0 && agent() !== before);
      }
      process.kill(process_.pid, signal);
      if (signal === 'SIGWINCH') {
        await until('it has warned', () => /^enclave: warning: MarkedWarning$/m.test(log().slice(from)));
      } else {
        expect(await process_.exited).toBe(1);
        expect(log().slice(from)).toMatch(/^enclave: fatal: (Error|UnhandledPromiseRejection.*|unknown fault)$/m);
        await host.backend.restartEnclave();
      }
      expect(log()).not.toContain(MARKER);
      // Neither a stack nor the line of the source that failed.
      expect(log().slice(from)).not.toMatch(/^\s+at |\.cjs:\d/m);
    },
  );
});
