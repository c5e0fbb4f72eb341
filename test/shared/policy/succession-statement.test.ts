/** What owners and successors sign about who follows: its exact lines, and that nothing else fits in them. */
import { addressOf, bootIdOf, timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { renderCreationStatement, renderImportStatement } from '@quantumvault/shared/policy/statement.ts';
import {
  renderCancelStatement,
  renderClaimStatement,
  renderCompleteStatement,
  renderNameStatement,
} from '@quantumvault/shared/policy/succession-statement.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { anyAddress } from '../solana/generated.ts';

const key = (byte: number) => addressOf(new Uint8Array(32).fill(byte));
const beforeMs = timeMs(Date.parse('2026-11-22T13:00:00Z'));
const facts = {
  deployment: 'prod-eu-1',
  wallet: key(1),
  owner: key(2),
  change: 3,
  boot: bootIdOf(new Uint8Array(32).fill(4)),
  nonce: new Uint8Array(16).fill(5),
  beforeMs,
};
const successor = { key: key(6), delayDays: 30 };
const codeOf = (action: () => unknown): string | undefined => refusalOf(action)?.code;

describe('succession statements', () => {
  it('of naming', () => {
    expect(renderNameStatement({ ...facts, successor })).toMatchInlineSnapshot(`
      "qv/name-successor/v1: name who may become its owner
      Deployment: prod-eu-1
      Wallet: 4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi
      Owner: 8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR
      Change: 3
      Boot: GgBaCs3NCBuZN12kCJgAW63ydqohFkHEdfdEXBPzLHq
      Nonce: 05050505050505050505050505050505
      Counts before: 2026-11-22T13:00:00Z
      Successor: QWmroo4YnnMqYW3cnxWkFdaTxGD3P7vMSzwMHGbUzwF
      Delay: 30 days
      The successor can claim this wallet and own it after the delay;
      until the delay has passed the owner can cancel each claim."
    `);
  });

  it('of naming nobody any more', () => {
    expect(renderNameStatement({ ...facts, successor: undefined })).toMatchInlineSnapshot(`
      "qv/name-successor/v1: name who may become its owner
      Deployment: prod-eu-1
      Wallet: 4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi
      Owner: 8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR
      Change: 3
      Boot: GgBaCs3NCBuZN12kCJgAW63ydqohFkHEdfdEXBPzLHq
      Nonce: 05050505050505050505050505050505
      Counts before: 2026-11-22T13:00:00Z
      Successor: none
      Nobody else can become the owner of this wallet."
    `);
  });

  it('of claiming', () => {
    expect(renderClaimStatement({ ...facts, successor: successor.key })).toMatchInlineSnapshot(`
      "qv/claim-wallet/v1: claim this wallet as its successor
      Deployment: prod-eu-1
      Wallet: 4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi
      Owner: 8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR
      Change: 3
      Boot: GgBaCs3NCBuZN12kCJgAW63ydqohFkHEdfdEXBPzLHq
      Nonce: 05050505050505050505050505050505
      Counts before: 2026-11-22T13:00:00Z
      Successor: QWmroo4YnnMqYW3cnxWkFdaTxGD3P7vMSzwMHGbUzwF
      The delay that its owner has set begins; he can cancel until it has passed."
    `);
  });

  it('of cancelling', () => {
    expect(renderCancelStatement({ ...facts, successor: successor.key })).toMatchInlineSnapshot(`
      "qv/cancel-claim/v1: cancel the claim of its successor
      Deployment: prod-eu-1
      Wallet: 4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi
      Owner: 8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR
      Change: 3
      Boot: GgBaCs3NCBuZN12kCJgAW63ydqohFkHEdfdEXBPzLHq
      Nonce: 05050505050505050505050505050505
      Counts before: 2026-11-22T13:00:00Z
      Successor: QWmroo4YnnMqYW3cnxWkFdaTxGD3P7vMSzwMHGbUzwF
      The successor stays named and can claim again."
    `);
  });

  it('of taking over', () => {
    expect(renderCompleteStatement({ ...facts, successor: successor.key })).toMatchInlineSnapshot(`
      "qv/take-wallet-over/v1: become the owner of this wallet
      Deployment: prod-eu-1
      Wallet: 4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi
      Owner: 8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR
      Change: 3
      Boot: GgBaCs3NCBuZN12kCJgAW63ydqohFkHEdfdEXBPzLHq
      Nonce: 05050505050505050505050505050505
      Counts before: 2026-11-22T13:00:00Z
      Successor: QWmroo4YnnMqYW3cnxWkFdaTxGD3P7vMSzwMHGbUzwF
      No policy counts until the new owner enables one. What is frozen stays frozen."
    `);
  });

  it('differ wherever one of their facts does, and fit what every wallet shows', () => {
    const other = { ...facts, nonce: new Uint8Array(16).fill(7) };
    const texts = [facts, other].flatMap((each) => [
      renderNameStatement({ ...each, successor }),
      renderNameStatement({ ...each, successor: { ...successor, delayDays: 1 } }),
      renderNameStatement({ ...each, successor: undefined }),
      renderClaimStatement({ ...each, successor: successor.key }),
      renderCancelStatement({ ...each, successor: successor.key }),
      renderCompleteStatement({ ...each, successor: successor.key }),
    ]);
    expect(new Set(texts).size).toBe(texts.length);
    for (const text of texts) expect(text).toMatch(/^[\x20-\x7e\n]*$/);
    fc.assert(
      fc.property(anyAddress, anyAddress, fc.integer({ min: 1, max: 0xffff_ffff }), (wallet, owner, change) => {
        const longest = { ...facts, deployment: 'd'.repeat(64), wallet, owner, change };
        const named = { key: key(6), delayDays: LIMITS.successorDelayDays };
        expect(renderNameStatement({ ...longest, successor: named }).length).toBeLessThanOrEqual(LIMITS.statementBytes);
      }),
    );
  });

  it.each([
    ['no change', { change: 0 }],
    ['half a change', { change: 1.5 }],
    ['a change beyond 32 bits', { change: 2 ** 32 }],
    ['a short nonce', { nonce: new Uint8Array(15) }],
    ['a line break in the deployment', { deployment: 'a\nOwner: b' }],
  ])('refuse %s', (_, change) => {
    const wrong = { ...facts, ...change };
    for (const render of [renderClaimStatement, renderCancelStatement, renderCompleteStatement])
      expect(codeOf(() => render({ ...wrong, successor: successor.key }))).toBe('field_malformed');
    expect(codeOf(() => renderNameStatement({ ...wrong, successor }))).toBe('field_malformed');
  });

  it.each([
    ['no days', { delayDays: 0 }],
    ['half days', { delayDays: 1.5 }],
    ['more days than a year has', { delayDays: LIMITS.successorDelayDays + 1 }],
    ['the owner', { key: facts.owner }],
    ['the wallet', { key: facts.wallet }],
  ])('refuse %s for a successor', (_, change) => {
    const wrong = { ...successor, ...change };
    expect(codeOf(() => renderNameStatement({ ...facts, successor: wrong }))).toBe('field_malformed');
  });
});

describe('a successor in the statement that begins a wallet', () => {
  const created = { deployment: 'prod-eu-1', owner: key(2), nonce: facts.nonce, requesters: [key(8)] };
  const imported = { ...created, wallet: key(1), boot: facts.boot, importKey: new Uint8Array(32).fill(9) };

  it('is one line more; without one it is the statement of before', () => {
    const without = renderCreationStatement({ ...created, createBeforeMs: beforeMs });
    const text = renderCreationStatement({ ...created, createBeforeMs: beforeMs, successor });
    expect(text).toContain(`\nSuccessor: ${successor.key} after 30 days\n`);
    expect(text.replace(/Successor: .*\n/, '')).toBe(without);
    const single = { ...successor, delayDays: 1 };
    const brought = renderImportStatement({ ...imported, importBeforeMs: beforeMs, successor: single });
    expect(brought).toContain(`\nSuccessor: ${successor.key} after 1 day\n`);
    expect(brought.replace(/Successor: .*\n/, '')).toBe(
      renderImportStatement({ ...imported, importBeforeMs: beforeMs }),
    );
  });

  it('fits beside sixteen requesters, whose hash stands there then', () => {
    const requesters = Array.from({ length: 16 }, (_, index) => key(100 + index));
    const longest = { ...created, deployment: 'd'.repeat(64), requesters, createBeforeMs: beforeMs };
    expect(renderCreationStatement(longest)).toContain(requesters[15]);
    const text = renderCreationStatement({ ...longest, successor });
    expect(text.length).toBeLessThanOrEqual(LIMITS.statementBytes);
    expect(text).toMatch(/\nRequesters: 16 entries, SHA-256 [0-9a-f]{32}$/);
  });

  it('is neither the owner nor the wallet, and waits', () => {
    for (const wrong of [
      { ...successor, key: created.owner },
      { ...successor, delayDays: 0 },
    ])
      expect(codeOf(() => renderCreationStatement({ ...created, createBeforeMs: beforeMs, successor: wrong }))).toBe(
        'field_malformed',
      );
    const own = { ...successor, key: imported.wallet };
    expect(codeOf(() => renderImportStatement({ ...imported, importBeforeMs: beforeMs, successor: own }))).toBe(
      'field_malformed',
    );
  });
});
