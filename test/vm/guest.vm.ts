/** The guest itself: what is run in it, what comes out of it, and that it never outlives its time. */
import { describe, expect, test } from 'vitest';
import { type GuestResult, runGuest } from './guest.ts';
import { requireVm } from './machine.ts';

const machine = requireVm();

/** A program of one file. */
async function run(source: string, timeoutSeconds: number): Promise<GuestResult> {
  if (machine === undefined) throw new Error('skipped tests do not run');
  return runGuest({
    machine,
    entries: [{ kind: 'file', path: 'app/main.mjs', content: Buffer.from(source) }],
    args: ['/app/main.mjs', "it's one argument"],
    env: { QV_GUEST: "an 'environment'" },
    workingFolder: '/app',
    timeoutSeconds,
  });
}

describe.skipIf(machine === undefined)('a guest', () => {
  test('runs the pinned Node with vsock loopback, and its status and lines come out', async () => {
    const { status, lines, timedOut, console } = await run(
      `import { readFileSync } from 'node:fs';
       process.stdout.write(JSON.stringify([process.version, process.argv[2], process.env.QV_GUEST, process.cwd()]) + '\\n');
       process.stdout.write(readFileSync('/proc/modules', 'utf8').split('\\n').map((line) => line.split(' ')[0]).join(' ') + '\\n');
       process.stderr.write('last words');
       process.exitCode = 7;`,
      60,
    );
    expect({ status, timedOut, lines }, console).toEqual({
      status: 7,
      timedOut: false,
      lines: [
        JSON.stringify([process.version, "it's one argument", "an 'environment'", '/app']),
        'vsock_loopback vmw_vsock_virtio_transport_common vsock ',
        'last words',
      ],
    });
  });

  test('is killed when its time is over', async () => {
    const result = await run('setInterval(() => {}, 1000);', 3);
    expect({ status: result.status, timedOut: result.timedOut }).toEqual({ status: undefined, timedOut: true });
  });
});
