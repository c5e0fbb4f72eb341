/**
 * What a process still has of a key that it has read: nothing outside of guarded memory while it holds the seed,
 * nothing at all once that is wiped, or when reading failed. The whole memory of a child is searched.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary.ts';
import { masterSeedOf, mnemonicOf, nodesOf, pairOf, WORDS } from './oracle.ts';
import { type Found, Traces, windows } from './traces.ts';

interface Step {
  readonly step: string;
  readonly address?: string;
  readonly code?: string;
}

/** A child's steps, each with what was found in its memory while it stood there; once it has refused, one look will do. */
async function steps(args: readonly string[], inputs: readonly (Uint8Array | string)[], traces: Traces) {
  const child: ChildProcess = spawn(process.execPath, args, {
    stdio: ['pipe', 'pipe', 'inherit', ...inputs.map(() => 'pipe' as const)],
  });
  const [answers, output, , ...pipes] = child.stdio as [Writable, NodeJS.ReadableStream, null, ...Writable[]];
  for (const [index, pipe] of pipes.entries()) {
    // A reader that refuses what is too large leaves the rest.
    pipe.on('error', () => {}).end(inputs[index]);
  }
  const all: (Step & { found: readonly Found[] })[] = [];
  for await (const line of createInterface({ input: output })) {
    const step = JSON.parse(line) as Step;
    const hasRefused = all.at(-1)?.code !== undefined;
    all.push({ ...step, found: hasRefused ? [] : await traces.in(child.pid ?? 0) });
    answers.write('.');
  }
  return all;
}

function examine(key: Uint8Array | string, options: object, traces: Traces, passphrase?: string) {
  const given = {
    key: { descriptor: 3 },
    ...(passphrase !== undefined && { passphrase: { descriptor: 4 } }),
    pause: true,
    ...options,
  };
  const args = [join(import.meta.dirname, 'reader.ts'), JSON.stringify(given)];
  return steps(args, [key, passphrase ?? ''], traces);
}

const guarded = (found: readonly Found[]): readonly string[] =>
  found.filter(({ where }) => where === 'guarded').map(({ what }) => what);
const elsewhere = (found: readonly Found[]): readonly Found[] => found.filter(({ where }) => where !== 'guarded');

function expectHeldThenGone(all: Awaited<ReturnType<typeof examine>>, address: string, name: string): void {
  expect(all.map(({ step }) => step)).toEqual(['read', 'wiped']);
  const [read, wiped] = all;
  expect(read?.address).toBe(address);
  expect(elsewhere(read?.found ?? [])).toEqual([]);
  // The seed itself, whole and in its two halves, once: and nothing that it came from.
  expect(guarded(read?.found ?? []).toSorted()).toEqual(
    ['0-15', '16-31', 'whole'].map((part) => `${name}: raw, ${part}`),
  );
  expect(wiped?.found).toEqual([]);
}

const keyOf = (seed: Uint8Array): Traces => new Traces().key('seed', seed);
const jsonOf = (pair: Uint8Array): string => JSON.stringify([...pair]);

describe('a key that was read', () => {
  const INDEXES = [44, 501, 0, 0];

  it.each([16, 32])(
    'from a mnemonic of %i bytes with a passphrase is its seed alone, and then gone',
    async (length) => {
      const entropy = randomBytes(length);
      const mnemonic = mnemonicOf(entropy);
      const passphrase = `${randomBytes(12).toString('hex')} words`;
      const { key } = nodesOf(masterSeedOf(mnemonic, passphrase), INDEXES).at(-1) ?? { key: entropy };
      const traces = new Traces().mnemonic(mnemonic, entropy, passphrase, INDEXES);
      const steps = await examine(`${mnemonic}\n`, {}, traces, passphrase);
      expectHeldThenGone(steps, pairOf(key).address, 'key at depth 4');
    },
  );

  it.each([
    ['a keypair file', (seed: Buffer) => jsonOf(pairOf(seed).pair)],
    ['raw bytes', (seed: Buffer) => seed],
    ['a raw pair', (seed: Buffer) => pairOf(seed).pair],
    ['base58', (seed: Buffer) => toBase58(pairOf(seed).pair)],
  ])('from %s is its seed alone, and then gone', async (_, formOf) => {
    const seed = randomBytes(32);
    expectHeldThenGone(await examine(formOf(seed), {}, keyOf(seed)), pairOf(seed).address, 'seed');
  });

  it('from a private file is its seed alone, and then gone', async () => {
    const seed = randomBytes(32);
    const folder = await temporaryFolder();
    const file = join(folder.path, 'id.json');
    writeFileSync(file, jsonOf(pairOf(seed).pair), { mode: 0o600 });
    expectHeldThenGone(await examine('', { key: { file } }, keyOf(seed)), pairOf(seed).address, 'seed');
    await folder.remove();
  });

  it('is found where somebody keeps it: the search finds what there is', async () => {
    const seed = randomBytes(32);
    const [, wiped] = await examine(seed, { plant: true }, keyOf(seed));
    expect(elsewhere(wiped?.found ?? []).map(({ what }) => what)).toContain('seed: hex, whole');
  });
});

