/** The admin socket's server (protocol: admin-protocol.ts). The stop button: it waits for no store and no queue. */
import { chmodSync, chownSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, ERRORS, QvError } from '@quantumvault/shared/errors.ts';
import { FACT } from '@quantumvault/shared/evidence/leaf.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { AdminReply, AdminStatus } from './admin-protocol.ts';
import type { HostConfig } from './config.ts';
import type { EnclaveClient } from './enclave/client.ts';
import type { EnclaveSession } from './enclave/session.ts';
import { type Freezes, REASON_CHARACTERS } from './freeze.ts';
import type { Log } from './log.ts';
import type { Records } from './records.ts';
import type { Store } from './store/store.ts';
import { removeStaleSocket } from './unix-socket.ts';

export interface AdminDeps {
  readonly deployment: string;
  readonly store: Store;
  readonly enclave: EnclaveClient;
  readonly session: EnclaveSession;
  readonly freezes: Freezes;
  readonly records: Records;
  readonly log: Log;
  readonly draining: () => boolean;
}

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

function perform(fields: JsonFields, deps: AdminDeps): Promise<unknown> {
  const command = fields.text('command');
  switch (command) {
    case 'freeze':
      return freeze(fields, deps);
    case 'status':
      fields.end();
      return status(deps);
    case 'row-key-create':
      fields.end();
      return createRowKey(deps);
    default:
      throw new QvError('admin_command_unknown', { path: 'command' });
  }
}

function freeze(fields: JsonFields, { freezes }: AdminDeps) {
  if (fields.text('scope') !== 'fleet') throw fields.fault('scope', 'not fleet');
  const reason = fields.text('reason');
  if (reason.length > REASON_CHARACTERS || !FACT.test(reason)) {
    throw fields.fault('reason', `at most ${REASON_CHARACTERS} printable ASCII characters`);
  }
  fields.end();
  return freezes.freeze(reason);
}

/** Made once; a second one would turn every row MAC into a forgery. */
async function createRowKey({ store, enclave, session, log }: AdminDeps): Promise<{ created: true }> {
  if ((await store.getMeta('row-key')) !== undefined) throw new QvError('already_initialised');
  const { blob } = await enclave.request('rowKeyCreate', {});
  if (!(await store.createMeta('row-key', blob))) throw new QvError('already_initialised');
  log.info({}, 'row key created');
  // A round that began before the key was there would not have seen it.
  await session.refresh();
  if (!session.hasRowKey) await session.refresh();
  return { created: true };
}

async function status({ deployment, session, store, records, freezes, draining }: AdminDeps): Promise<AdminStatus> {
  const said = session.status;
  const held = freezes.held;
  return {
    deployment,
    draining: draining(),
    enclave:
      said === undefined
        ? null
        : {
            phase: said.phase,
            boot: said.boot ?? null,
            version: said.version,
            configHash: toHex(said.configHash),
            kmsKeyArn: said.kmsKeyArn,
            freezeId: said.freezeId === undefined ? null : toHex(said.freezeId),
            time: said.time === undefined ? null : instant(said.time),
            leaves: String(said.leaves),
            wallets: said.wallets,
          },
    rowKey: session.hasRowKey,
    store: await store.ping().then(
      () => true,
      () => false,
    ),
    backlog: records.backlog,
    freeze: held === undefined ? null : { scope: held.scope, reason: held.reason, at: instant(held.latchedAt) },
  };
}

function instant(time: TimeMs): string {
  return new Date(time).toISOString();
}
