/** The units of host/deploy under a real systemd: that what they forbid does not keep them from working. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { until } from '../../support/temporary.ts';
import type { Check } from '../checks.ts';

/** Software emulation, and a Node that loads some hundred files. */
const PATIENCE = 240_000;
const LIMIT_SECONDS = 280;

const systemctl = (...args: readonly string[]): string => execFileSync('systemctl', args, { encoding: 'utf8' }).trim();
const shown = (unit: string, property: string): string => systemctl('show', '--value', '-p', property, unit);
const journal = (unit: string): string =>
  execFileSync('journalctl', ['--no-pager', '-o', 'cat', '-u', unit], { encoding: 'utf8' });
const enclaveLog = (name: string): string =>
  readFileSync(`/var/log/quantumvault-enclave-${name}/nitro_enclaves.log`, 'utf8');
const groupId = (name: string): number =>
  Number(new RegExp(`^${name}:[^:]*:(\\d+):`, 'm').exec(readFileSync('/etc/group', 'utf8'))?.[1]);

async function answers(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(5_000) })).ok;
  } catch {
    return false;
  }
}

/** As the package of nitro-cli and the instance's kernel leave them. */
function whatTheInstanceHas(): void {
  mkdirSync('/run/nitro_enclaves', { mode: 0o775 });
  chownSync('/run/nitro_enclaves', 0, groupId('ne'));
  chmodSync('/run/nitro_enclaves', 0o775);
  execFileSync('busybox', ['mknod', '/dev/nitro_enclaves', 'c', '1', '3']);
  chownSync('/dev/nitro_enclaves', 0, groupId('ne'));
  chmodSync('/dev/nitro_enclaves', 0o660);
}

export const UNIT_CHECKS: readonly Check<undefined>[] = [
  {
    name: 'users and groups',
    run: async () => {
      execFileSync('systemd-sysusers');
      const group = readFileSync('/etc/group', 'utf8');
      assert.match(group, /^ne:[^:]*:\d+:qv-enclave$/m);
      return readFileSync('/etc/passwd', 'utf8').replaceAll('\n', ' ');
    },
  },
  {
    name: 'without the device the enclave’s unit says so, and does not try',
    run: async () => {
      const { status, stderr } = spawnSync('systemctl', ['start', 'qv-enclave@a'], { encoding: 'utf8' });
      assert.notEqual(status, 0);
      assert.match(stderr, /[Aa]ssert/);
      assert.equal(shown('qv-enclave@a', 'NRestarts'), '0');
      whatTheInstanceHas();
      return stderr.trim();
    },
  },
  {
    name: 'an enclave is started with its own settings, and its process is found',
    run: async () => {
      systemctl('start', 'qv-enclave@a');
      assert.equal(shown('qv-enclave@a', 'ActiveState'), 'active');
      const process = shown('qv-enclave@a', 'MainPID');
      assert.equal(readFileSync('/run/nitro_enclaves/quantumvault-a.pid', 'utf8').trim(), process);
      const [command] = enclaveLog('a').split('\n');
      assert.equal(
        command,
        'run-enclave --enclave-name quantumvault-a --enclave-cid 16 --cpu-count 2 --memory 2048 ' +
          '--eif-path /var/lib/quantumvault-images/a/qv.eif',
      );
      return command;
    },
  },
  {
    name: 'nitro-cli has its device and its folders, and neither network nor anything else',
    run: async () => {
      const log = enclaveLog('a');
      for (const line of [
        'device: yes',
        'the image: yes',
        'another device: no',
        'write to /etc: no',
        'write to /var/lib: no',
        'the internet protocols: no',
        'user: qv-enclave ne',
      ]) {
        assert.ok(log.split('\n').includes(line), `${line} in\n${log}`);
      }
      return undefined;
    },
  },
  {
    name: 'an enclave that is killed is started again',
    run: async () => {
      const before = shown('qv-enclave@a', 'MainPID');
      process.kill(Number(before), 'SIGKILL');
      await until('it is back', () => shown('qv-enclave@a', 'NRestarts') === '1', PATIENCE);
      await until('it runs', () => shown('qv-enclave@a', 'ActiveState') === 'active', PATIENCE);
      assert.notEqual(shown('qv-enclave@a', 'MainPID'), before);
      return undefined;
    },
    limitSeconds: LIMIT_SECONDS,
  },
  {
    name: 'an enclave that ends by itself, and well, is started again',
    run: async () => {
      process.kill(Number(shown('qv-enclave@a', 'MainPID')), 'SIGTERM');
      await until('it is back', () => shown('qv-enclave@a', 'NRestarts') === '2', PATIENCE);
      await until('it runs', () => shown('qv-enclave@a', 'ActiveState') === 'active', PATIENCE);
      return undefined;
    },
    limitSeconds: LIMIT_SECONDS,
  },
  {
    name: 'an enclave that is stopped is terminated, and stays so',
    run: async () => {
      systemctl('stop', 'qv-enclave@a');
      assert.ok(enclaveLog('a').split('\n').includes('terminate-enclave --enclave-name quantumvault-a'));
      assert.equal(shown('qv-enclave@a', 'ActiveState'), 'inactive');
      assert.equal(shown('qv-enclave@a', 'Result'), 'success');
      assert.ok(!existsSync('/run/nitro_enclaves/quantumvault-a.pid'));
      return undefined;
    },
  },
  {
    name: 'the host runs, confined, with its database, its socket and the tunnel’s port',
    run: async () => {
      systemctl('start', 'qv-host@a');
      await until('it answers', () => answers(8080), PATIENCE);
      const status = readFileSync(`/proc/${shown('qv-host@a', 'MainPID')}/status`, 'utf8');
      for (const line of [/^NoNewPrivs:\t1$/m, /^Seccomp:\t2$/m, /^CapEff:\t0+$/m, /^CapBnd:\t0+$/m]) {
        assert.match(status, line);
      }
      assert.equal(statSync('/var/lib/quantumvault/host.sqlite').mode & 0o777, 0o600);
      const socket = statSync('/run/quantumvault/admin.sock');
      assert.deepEqual([socket.mode & 0o777, socket.gid], [0o660, groupId('quantumvault')]);
      assert.doesNotMatch(journal('qv-host@a'), /another host holds the port/);
      return undefined;
    },
    limitSeconds: LIMIT_SECONDS,
  },
  {
    name: 'a second host waits for the tunnel’s port, and takes it when the first one ends',
    run: async () => {
      systemctl('start', 'qv-host@b');
      await until('it answers', () => answers(8081), PATIENCE);
      assert.match(journal('qv-host@b'), /another host holds the port/);
      systemctl('stop', 'qv-host@a');
      assert.equal(shown('qv-host@a', 'Result'), 'success');
      await until('it has the port', () => journal('qv-host@b').includes('this host carries it now'), PATIENCE);
      // The folder is both hosts'.
      assert.ok(existsSync('/run/quantumvault/admin-b.sock'));
      return undefined;
    },
    limitSeconds: LIMIT_SECONDS,
  },
  {
    name: 'a host that is killed is started again',
    run: async () => {
      process.kill(Number(shown('qv-host@b', 'MainPID')), 'SIGKILL');
      await until('it is back', () => shown('qv-host@b', 'NRestarts') === '1', PATIENCE);
      return undefined;
    },
    limitSeconds: LIMIT_SECONDS,
  },
];
