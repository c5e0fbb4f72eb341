import { openStep, RowKey, sealStep } from '@quantumvault/host/row-key.ts';
import { encodeRow, keyIdOf, RowMac, textMacOf } from '@quantumvault/host/row-mac.ts';
import type { SignalRecord, WalletRow } from '@quantumvault/host/store/store.ts';
import { type Signature, timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { FIRST_BLOB, rowMacOf } from '../support/row-keys.ts';
import { bytes, hashOf, key, NOW, row, signal } from './store-fixtures.ts';

const rowKey = () => new Uint8Array(32).fill(42);
const mac = rowMacOf(rowKey());
const { rowMac: _, ...unsealed } = { ...row(key(1)), policy: bytes(300, 8), policyMac: bytes(32, 9) };
const sealed = mac.seal(unsealed);

describe('row MAC', () => {
  it('holds for the row it was made for, under its key only', async () => {
    expect(mac.verify(sealed)).toBe(sealed);
    await expectCode(() => rowMacOf(bytes(32, 41)).verify(sealed), 'row_tampered');
  });

  it('takes the key over and wipes what it was given', () => {
    const given = rowKey();
    expect(new RowMac(new RowKey(given, FIRST_BLOB)).verify(sealed)).toBe(sealed);
    expect(given).toEqual(new Uint8Array(32));
  });

  const flip = (value: unknown): unknown => {
    if (value instanceof Uint8Array) return value.map((byte, index) => (index === value.length - 1 ? byte ^ 1 : byte));
    if (typeof value === 'bigint') return value + 1n;
    if (typeof value === 'number') return value + 1;
    if (typeof value === 'boolean') return !value;
    return key(77);
  };
  const columns = Object.keys(sealed) as (keyof WalletRow)[];

  it('knows of every column', () => {
    expect(columns).toHaveLength(14);
  });

  it.each(columns)('refuses a row whose %s was edited', async (column) => {
    const edited = { ...sealed, [column]: flip(sealed[column]) };
    expect(edited[column]).not.toEqual(sealed[column]);
    await expectCode(() => mac.verify(edited as WalletRow), 'row_tampered');
  });

  it.each(columns.filter((column) => sealed[column] instanceof Uint8Array))('refuses a cut %s', async (column) => {
    const value = sealed[column] as Uint8Array;
    await expectCode(() => mac.verify({ ...sealed, [column]: value.subarray(1) }), 'row_tampered');
    await expectCode(() => mac.verify({ ...sealed, [column]: new Uint8Array() }), 'row_tampered');
  });

  it('knows both halves of a second sealing, and whether there is one', async () => {
    const second = { ciphertext: bytes(180, 5), sealed: bytes(72, 6) };
    const with2 = mac.seal({ ...unsealed, second });
    expect(mac.verify(with2)).toBe(with2);
    expect(with2.rowMac).not.toEqual(sealed.rowMac);
    const flipped = (value: Uint8Array) => flip(value) as Uint8Array;
    for (const edited of [
      { ...second, ciphertext: flipped(second.ciphertext) },
      { ...second, sealed: flipped(second.sealed) },
      { ...second, sealed: second.sealed.subarray(1) },
      undefined,
    ])
      await expectCode(() => mac.verify({ ...with2, second: edited } as WalletRow), 'row_tampered');
    await expectCode(() => mac.verify({ ...sealed, second }), 'row_tampered');
  });

  it('refuses bytes moved from one column to the next, and swapped columns', async () => {
    const { sealedSeed, sealedState } = sealed;
    const moved = {
      ...sealed,
      sealedSeed: sealedSeed.subarray(0, -1),
      sealedState: new Uint8Array([...sealedSeed.subarray(-1), ...sealedState]),
    };
    await expectCode(() => mac.verify(moved), 'row_tampered');
    await expectCode(() => mac.verify({ ...sealed, sealedSeed: sealedState, sealedState: sealedSeed }), 'row_tampered');
  });

  it('refuses a policy taken away, and values that no row of ours has', async () => {
    const { policy, policyMac, ...without } = sealed;
    await expectCode(() => mac.verify(without), 'row_tampered');
    await expectCode(() => mac.verify({ ...sealed, retired: true }), 'row_tampered');
    await expectCode(() => mac.verify({ ...sealed, rotatedAt: NOW }), 'row_tampered');
    await expectCode(() => mac.verify({ ...mac.seal({ ...sealed, retired: true }), retired: false }), 'row_tampered');
    await expectCode(() => mac.verify({ ...sealed, wallet: 'not base58' as never }), 'row_tampered');
    await expectCode(() => mac.verify({ ...sealed, createdAt: timeMs(0) }), 'row_tampered');
    await expectCode(() => mac.verify({ ...sealed, sealedState: bytes(70_000, 1) }), 'row_tampered');
    expect([policy, policyMac]).toBeDefined();
  });

  it('verifies nothing once its key is wiped', async () => {
    const key = new RowKey(rowKey(), FIRST_BLOB);
    const closed = new RowMac(key);
    key.wipe();
    await expectCode(() => closed.verify(sealed), 'row_tampered');
  });
});

describe('while one key replaces another', () => {
  const [old, next] = [new RowKey(rowKey(), FIRST_BLOB), new RowKey(bytes(32, 41), bytes(100, 4))];
  const [before, during, after] = [new RowMac(old), new RowMac(next, old), new RowMac(next)];
  const text = { ...{ owner: key(2), nonce: bytes(16, 1), statementHash: hashOf('s'), wallet: key(1) }, reply: '{}' };

  it('takes both, seals with the next, and says which key a MAC is of', async () => {
    const [first, second] = [before.seal(unsealed), during.seal(unsealed)];
    expect(keyIdOf(first.rowMac)).toEqual(old.id);
    expect(keyIdOf(second.rowMac)).toEqual(next.id);
    for (const row of [first, second]) expect(during.verify(row)).toBe(row);
    expect(after.verify(second)).toBe(second);
    await expectCode(() => after.verify(first), 'row_tampered');
    await expectCode(() => before.verify(second), 'row_tampered');
    expect(during.openCreation(before.sealCreation(text))).toEqual(text);
    await expectCode(() => after.openCreation(before.sealCreation(text)), 'row_tampered');
  });

  it('takes a MAC of before keys had ids under whichever made it, and no other', async () => {
    const bare = { ...sealed, rowMac: before.seal(unsealed).rowMac.subarray(8) };
    expect(keyIdOf(bare.rowMac)).toBeUndefined();
    for (const keys of [before, during]) expect(keys.verify(bare)).toBe(bare);
    await expectCode(() => after.verify(bare), 'row_tampered');
    const stored = before.sealCreation(text);
    const old = { ...stored, reply: stored.reply.slice(16) };
    expect(textMacOf(old.reply)).toMatchObject({ length: 64 });
    expect(during.openCreation(old)).toEqual(text);
    await expectCode(() => after.openCreation(old), 'row_tampered');
  });

  it('does not take a MAC under the name of the other key', async () => {
    const { rowMac } = before.seal(unsealed);
    const renamed = { ...sealed, rowMac: new Uint8Array([...next.id, ...rowMac.subarray(8)]) };
    await expectCode(() => during.verify(renamed), 'row_tampered');
  });
});

describe('the record by which one key follows another', () => {
  const [old, next] = [new RowKey(rowKey(), FIRST_BLOB), new RowKey(bytes(32, 41), bytes(100, 4))];
  const record = sealStep(old, next, NOW);

  it('opens for either of the two, and for nobody else', () => {
    const step = { from: sha256(FIRST_BLOB), to: sha256(bytes(100, 4)), at: NOW };
    expect(openStep(record, 'from', old)).toEqual(step);
    expect(openStep(record, 'to', next)).toEqual(step);
    for (const [end, key] of [
      ['from', next],
      ['to', old],
      ['from', new RowKey(bytes(32, 1), bytes(9, 9))],
    ] as const)
      expect(openStep(record, end, key)).toBeUndefined();
    // The same key out of another ciphertext is another row key.
    expect(openStep(record, 'from', new RowKey(rowKey(), bytes(100, 9)))).toBeUndefined();
  });

  it('does not open with a byte changed or missing, and is no MAC of a row', () => {
    for (let at = 0; at < record.length; at++) {
      const edited = record.map((byte, index) => (index === at ? byte ^ 1 : byte));
      expect(openStep(edited, 'from', old) && openStep(edited, 'to', next)).toBeUndefined();
    }
    for (const cut of [undefined, bytes(0, 0), record.subarray(1), record.subarray(0, -1), bytes(64, 0)])
      expect(openStep(cut, 'from', old)).toBeUndefined();
    const encoded = encodeRow(unsealed);
    const moved = new Uint8Array([...encoded, ...old.mac(encoded), ...next.mac(encoded)]);
    expect(openStep(moved, 'from', old)).toBeUndefined();
  });
});

describe('a row as large as the enclave may make it', () => {
  it('is sealed: every bound is the protocol’s own', () => {
    const largest = {
      ...unsealed,
      executionKey: bytes(LIMITS.kmsCiphertextBytes, 1),
      second: { ciphertext: bytes(LIMITS.kmsCiphertextBytes, 4), sealed: bytes(72, 5) },
      policy: bytes(LIMITS.policyBytes, 2),
      sealedState: bytes(LIMITS.sealedStateBytes, 3),
    };
    expect(mac.verify(mac.seal(largest)).rowMac).toHaveLength(40);
  });
});

describe('stored replies', () => {
  const reply = {
    wallet: key(1),
    requester: key(2),
    id: 'id-1',
    bodyHash: hashOf('body'),
    status: 200,
    reply: '{"signature":"…"}',
    expiresAt: NOW,
  };
  const creation = { owner: key(2), nonce: bytes(16, 1), statementHash: hashOf('s'), wallet: key(1), reply: '{}' };

  it('come back as they were sealed', () => {
    expect(mac.openReply(mac.sealReply(reply))).toEqual(reply);
    expect(mac.openCreation(mac.sealCreation(creation))).toEqual(creation);
  });

  it.each([
    ['wallet', key(9)],
    ['requester', key(9)],
    ['id', 'id-2'],
    ['bodyHash', hashOf('other')],
    ['status', 403],
    ['reply', 'text without a MAC'],
    ['reply', ''],
  ])('are refused with another %s', async (column, value) => {
    await expectCode(() => mac.openReply({ ...mac.sealReply(reply), [column]: value }), 'row_tampered');
  });

  it.each([
    ['wallet', key(9)],
    ['owner', key(9)],
    ['nonce', bytes(16, 2)],
    ['nonce', bytes(15, 2)],
    ['statementHash', hashOf('other')],
  ])('of creations are refused with another %s', async (column, value) => {
    await expectCode(() => mac.openCreation({ ...mac.sealCreation(creation), [column]: value }), 'row_tampered');
  });

  it('do not stand for each other', async () => {
    const text = mac.sealReply(reply).reply;
    await expectCode(() => mac.openCreation({ ...creation, reply: text }), 'row_tampered');
  });
});

describe('the MAC of a signal', () => {
  const { mac: _mac, ...plain } = signal('a');
  const kept = mac.sealSignal(plain);

  it('holds for that signal under its key only', async () => {
    expect(mac.verifySignal(kept)).toBe(kept);
    await expectCode(() => rowMacOf(bytes(32, 41)).verifySignal(kept), 'row_tampered');
    const { signature: _signature, ...unsigned } = plain;
    expect(mac.verifySignal(mac.sealSignal(unsigned))).not.toHaveProperty('signature');
  });

  it('is of no signal that somebody edited or invented', async () => {
    const edits: Partial<SignalRecord>[] = [
      { source: 'beta' },
      { id: 'b' },
      { at: timeMs(NOW + 1) },
      { receivedAt: timeMs(NOW + 1) },
      { expiresAt: timeMs(NOW + 999_999) },
      { body: bytes(20, 9) },
      { bodyHash: hashOf('other') },
      { signature: bytes(64, 9) as Signature },
      { mac: bytes(31, 3) },
      { body: bytes(LIMITS.signalBodyBytes + 1, 1) },
    ];
    for (const edit of edits) await expectCode(() => mac.verifySignal({ ...kept, ...edit }), 'row_tampered');
    const { signature: _signature, ...unsigned } = kept;
    await expectCode(() => mac.verifySignal(unsigned), 'row_tampered');
  });
});
