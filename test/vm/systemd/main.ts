/** In a guest: boots systemd below SYSTEM as the first process of its own namespaces, and prints what its checks say. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { DONE, REPORT, SYSTEM } from './layout.ts';

const BOOT = `
b() { /bin/busybox "$@" || exit 1; }
b mount -o bind ${SYSTEM} ${SYSTEM}
cd ${SYSTEM}
b mount -t proc proc proc
b mount -t sysfs sys sys
b mount -t devtmpfs dev dev
b mount -t tmpfs -o mode=755 run run
b mount -o move . /
exec /bin/busybox chroot . /usr/lib/systemd/systemd
`;

// Not our streams: systemd outlives us, and the guest ends when they do. It has the console.
const systemd = spawn('/bin/busybox', ['unshare', '-m', '-p', '-f', '/bin/sh', '-c', BOOT], { stdio: 'ignore' });
const ended = once(systemd, 'exit');
let gone = false;
void ended.then(() => {
  gone = true;
});

let printed = 0;
const report = (): void => {
  if (!existsSync(REPORT)) return;
  const text = readFileSync(REPORT, 'utf8');
  const whole = text.slice(printed, text.lastIndexOf('\n') + 1);
  printed += whole.length;
  process.stdout.write(whole);
};
while (!gone && !existsSync(DONE)) {
  await sleep(500);
  report();
}
report();
process.exit(existsSync(DONE) ? Number(readFileSync(DONE, 'utf8')) : 1);
