/**
 * The freeze latch (design 9): fleet, one wallet, or one requester. Setting it needs nothing and can do nothing but
 * stop signing. Each order gets a random id; a new order for a scope replaces the ids of earlier ones, so that a
 * resume that was signed before it ends nothing. What another boot had frozen stays frozen here under its own id.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import { equalBytes, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { FLEET, isOfWallet, scopesOf, touches, walletScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { type FreezeAck, freezeAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { type HeldFreeze, renderResumeStatement, resumeAckCodec } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { Context } from './context.ts';
import { requireOperators } from './operators.ts';
import { randomBytes, verifyEd25519 } from './vault.ts';

/** Whose signature is asked for. */
export interface Subject {
  readonly wallet: Address;
  readonly requester: Address;
}

export class Freeze {
  /** By scope: the id of its last order here, and those that came with wallets of other boots. Never empty. */
  readonly #held = new Map<string, readonly Uint8Array[]>();

  /** Of the fleet's freeze; undefined while there is none. */
  get id(): Uint8Array | undefined {
    return this.#held.get(FLEET)?.[0];
  }

  /** @throws QvError frozen naming the scope */
  requireOpen(subject?: Subject): void {
    const path = this.scopeOf(subject);
    if (path !== undefined) throw new QvError('frozen', { path });
  }

  /** The scope that stops this; undefined if nothing does. */
  scopeOf(subject?: Subject): string | undefined {
    return scopesOf(subject).find((scope) => this.#held.has(scope));
  }

  /** Whoever asks for its signatures. */
  stopsWallet(wallet: Address): boolean {
    return scopesOf({ wallet }).some((scope) => this.#held.has(scope));
  }

  /** The scope that was latched. More scopes than there is room for freeze everything: a freeze is never refused. */
  latch(scope: string, id: Uint8Array): string {
    const latched = this.#held.has(scope) || this.#held.size < LIMITS.frozenScopes ? scope : FLEET;
    this.#held.set(latched, [id]);
    return latched;
  }

  /** Takes over what the holder of a wallet, or the operators, say is frozen: each id has to be resumed by itself. */
  carryOver(freezes: readonly HeldFreeze[]): void {
    for (const { scope, freezeId } of freezes) {
      const ids = this.#held.get(scope) ?? [];
      if (ids.some((id) => equalBytes(id, freezeId))) continue;
      if (ids.length === 0) this.latch(scope, freezeId);
      // One more than fits would change nothing: all the others hold.
      else if (ids.length < LIMITS.carriedFreezes) this.#held.set(scope, [...ids, freezeId]);
    }
  }

  touching(wallet: Address): readonly HeldFreeze[] {
    const all = this.#all().filter(({ scope }) => touches(scope, wallet));
    if (all.length <= LIMITS.carriedFreezes) return all;
    // What operators end becomes a freeze of everything, which they end. What its owner ends stays his: of more ids of
    // one scope than fit, those that stay hold for the others.
    const own = all.filter(({ scope }) => scope === walletScope(wallet)).slice(0, LIMITS.carriedFreezes - 1);
    return [{ scope: FLEET, freezeId: this.id ?? randomBytes(16) }, ...own];
  }

  #all(): readonly HeldFreeze[] {
    return [...this.#held].flatMap(([scope, ids]) => ids.map((freezeId) => ({ scope, freezeId })));
  }

  list(): ReplyOf<'freezesGet'> {
    const held = this.#all().toSorted((a, b) => Number(b.scope === FLEET) - Number(a.scope === FLEET));
    return { freezes: held.slice(0, LIMITS.carriedFreezes), count: held.length };
  }

  /** @throws QvError freeze_unknown */
  require(scope: string, id: Uint8Array): void {
    const isHeld = this.#held.get(scope)?.some((held) => equalBytes(held, id));
    if (isHeld !== true) throw new QvError('freeze_unknown', { path: scope });
  }

  end(scope: string, id: Uint8Array): void {
    const left = (this.#held.get(scope) ?? []).filter((held) => !equalBytes(held, id));
    if (left.length === 0) this.#held.delete(scope);
    else this.#held.set(scope, left);
  }
}

/** Latches first; the record and the acknowledgement follow. */
export function freeze(context: Context, request: RequestOf<'freeze'>): ReplyOf<'freeze'> {
  const freezeId = randomBytes(16);
  const scope = context.freeze.latch(request.scope, freezeId);
  context.kept.forget(isOfWallet(scope) ? (scope.slice('wallet:'.length) as Address) : undefined);
  if (context.freeze.id !== undefined) context.legacy?.wipe();
  // What is held back, or on its way out, is purged: it must not leave after the acknowledgement (design 9).
  for (const outbox of context.outboxes) outbox.purge();
  context.witnesses.refuse((subject) => context.freeze.scopeOf(subject) !== undefined, new QvError('frozen'));
  // A freeze must hold even while time is not trusted: the record then says the last time that was.
  const time = context.time.lastTrusted();
  const { reason, by, orderedAt } = request;
  const order = { reason, ...(by !== undefined && { by }), ...(orderedAt !== undefined && { orderedAt }) };
  const { receipt, hash } = context.log.append({ kind: 'frozen', freezeId, scope, ...order }, time);
  const { deployment } = context.config;
  const ack: FreezeAck = { deployment, boot: context.attester.boot, freezeId, scope, time, leafHash: hash };
  const bytes = encodeAs(freezeAckCodec, ack);
  return { ack: { bytes, signature: context.vault.signAsBoot(bytes) }, receipt };
}

/**
 * @throws QvError freeze_unknown, wallet_unknown, statement_signature_invalid, operators_too_few, time_untrusted
 */
export function resume(context: Context, request: RequestOf<'resume'>): ReplyOf<'resume'> {
  const { scope, freezeId, signatures } = request;
  context.freeze.require(scope, freezeId);
  const { deployment, operators } = context.config;
  const { boot } = context.attester;
  const statement = renderResumeStatement({ deployment, boot, scope, freezeId: toHex(freezeId) });
  const who = isOfWallet(scope)
    ? { actor: requireOwner(context, request, statement) }
    : { signers: requireOperators(operators, signatures, utf8(statement)) };
  const time = context.time.now();
  context.freeze.end(scope, freezeId);
  const { receipt, hash } = context.log.append({ kind: 'resumed', freezeId, scope, ...who }, time);
  const bytes = encodeAs(resumeAckCodec, { deployment, boot, freezeId, scope, time, leafHash: hash });
  return { ack: { bytes, signature: context.vault.signAsBoot(bytes) }, receipt };
}

/** @throws QvError wallet_unknown, statement_signature_invalid */
function requireOwner({ holdings }: Context, { scope, signatures }: RequestOf<'resume'>, statement: string): Address {
  const owner = holdings.get(scope.slice('wallet:'.length) as Address)?.state.owner;
  if (owner === undefined) throw new QvError('wallet_unknown', { path: 'scope' });
  const isSigned = signatures.some(
    ({ key, signature }) => key === owner && isSignedByOwner(signature, statement, owner, verifyEd25519),
  );
  if (!isSigned) throw new QvError('statement_signature_invalid');
  return owner;
}
