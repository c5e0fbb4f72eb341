/** The admin socket's server (protocol: admin-protocol.ts). The stop button: it waits for no store and no queue. */
import { chmodSync, chownSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { codeOf, ERRORS, QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { AdminDeps } from './admin/deps.ts';
import { freeze } from './admin/freeze.ts';
import { metrics } from './admin/metrics.ts';
import { beginMigration, endMigration, migrateRow } from './admin/migration.ts';
import { resume } from './admin/resume.ts';
import { createRowKey, rotateRowKey, rowKeyStatus } from './admin/row-key.ts';
import { status } from './admin/status.ts';
import { leaseShow, publish, release, take, wallets } from './admin/succession.ts';
import { rotateWallet } from './admin/wallet-keys.ts';
import type { AdminCommand, AdminReply } from './admin-protocol.ts';
import type { HostConfig } from './config.ts';
import { removeStaleSocket } from './unix-socket.ts';

/** What a command does with its fields; it reads them to the last before it acts. */
type Perform = (fields: JsonFields, deps: AdminDeps) => Promise<unknown>;

/** One file under admin/ and one line here for each. */
const COMMANDS: Readonly<Record<AdminCommand, Perform>> = {
  freeze,
  resume,
  status,
  wallets,
  release,
  take,
  'lease-show': leaseShow,
  'migration-begin': beginMigration,
  'migration-row': migrateRow,
  'migration-end': endMigration,
  publish,
  'wallet-rotate': rotateWallet,
  metrics,
  'row-key-create': createRowKey,
  'row-key-rotate': rotateRowKey,
  'row-key-status': rowKeyStatus,
};

export interface AdminServer {
  close(): Promise<void>;
}

const MODE = 0o660;

/** @throws QvError config_invalid when the socket's path is taken */
export async function startAdmin(where: HostConfig['adminSocket'], deps: AdminDeps): Promise<AdminServer> {
  await removeStaleSocket(where.path, 'adminSocket.path');
  /** In order of arrival, and whether a freeze of theirs is under way. */
  const open = new Map<Socket, { busy: boolean }>();
  // Half-open: a caller may finish writing before it reads its answers.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    if (!makeRoom(open)) {
      socket.destroy();
      return;
    }
    const state = { busy: false };
    open.set(socket, state);
    socket.on('close', () => open.delete(socket));
    socket.on('error', (error) => deps.log.debug({ reason: error.message }, 'admin connection'));
    socket.setTimeout(LIMITS.adminIdleMilliseconds, () => socket.destroy());
    void serve(socket, state, deps);
  });
  // Bound before anything else can run, so nobody connects while the permissions are still the umask's.
  const umask = process.umask(0o777 & ~0o600);
  try {
    const listening = new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(where.path, resolve);
    });
    process.umask(umask);
    await listening;
  } finally {
    process.umask(umask);
  }
  if (where.groupId !== undefined) chownSync(where.path, -1, where.groupId);
  chmodSync(where.path, MODE);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open.keys()) socket.destroy();
      }),
  };
}

/** Connections that only wait must not keep an order out: the oldest of them goes. False when all have work. */
function makeRoom(open: Map<Socket, { busy: boolean }>): boolean {
  if (open.size < LIMITS.adminConnections) return true;
  for (const [socket, { busy }] of open) {
    if (busy) continue;
    open.delete(socket);
    socket.destroy();
    return true;
  }
  return false;
}

/** Lines in, lines out, one after the other. A line that does not end in time or size ends the connection. */
async function serve(socket: Socket, state: { busy: boolean }, deps: AdminDeps): Promise<void> {
  let buffered = Buffer.alloc(0);
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      buffered = Buffer.concat([buffered, chunk]);
      for (let end = buffered.indexOf(10); end >= 0; end = buffered.indexOf(10)) {
        const line = buffered.subarray(0, end);
        buffered = buffered.subarray(end + 1);
        // Only an order holds its place: a status that hangs must not keep one out.
        state.busy = line.includes('"freeze"');
        const reply = line.length > LIMITS.adminLineBytes ? refusal(tooLong()) : await answer(line, deps);
        state.busy = false;
        if (socket.writable) socket.write(`${JSON.stringify(reply)}\n`);
      }
      if (buffered.length > LIMITS.adminLineBytes) {
        socket.end(`${JSON.stringify(refusal(tooLong()))}\n`);
        return;
      }
    }
    socket.end();
  } catch {
    socket.destroy();
  }
}

const tooLong = (): QvError => new QvError('body_too_large');

async function answer(line: Uint8Array, deps: AdminDeps): Promise<AdminReply> {
  try {
    return { ok: true, result: await perform(new JsonFields(parseStrictJson(line)), deps) };
  } catch (error) {
    if (codeOf(error) === 'internal') deps.log.error({ reason: String(error) }, 'admin command failed');
    return refusal(error);
  }
}

function refusal(error: unknown): AdminReply {
  const code = codeOf(error);
  const { meaning, retryable } = ERRORS[code];
  return {
    ok: false,
    error: { code, title: meaning, retryable, ...(error instanceof QvError ? error.facts : {}) },
  };
}

async function perform(fields: JsonFields, deps: AdminDeps): Promise<unknown> {
  const command = fields.text('command');
  if (!Object.hasOwn(COMMANDS, command)) throw new QvError('admin_command_unknown', { path: 'command' });
  return await COMMANDS[command as AdminCommand](fields, deps);
}
