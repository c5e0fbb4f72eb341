/** The policy corpus, and small documents to start from. */
import { readFileSync } from 'node:fs';

export interface PolicyCase {
  readonly id: string;
  readonly hazard: string;
  readonly policy: string;
  readonly now: string;
  readonly expect: 'allow' | 'deny';
  readonly reason: string;
  readonly explanation: string;
  readonly amounts?: {
    readonly lamportsOut: string;
    readonly fee: string;
    readonly tokens: Readonly<Record<string, string>>;
  };
  readonly prior?: readonly {
    readonly at: string;
    readonly lamportsOut?: string;
    readonly tokens?: Readonly<Record<string, string>>;
  }[];
  readonly base64: string;
}

export type Json = Record<string, unknown>;

interface Corpus {
  readonly policies: Readonly<Record<string, Json>>;
  readonly cases: readonly PolicyCase[];
}

export const corpus: Corpus = JSON.parse(
  readFileSync(new URL('../../vectors/solana/policy-cases.dev.json', import.meta.url), 'utf8'),
) as Corpus;

export const WALLET = 'AXQZghs6Pm6C8JWSA8ASoHXemyetSLoGERrhTZKU1fbN';
export const OWNER = 'A33DLsX9NtxMY6vBKWCfu52gKnb3xdVBZr6KDbhQwN9q';
export const REQUESTER = '2CFnHtiWX7NV2SxGmBcb4PNRu9rTcs4h65QLvicfRmyg';
export const DESTINATION = 'ANNqrEP92gxiVEguotNsYTqHA6sp3bLbqTatdGy76J5q';
export const STRANGER = 'FvmYm5427ocDskjBqZaGM4U9kotK5gT9Uo3XrmArTd6A';
export const USDC = 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v';
export const TOKEN_PROGRAM = 'TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA';
export const SWAP_PROGRAM = '675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8';

/** A fresh document each time: tests change it. It uses nothing that an engine may not enforce yet. */
export function simplePolicy(): Json {
  return {
    version: 1,
    wallet: WALLET,
    owner: OWNER,
    epoch: 3,
    validFrom: '2026-11-01T00:00:00Z',
    validUntil: '2026-12-31T00:00:00Z',
    requesters: [REQUESTER],
    transaction: { versions: ['legacy', '0', '1'], lookupTables: {}, durableNonce: false, maxInstructions: 8 },
    fees: { maxLamports: '100000' },
    sol: { maxPerTransaction: '1000000000', destinations: [DESTINATION] },
    tokens: [],
    programs: [],
  };
}

/** A document with every optional part of the format in it. */
export function fullPolicy(): Json {
  return {
    ...simplePolicy(),
    signals: {
      required: true,
      sources: [
        { name: 'tv-main', hostVerified: true },
        { name: 'alpha', key: STRANGER },
      ],
      maxAgeSeconds: 60,
      signaturesPerSignal: 2,
    },
    transaction: {
      versions: ['legacy', '0'],
      lookupTables: { [STRANGER]: [DESTINATION, DESTINATION] },
      durableNonce: false,
      maxInstructions: 16,
    },
    fees: { maxLamports: '2000000', window: { seconds: 86400, max: '9000000' } },
    sol: { maxPerTransaction: '5', window: { seconds: 60, max: '18446744073709551615' }, destinations: [] },
    tokens: [
      {
        mint: USDC,
        tokenProgram: TOKEN_PROGRAM,
        decimals: 6,
        maxPerTransaction: '500000000',
        window: { seconds: 86400, max: '2000000000' },
        destinations: [DESTINATION],
      },
    ],
    programs: [
      {
        program: SWAP_PROGRAM,
        instructions: [
          {
            name: 'swap',
            data: [
              { offset: 0, equals: '09' },
              { offset: 1, type: 'u64', max: '1000', spends: USDC },
              { offset: 9, type: 'u64', min: '1', receives: USDC, minPerSpent: '0.98' },
            ],
            accounts: [
              { index: 0, is: 'wallet' },
              { index: 1, oneOf: [STRANGER] },
              { index: 3, is: 'walletTokenAccount', mint: USDC },
            ],
            minAccounts: 4,
            maxAccounts: 22,
          },
        ],
      },
    ],
    rate: { perMinute: 60, perDay: 5000 },
  };
}
