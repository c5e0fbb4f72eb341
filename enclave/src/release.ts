/**
 * Handing wallets over (design 8). From the release on this boot signs nothing for the wallet: it is gone from memory,
 * and the version it left with is remembered, so that no older state of it ever counts here again.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import {
  leaseCodec,
  type OperatorSigned,
  type ReleaseOrder,
  releaseCodec,
  releaseOrderCodec,
} from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { Context } from './context.ts';
import { requireOperators } from './operators.ts';

/**
 * A retired wallet stays: a successor would have no use for it.
 * @throws QvError operators_too_few, succession_mismatch, succession_expired, wallet_unknown, wallet_retired,
 * time_untrusted
 */
export function release(context: Context, { order: signed, wallet }: RequestOf<'release'>): ReplyOf<'release'> {
  const order = readOrder(context, signed, wallet);
  const given = context.holdings.given(wallet);
  // The answer was lost: the same hand-over once more, not another one.
  if (given !== undefined && given.successor === order.successor) return given.reply;
  const held = context.holdings.get(wallet);
  if (held === undefined) throw new QvError('wallet_unknown', { path: 'wallet' });
  context.holdings.requireLive(wallet);
  const time = context.time.now();
  const { version } = held.state;
  const { successor } = order;
  const { receipt } = context.log.append({ kind: 'release', wallet, stateVersion: version, successor }, time);
  const bytes = encodeAs(releaseCodec, {
    deployment: context.config.deployment,
    predecessor: context.attester.boot,
    successor,
    wallet,
    version,
    freezes: context.freeze.touching(wallet),
    checkpoint: context.log.checkpoint(),
  });
  const newest = context.holdings.newest(wallet) ?? { state: held.sealed };
  const reply = { release: { bytes, signature: context.vault.signAsBoot(bytes) }, ...newest, receipt };
  context.holdings.give(wallet, { successor, reply });
  context.kept.forget(wallet);
  return reply;
}

/** One operator is enough: a wallet that is released to nobody is out of use, and no more than that. */
function readOrder(context: Context, { bytes, signatures }: OperatorSigned, wallet: Address): ReleaseOrder {
  requireOperators(context.config.operators, signatures, bytes, 1);
  const order = decodeAs(releaseOrderCodec, bytes, 'order');
  const { boot } = context.attester;
  agree('order.deployment', order.deployment === context.config.deployment);
  agree('order.predecessor', order.predecessor === boot);
  agree('order.successor', order.successor !== boot);
  agree('order.wallets', order.wallets?.includes(wallet) !== false);
  requireInTime(context, order.notAfter);
  return order;
}

/** What both sides of a hand-over name has to be the same. @throws QvError succession_mismatch naming what is not */
export function agree(path: string, holds: boolean): void {
  if (!holds) throw new QvError('succession_mismatch', { path });
}

/** @throws QvError succession_expired, time_untrusted */
export function requireInTime({ time }: Context, notAfter: number): void {
  const now = time.now();
  if (notAfter < now || notAfter > now + LIMITS.leaseMaxAheadSeconds * 1000) throw new QvError('succession_expired');
}

/**
 * A lease that names this boot as the one that was terminated. It lives, so the operators were wrong; what they signed
 * counts all the same, because the successor goes by it.
 * @throws QvError operators_too_few, succession_mismatch
 */
export function leaseShow(context: Context, { lease }: RequestOf<'leaseShow'>): ReplyOf<'leaseShow'> {
  const { bytes, signatures } = lease;
  requireOperators(context.config.operators, signatures, bytes);
  const { deployment, predecessor, successor, wallets } = decodeAs(leaseCodec, bytes, 'lease');
  agree('lease.deployment', deployment === context.config.deployment);
  agree('lease.predecessor', predecessor === context.attester.boot);
  let given = 0;
  for (const { wallet } of wallets) {
    const held = context.holdings.get(wallet);
    if (held === undefined) continue;
    const facts = { wallet, stateVersion: held.state.version, successor };
    context.log.append({ kind: 'release', ...facts }, context.time.lastTrusted());
    context.holdings.give(wallet, undefined);
    context.kept.forget(wallet);
    // Nobody counts what is still held back: the successor goes by a log that may end before it.
    context.witnesses.refuse((subject) => subject.wallet === wallet, new QvError('wallet_held_elsewhere'));
    given++;
  }
  return { given };
}
