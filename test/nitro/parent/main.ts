/**
 * The driver in the parent guest: starts what runs on a parent instance, uses it as its users would, and reports what
 * it saw. It judges nothing: that is for the test outside (enclave.nitro.ts). argv: the scenario.
 */
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { initRowKey } from '@quantumvault/host/cli/row-key.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { loadNative, vsockTransport } from '@quantumvault/shared/native.ts';
import { KmsAdmin } from '../../stack/kms/admin.ts';
import { type StackProcess, startProcess } from '../../stack/process.ts';
import {
  ENCLAVE_CID,
  HEARTBEAT_PORT,
  PARENT,
  PARENT_CID,
  type ReportName,
  type Reports,
  type Scenario,
} from '../layout.ts';
import { attestation, useEnclave } from './use.ts';

/** Boot of an emulated enclave on a busy machine, and its first call of KMS. */
const READY_MILLISECONDS = 180_000;

const { repository, state } = PARENT;
const processes: StackProcess[] = [];

/** The one virtual serial port of this guest. */
const port = readdirSync('/dev').find((name) => name.startsWith('vport'));
function report<Name extends ReportName>(name: Name, facts: Reports[Name]): void {
  const line = `${JSON.stringify({ name, facts })}\n`;
  process.stdout.write(`report: ${name}\n`);
  appendFileSync(`/dev/${port}`, line);
}

async function start(name: string, args: readonly string[]): Promise<StackProcess> {
  const started = await startProcess(name, args, join(state, `${name}.log`));
  processes.push(started);
  return started;
}

/**
 * Echoes what an enclave's init sends before it starts the application. Resolves with the first echo. Nobody may call the
 * enclave earlier: vhost-device-vsock never carries anything to a guest that was called before its device was ready.
 */
async function heartbeat(): Promise<void> {
  const native = loadNative(join(repository, 'shared/native/qv-native.node'));
  const transport = vsockTransport(native, { acceptFrom: ENCLAVE_CID });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  await transport.listen({ kind: 'vsock', cid: PARENT_CID, port: HEARTBEAT_PORT }, (stream) => {
    stream.once('data', (bytes: Uint8Array) => {
      report('heartbeat', { byte: bytes[0] ?? -1 });
      stream.end(bytes);
      resolve();
    });
    stream.on('error', () => undefined);
  });
  report('listening', { port: HEARTBEAT_PORT });
  const late = setTimeout(() => reject(new Error('no heartbeat')), READY_MILLISECONDS);
  await promise;
  clearTimeout(late);
}

async function untilReady(url: string): Promise<void> {
  const deadline = performance.now() + READY_MILLISECONDS;
  for (;;) {
    const response = await fetch(`${url}/readyz`);
    const body = await response.text();
    if (response.ok) return;
    if (performance.now() > deadline) throw new Error(`the host is not ready: ${body}`);
    await sleep(200);
  }
}

/** Up to the first call of KMS. */
async function beRefused(url: string, adminSocket: string): Promise<void> {
  report('attestation', await untilAttested(url));
  const deadline = performance.now() + READY_MILLISECONDS;
  for (;;) {
    const code = await initRowKey(adminSocket, 0).then(() => 'made', codeOf);
    // Anything else may only mean that the host has not handed over the credentials yet.
    if (['kms_refused', 'made'].includes(code) || performance.now() > deadline) return report('refused', { code });
    await sleep(200);
  }
}

async function untilAttested(url: string): Promise<Reports['attestation']> {
  const deadline = performance.now() + READY_MILLISECONDS;
  for (;;) {
    try {
      return await attestation(url);
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await sleep(200);
  }
}

async function drive(): Promise<void> {
  await start('kms', [join(repository, 'test/stack/kms/main.ts'), join(state, 'kms.json')]);
  await heartbeat();
  const host = await start('host', [join(repository, 'host/src/main.ts'), '--config', join(state, 'host.json')]);
  const url = String(host.ready['http']);
  const adminSocket = String(host.ready['admin']);
  if ((process.argv[2] as Scenario) === 'allowed') {
    await initRowKey(adminSocket, READY_MILLISECONDS);
    await untilReady(url);
    await useEnclave(url, adminSocket, report);
  } else {
    await beRefused(url, adminSocket);
  }
  const kms = new KmsAdmin(`unix:${state}/kms-admin.sock`);
  report('kmsCalls', await kms.calls());
  kms.close();
  await host.stop();
  report('hostEnded', { exit: await host.exited });
}

function logs(): string {
  return readdirSync(state)
    .filter((name) => name.endsWith('.log'))
    .map((name) => `== ${name}\n${readFileSync(join(state, name), 'utf8').slice(-8000)}`)
    .join('\n');
}

try {
  await drive();
} catch (error) {
  process.exitCode = 1;
  report('failed', { message: error instanceof Error ? (error.stack ?? error.message) : String(error), logs: logs() });
}
for (const each of processes) await each.stop();
process.exit();
