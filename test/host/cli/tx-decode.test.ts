/** qv tx decode: the wire corpus through the command, beside what kit and web3.js read from it. */
import { readFileSync } from 'node:fs';
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { fromHex, toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { describeInstruction } from '@quantumvault/shared/solana/describe.ts';
import { decodeSystem } from '@quantumvault/shared/solana/system.ts';
import { decodeToken } from '@quantumvault/shared/solana/token.ts';
import { describe, expect, test } from 'vitest';
import { corpus } from '../../shared/solana/vectors.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';
import { file } from './documents.ts';

/** What both official decoders found, as the corpus stores it. */
interface Decoded {
  readonly version: string;
  readonly header: Readonly<Record<string, number>>;
  readonly accountKeys: readonly string[];
  readonly recentBlockhash: string;
  readonly instructions: readonly { programIdIndex: number; accountIndexes: readonly number[]; dataHex: string }[];
  readonly addressTableLookups: readonly unknown[];
  readonly config?: { readonly values: readonly { readonly value: string }[] };
}
interface Vector {
  readonly id: string;
  readonly base64: string;
  readonly bytes: number;
  readonly tags: readonly string[];
  readonly signatures: readonly { readonly signer: string; readonly status: string }[];
  readonly kit: Decoded;
  readonly web3js: Decoded | null;
}
const vectors = (
  JSON.parse(readFileSync(new URL('../../vectors/solana/wire.dev.json', import.meta.url), 'utf8')) as {
    transactions: readonly Vector[];
  }
).transactions;

const decode = (source: string): Promise<JsonAnswer> => qvJson('tx', 'decode', source);
type Instructions = readonly {
  readonly program: Address;
  readonly programName: string | null;
  readonly instruction: string | null;
  readonly arguments: Record<string, unknown>;
  readonly programIdIndex: number;
  readonly accountIndexes: readonly number[];
  readonly dataHex: string;
  readonly truncatedAt?: string;
  readonly trailingHex?: string;
  readonly inner?: readonly { readonly instruction: string | null; readonly accountIndexes: readonly number[] }[];
}[];
const instructionsOf = (answer: JsonAnswer): Instructions => answer['instructions'] as Instructions;

/** Our answer, reduced to what the official decoders say. */
function structureOf(answer: JsonAnswer): Decoded {
  const { version, header, accountKeys, recentBlockhash, addressTableLookups } = answer as unknown as Decoded;
  const instructions = instructionsOf(answer).map(({ programIdIndex, accountIndexes, dataHex }) => ({
    programIdIndex,
    accountIndexes,
    dataHex,
  }));
  return { version, header, accountKeys, recentBlockhash, instructions, addressTableLookups };
}

describe('the corpus', () => {
  test.each(vectors)('$id', async (vector) => {
    const answer = await decode(vector.base64);
    expect(answer).toMatchObject({ ok: true, exit: 0, bytes: vector.bytes });
    // Some public fixtures were never meant to be sent.
    expect(answer['doubts']).toEqual([
      ...(vector.kit.recentBlockhash === '1'.repeat(32) ? ['transaction_blockhash_zero'] : []),
      ...(vector.kit.instructions.length === 0 ? ['transaction_instructions_none'] : []),
    ]);
    const { config, ...kit } = vector.kit;
    expect(structureOf(answer)).toEqual(kit);
    if (vector.web3js !== null) expect(structureOf(answer)).toEqual(vector.web3js);
    const values = Object.values((answer['config'] ?? {}) as Record<string, unknown>).filter((value) => value !== null);
    expect(values.map(String)).toEqual(config?.values.map(({ value }) => value) ?? []);
    const status = { valid: 'valid', invalid: 'invalid', zero: 'absent' } as Record<string, string>;
    expect(answer['signatures']).toMatchObject(
      vector.signatures.map((entry) => ({ signer: entry.signer, status: status[entry.status] })),
    );
  });

  test.each(corpus.malformed.filter((record) => record.class === 'invalid'))('$id: $why', async ({ base64 }) => {
    const answer = await decode(base64);
    expect(answer).toMatchObject({ ok: false, exit: 2, error: { code: expect.stringMatching(/^transaction_/) } });
  });

  test.each(corpus.malformed.filter((record) => record.class === 'suspicious'))('$id: $why', async ({ base64 }) => {
    const answer = await decode(base64);
    expect(answer).toMatchObject({ ok: true, exit: 0, doubts: [expect.stringMatching(/^transaction_/)] });
    const { stdout } = await qv('tx', 'decode', base64);
    expect(stdout).toContain(`! ${(answer['doubts'] as string[])[0]}`);
  });
});

describe('accounts', () => {
  interface Account {
    readonly index: number;
    readonly address: string | null;
    readonly signer: boolean;
    readonly writable: boolean;
    readonly payer: boolean;
    readonly program: boolean;
    readonly lookup: { readonly table: string; readonly index: number } | null;
  }

  test.each(vectors)('$id has their roles', async ({ base64, kit }) => {
    const accounts = (await decode(base64))['accounts'] as readonly Account[];
    const { numRequiredSignatures, numReadonlySigned, numReadonlyUnsigned } = kit.header as Record<string, number> & {
      numRequiredSignatures: number;
      numReadonlySigned: number;
      numReadonlyUnsigned: number;
    };
    const lookups = kit.addressTableLookups as readonly {
      table: string;
      writableIndexes: readonly number[];
      readonlyIndexes: readonly number[];
    }[];
    const fixed = accounts.slice(0, kit.accountKeys.length);
    expect(fixed.map((account) => account.address)).toEqual(kit.accountKeys);
    expect(fixed.filter((account) => account.signer)).toHaveLength(numRequiredSignatures);
    expect(fixed.filter((account) => account.signer && !account.writable)).toHaveLength(numReadonlySigned);
    expect(fixed.filter((account) => !account.signer && !account.writable)).toHaveLength(numReadonlyUnsigned);
    expect(accounts.filter((account) => account.payer).map((account) => account.index)).toEqual([0]);
    expect(new Set(accounts.filter((account) => account.program).map((account) => account.index))).toEqual(
      new Set(kit.instructions.map((instruction) => instruction.programIdIndex)),
    );
    expect(accounts.map((account) => account.index)).toEqual(accounts.map((_, index) => index));
    const loaded = accounts.slice(kit.accountKeys.length);
    expect(loaded.map(({ lookup, writable }) => [lookup?.table, lookup?.index, writable])).toEqual([
      ...lookups.flatMap(({ table, writableIndexes }) => writableIndexes.map((index) => [table, index, true])),
      ...lookups.flatMap(({ table, readonlyIndexes }) => readonlyIndexes.map((index) => [table, index, false])),
    ]);
  });
});

const NAMED = ['System', 'ComputeBudget', 'SPL Token', 'Token-2022', 'Associated Token', 'Memo', 'Memo 1'];

describe('instructions', () => {
  test('of every program the engine knows have a name, and data that fits it', async () => {
    const seen = new Set<string>();
    for (const { id, base64 } of vectors)
      for (const instruction of instructionsOf(await decode(base64))) {
        // One fixture is older than the second argument of RequestUnits.
        if (!NAMED.includes(instruction.programName ?? '') || instruction.instruction === 'RequestUnits') continue;
        const name = `${instruction.programName} ${instruction.instruction}`;
        seen.add(name);
        expect.soft(instruction.instruction, `${id} ${instruction.dataHex}`).not.toBeNull();
        expect.soft(instruction.truncatedAt, `${id} ${name} ${instruction.dataHex}`).toBeUndefined();
      }
    for (const name of ['System Transfer', 'System CreateAccount', 'SPL Token TransferChecked', 'SPL Token Batch'])
      expect(seen).toContain(name);
  });

  test('show the amounts that the judge reads', async () => {
    let compared = 0;
    for (const { base64 } of vectors)
      for (const { program, programName, dataHex, arguments: values } of instructionsOf(await decode(base64))) {
        const data = fromHex(dataHex);
        const system = programName === 'System' ? decodeSystem(data) : 'other';
        const token =
          programName === 'SPL Token' || programName === 'Token-2022' ? decodeToken(program, data) : 'other';
        if (typeof system !== 'string') {
          expect(String(values['lamports'] ?? '0')).toBe(system.lamports.toString());
          compared++;
        }
        if (typeof token !== 'string' && token.kind === 'transferChecked') {
          expect(values).toEqual({ amount: token.units.toString(), decimals: token.decimals });
          compared++;
        }
        if (typeof token !== 'string' && token.kind === 'denied' && token.amount > 0n) {
          expect(values).toMatchObject({ amount: token.amount.toString() });
          compared++;
        }
      }
    expect(compared).toBeGreaterThan(80);
  });

  test('of a Batch stand inside it, with their accounts', async () => {
    const vector = vectors.find(({ tags }) => tags.includes('token-batch'));
    const batch = instructionsOf(await decode(vector?.base64 ?? '')).find(({ instruction }) => instruction === 'Batch');
    expect(batch?.inner?.length).toBeGreaterThan(0);
    expect(batch?.inner?.every(({ instruction }) => instruction !== null)).toBe(true);
    expect(batch?.inner?.flatMap(({ accountIndexes }) => accountIndexes)).toEqual(batch?.accountIndexes);
    const { stdout } = await qv('tx', 'decode', vector?.base64 ?? '');
    expect(stdout).toMatch(/#\d\.0 /);
  });

  const TOKEN = address('TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA');
  const TOKEN_2022 = address('TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb');
  const SYSTEM = address('11111111111111111111111111111111');
  const MEMO = address('MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr');
  const KEY = '22'.repeat(32);
  const KEY_TEXT = '3JF3sEqM796hk5WFqA6EtmEwJQ9quALszsfJyvXNQKy3';
  test.each([
    [
      'a seed',
      SYSTEM,
      `0b000000${'07'.padEnd(16, '0')}${'02'.padEnd(16, '0')}6869${KEY}`,
      'TransferWithSeed',
      { lamports: '7', seed: 'hi', owner: KEY_TEXT },
    ],
    ['no new authority', TOKEN, '060200', 'SetAuthority', { authorityType: 2, newAuthority: null }],
    ['a new authority', TOKEN, `060201${KEY}`, 'SetAuthority', { authorityType: 2, newAuthority: KEY_TEXT }],
    ['all of it', TOKEN, '2d00', 'UnwrapLamports', { amount: null }],
    ['a part of it', TOKEN, '2d010500000000000000', 'UnwrapLamports', { amount: '5' }],
    ['an extension', TOKEN_2022, '1a01', 'TransferFeeExtension', { extension: '01' }],
    ['text', MEMO, '6869', 'Memo', { text: 'hi' }],
    ['text that is none', MEMO, 'ff', 'Memo', { text: '\ufffd' }],
    ['a nested Batch', TOKEN, `ff00${'03'}ff0000`, 'Batch', {}],
  ])('with %s', (_, program, hex, name, values) => {
    expect(describeInstruction(program, fromHex(hex))).toMatchObject({ name, arguments: values });
  });

  test.each([
    [SYSTEM, '0200000001', { name: 'Transfer', truncatedAt: 'lamports' }],
    [SYSTEM, `0b000000${'07'.padEnd(16, '0')}${'ff'.repeat(8)}6869`, { name: 'TransferWithSeed', truncatedAt: 'seed' }],
    [TOKEN, '0900', { name: 'CloseAccount', trailing: '00' }],
    [TOKEN, 'ff0000', { name: 'Batch', arguments: { instructions: '0000' } }],
  ])('%s %s is described as far as it goes', (program, hex, description) => {
    expect(describeInstruction(program, fromHex(hex))).toMatchObject(description);
  });

  test.each([
    [SYSTEM, '020000'],
    [SYSTEM, 'ff000000'],
    [TOKEN, ''],
    [TOKEN, '19'],
    [address(KEY_TEXT), '02000000'],
  ])('%s %s has no name', (program, hex) => expect(describeInstruction(program, fromHex(hex))).toBeUndefined());
});

describe('input', () => {
  const [vector] = vectors;
  const base64 = vector?.base64 ?? '';

  test('may stand in a file', async () => {
    expect(await decode(file('wire.b64', `${base64}\n`))).toEqual(await decode(base64));
  });

  test.each([
    [['not base64!'], 'base64_malformed'],
    [[''], 'transaction_truncated'],
    [[file('empty.b64', '')], 'transaction_truncated'],
    [[file('binary.b64', Uint8Array.of(1, 2, 3))], 'base64_malformed'],
    [['./nowhere.b64'], 'base64_malformed'],
    [['.'], 'base64_malformed'],
    [[], 'usage_invalid'],
    [['AQ==', 'AQ=='], 'usage_invalid'],
  ])('%j is refused', async (argv, code) => {
    expect(await qvJson('tx', 'decode', ...argv)).toMatchObject({ exit: 2, error: { code } });
  });

  test('too large for its version is refused', async () => {
    const answer = await decode(toBase64(new Uint8Array(1300)));
    expect(answer).toMatchObject({ exit: 2, error: { code: 'transaction_too_large' } });
  });
});

describe('people', () => {
  test.each(vectors.slice(0, 12))('read $id', async ({ base64, kit }) => {
    const { exit, stdout, stderr } = await qv('tx', 'decode', base64);
    expect([exit, stderr]).toEqual([0, '']);
    for (const key of kit.accountKeys) expect(stdout).toContain(key);
    expect(stdout).toContain(kit.recentBlockhash);
  });

  test('see roles, names and arguments', async () => {
    const { stdout } = await qv('tx', 'decode', vectors.find(({ id }) => id === 'system-v1-01')?.base64 ?? '');
    expect(stdout).toMatch(/Transaction, version 1\n/);
    expect(stdout).toMatch(/computeUnitLimit +10000\n/);
    expect(stdout).toMatch(/#0 +CuRwP56BdbuNp8NAey2yezFZHuzx4kPNqypMSpqRDbKD {2}payer, signer, writable/);
    expect(stdout).toMatch(/#2 +1{32} {2}\(System\) {2}program/);
    expect(stdout).toMatch(/#0 System Transfer\n +lamports +2000000\n/);
    expect(stdout).toMatch(/valid [1-9A-HJ-NP-Za-km-z]{80,}/);
  });

  test('are safe from what a memo says', () => {
    const memo = describeInstruction(
      address('MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr'),
      fromHex(toHex(Uint8Array.of(0x1b))),
    );
    expect(memo?.arguments['text']).toBe('\u001b');
  });
});
