/**
 * Moving wallets between boots, as operators order it on the admin socket (protocol: admin-protocol.ts). One wallet per
 * command, so that an order for thousands of them can be interrupted anywhere and given again: the enclave answers a
 * repeat as it answered before. Nothing here decides; what the enclave answered is durable before it is passed on.
 */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { leaseCodec } from '@quantumvault/shared/evidence/succession.ts';
import type { JsonFields } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { AdminCommands } from '../admin-protocol.ts';
import { signedBytesField } from '../client/wire.ts';
import type { MovedRecord } from '../row-writes.ts';
import { blobsOf, verifiedRow } from '../wallet-rows.ts';
import { signedBytesJson } from '../wire-json.ts';
import type { AdminDeps } from './deps.ts';
import { readOperatorSigned, readState, stateJson } from './succession-json.ts';

type Answer<C extends keyof AdminCommands> = Promise<AdminCommands[C]['result']>;

export async function wallets(fields: JsonFields, { store }: AdminDeps): Answer<'wallets'> {
  const after = fields.optional('after') === undefined ? undefined : address(fields.text('after'), 'after');
  fields.end();
  return { wallets: await store.listWallets(after, LIMITS.adminWallets) };
}

/** @throws QvError what the enclave refuses with; wallet_unknown, row_tampered, store_* */
export async function release(fields: JsonFields, deps: AdminDeps): Answer<'release'> {
  const wallet = address(fields.text('wallet'), 'wallet');
  const order = readOperatorSigned(fields.required('order'), 'order');
  fields.end();
  const { store, session, enclave, records } = deps;
  records.requireRoom();
  const row = await verifiedRow(store, session, wallet);
  const keep = keeper(deps, row);
  const reply = await enclave.request('release', { order, wallet }, { onLate: keep.late });
  await keep.now(reply);
  return { release: signedBytesJson(reply.release), state: stateJson(reply.state) };
}

/** @throws QvError as `release` */
export async function take(fields: JsonFields, deps: AdminDeps): Answer<'take'> {
  const wallet = address(fields.text('wallet'), 'wallet');
  const right = {
    ...(fields.optional('release') !== undefined && { release: signedBytesField(fields, 'release') }),
    ...(fields.optional('lease') !== undefined && { lease: readOperatorSigned(fields.required('lease'), 'lease') }),
  };
  const brought = fields.optional('state') === undefined ? undefined : readState(fields.required('state'), 'state');
  fields.end();
  const { store, session, enclave, records } = deps;
  records.requireRoom();
  const row = await verifiedRow(store, session, wallet);
  try {
    const state = await deps.walletKeys.ask(row, async (current) => {
      const newer =
        brought !== undefined && brought.version > current.stateVersion ? { sealedState: brought.blob } : {};
      const request = { wallet, owner: current.owner, blobs: { ...blobsOf(current), ...newer }, ...right };
      const keep = keeper(deps, current);
      const reply = await enclave.request('take', request, { onLate: keep.late });
      await keep.now(reply);
      return reply.state;
    });
    return { version: String(state.version), already: false };
  } catch (error) {
    if (!isHeldHere(error)) throw error;
    // Taken before, and it has signed since. Its newest state is to be here all the same.
    const newest = await enclave.request('stateGet', { wallet });
    await records.state(wallet, newest);
    return { version: String(newest.state.version), already: true };
  }
}

/** The enclave signs for those wallets no more; the states they left with are written down for the successor. */
export async function leaseShow(fields: JsonFields, deps: AdminDeps): Answer<'lease-show'> {
  const lease = readOperatorSigned(fields.required('lease'), 'lease');
  fields.end();
  const leased = decodeAs(leaseCodec, lease.bytes, 'lease').wallets;
  const { given } = await deps.enclave.request('leaseShow', { lease });
  for (const { wallet } of leased) await storeNewest(wallet, deps);
  return { given };
}

export async function publish(fields: JsonFields, { publisher }: AdminDeps): Answer<'publish'> {
  fields.end();
  await publisher.publish();
  return { published: true };
}

async function storeNewest(wallet: Address, { enclave, records }: AdminDeps): Promise<void> {
  try {
    await records.state(wallet, await enclave.request('stateGet', { wallet }));
  } catch (error) {
    // Never held here.
    if (codeOf(error) !== 'wallet_unknown') throw error;
  }
}

type Moved = Pick<ReplyOf<'release'>, 'state' | 'receipt' | 'rewrapped'>;

/** Writes down what the enclave did, also when its answer comes too late for the caller, who asks again. */
function keeper({ records, log }: AdminDeps, row: MovedRecord['row']) {
  const now = ({ state, receipt, rewrapped }: Moved): Promise<void> =>
    records.moved({ row, state, receipts: [receipt], ...(rewrapped && { rewrapped }) });
  const late = (reply: Moved | Error): void => {
    if (reply instanceof Error) return;
    now(reply).catch((error) => log.error({ code: codeOf(error) }, 'a wallet that moved is not stored yet'));
  };
  return { now, late };
}

const isHeldHere = (error: unknown): boolean =>
  error instanceof QvError &&
  error.code === 'succession_mismatch' &&
  error.facts.path === 'wallet' &&
  error.facts.value === 'held';
