/** `npm run bench:vsock`: the addon in a guest, beside node-vsock's published binary and Node's Unix sockets. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildNative } from '../../shared/native/build.ts';
import { fileEntry } from '../vm/cpio.ts';
import { runGuest } from '../vm/guest.ts';
import { requireVm } from '../vm/machine.ts';
import { GUEST_REPOSITORY, repositoryEntries } from '../vm/repository.ts';

interface Row {
  readonly name: string;
  readonly tripMilliseconds: number;
  readonly mebibytesPerSecond: number;
}

const machine = requireVm();
if (machine === undefined) process.exit(1);
const folder = mkdtempSync(join(tmpdir(), 'qv-bench-'));
try {
  const addon = join(folder, 'qv-native.node');
  buildNative({ outFile: addon });
  const {
    lines,
    status,
    console: said,
  } = await runGuest({
    machine,
    entries: [...repositoryEntries(), fileEntry('addon/qv-native.node', addon, 0o755)],
    args: ['test/bench/vsock/main.ts', '/addon/qv-native.node'],
    workingFolder: GUEST_REPOSITORY,
    timeoutSeconds: 300,
  });
  if (status !== 0) throw new Error(`the guest's program ended with ${status}\n${[...lines, said].join('\n')}`);
  const { rows } = JSON.parse(lines.at(-1) ?? '') as { rows: Row[] };
  console.log('| carrier | 64 bytes there and back, ms | MiB per second, one way |\n| --- | --- | --- |');
  for (const { name, tripMilliseconds, mebibytesPerSecond } of rows)
    console.log(`| ${name} | ${tripMilliseconds.toFixed(2)} | ${mebibytesPerSecond.toFixed(0)} |`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
