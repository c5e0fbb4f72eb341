/** A whole host with a fake enclave for qv doctor to examine, and faults to put into it. */
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { examine } from '@quantumvault/host/cli/doctor/doctor.ts';
import { type Machine, thisMachine } from '@quantumvault/host/cli/doctor/facts.ts';
import { CHECKS, type CheckName, type Finding } from '@quantumvault/host/cli/doctor/finding.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { noteCode } from '../../../support/codes-seen.ts';
import { Harness } from '../../harness.ts';

export const GIBIBYTE = 1024 ** 3;
export const asRoot = process.geteuid?.() === 0;

let umask: number;
/** Of the test that runs. */
export let harness: Harness;
let kms: Server;
let examined: Machine;
/** Called after the test. */
export const closing: (() => unknown)[] = [];

export const machine = (): Machine => examined;

/** For the rest of the test. */
export function onMachine(changes: Partial<Machine>): void {
  examined = { ...examined, ...changes };
}

export const kmsEndpoint = (): string => `127.0.0.1:${(kms.address() as AddressInfo).port}`;

/** A deployment for each test of the file. */
export function patient(): void {
  beforeAll(async () => {
    // As main.ts has it.
    umask = process.umask(0o077);
    kms = createServer((socket) => socket.on('error', () => {}));
    await new Promise<void>((resolve) => kms.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => {
    process.umask(umask);
    kms.close();
  });
  beforeEach(async () => {
    harness = await new Harness().start();
    examined = {
      ...thisMachine(),
      isClockSynchronised: async () => true,
      space: () => ({ freeBytes: 50 * GIBIBYTE, totalBytes: 100 * GIBIBYTE, freeFiles: 1_000, totalFiles: 2_000 }),
    };
  });
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
    await harness.stop();
  });
}

/** The running host's configuration, as its operator wrote it down. */
export function writeConfig(changes: Record<string, unknown> = {}): string {
  const port = Number(new URL(harness.host.url).port);
  const json = {
    ...harness.configJson(),
    listen: { host: '127.0.0.1', port },
    kmsTunnel: {
      listen: `unix:${harness.path('tunnel.sock')}`,
      endpoint: kmsEndpoint(),
    },
    ...changes,
  };
  return harness.writePrivate('host.json', JSON.stringify(json));
}

export async function findings(changes?: Record<string, unknown>, url?: string): Promise<readonly Finding[]> {
  const options = { configFile: writeConfig(changes), url, pcrSets: [], unsafeTrustedRootDer: undefined };
  const found = await examine(options, examined);
  for (const { code } of found) if (code !== undefined) noteCode(code);
  // Each check says something, and what is not well says what to do.
  expect([...new Set(found.map(({ check }) => check))]).toEqual([...CHECKS]);
  for (const { health, fix } of found) if (health === 'failed' || health === 'warning') expect(fix).toBeTruthy();
  return found;
}

export async function of(
  check: CheckName,
  changes?: Record<string, unknown>,
  url?: string,
): Promise<readonly Finding[]> {
  return (await findings(changes, url)).filter((finding) => finding.check === check);
}

export const bad = (found: readonly Finding[]): readonly Finding[] =>
  found.filter(({ health }) => health === 'failed' || health === 'warning');

export async function serve(listener: RequestListener): Promise<string> {
  const server = createHttpServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Where nobody listens any more. */
export async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

/** Whatever else the enclave says. */
export function says(changes: Partial<ReplyOf<'status'>>): void {
  const usual = harness.enclave.defaultHandler('status');
  harness.enclave.handlers.status = async (body) => ({ ...((await usual(body)) as ReplyOf<'status'>), ...changes });
}