describe('the stack', () => {
  const script = join(import.meta.dirname, 'stack-reader.ts');
  const after = async (...args: readonly string[]): Promise<readonly Found[]> => {
    const seed = randomBytes(32);
    const [done] = await steps([script, ...args], [seed], keyOf(seed));
    return done?.found ?? [];
  };

  it('keeps nothing of what libsodium put there', async () => {
    for (let run = 0; run < 3; run++) expect(await after()).toEqual([]);
  });

  // What stays there is up to the compiler: this says that there is something to overwrite, where that was seen.
  it.runIf(process.arch === 'x64')('would keep the seed, were it not overwritten', async () => {
    const found: Found[] = [];
    for (let run = 0; run < 5 && found.length === 0; run++) found.push(...(await after('bare')));
    expect(found.map(({ where }) => where)).toContain('[stack] rw-p');
  });
});

describe('a key that was refused is gone', () => {
  const seed = randomBytes(32);
  const { pair } = pairOf(seed);
  const entropy = randomBytes(32);
  const mnemonic = mnemonicOf(entropy);
  const words = mnemonic.split(' ');
  const last = WORDS[(WORDS.indexOf(words.at(-1) ?? '') + 1) % WORDS.length] ?? '';

  it.each([
    ['a pair whose halves do not belong together', Buffer.from(pair).fill(1, 40), {}, 'key_pair_mismatch'],
    ['the key of another wallet', pair, { wallet: pairOf(Buffer.alloc(32)).address }, 'key_wallet_mismatch'],
    ['an array that breaks off at its end', jsonOf(pair).slice(0, -1), {}, 'key_malformed'],
    ['an array with a path', jsonOf(pair), { path: 'm' }, 'usage_invalid'],
    ['base58 with one digit too many', `${toBase58(pair)}z`, { form: 'base58' }, 'key_malformed'],
    ['a key and far too much behind it', jsonOf(pair).padEnd(70_000), {}, 'body_too_large'],
  ])('%s', async (_, key, options, code) => {
    const all = await examine(key, options, keyOf(seed));
    expect(all.map(({ step, code: refused }) => [step, refused])).toEqual([
      ['read', code],
      ['wiped', undefined],
    ]);
    expect(all[0]?.found).toEqual([]);
  });

  it.each([
    ['a mnemonic whose checksum fails', words.with(-1, last).join(' '), undefined, 'mnemonic_checksum_invalid'],
    ['a mnemonic with an unknown word', words.with(-1, 'qqqqq').join(' '), undefined, 'mnemonic_malformed'],
    ['a mnemonic with a passphrase that cannot be', mnemonic, 'naïve-0123456789-abcdefghij', 'passphrase_malformed'],
    ['a mnemonic with too long a passphrase', mnemonic, 'naive-0123456789-abcdefghij'.repeat(20), 'body_too_large'],
  ])('%s', async (_, text, passphrase, code) => {
    const traces = new Traces().mnemonic(mnemonic, entropy, passphrase ?? '', [44, 501, 0, 0]);
    // Of words and passphrase, whatever became of them.
    traces.text('words', windows(text, 24).slice(0, -24));
    const [read] = await examine(text, {}, traces, passphrase);
    expect(read?.code).toBe(code);
    expect(read?.found).toEqual([]);
  });
});
