/** What a Solana RPC endpoint answers, accounts as they are on chain, and plans that somebody carries between machines. */
import { type Found, lookAt, recentBlockhash } from '@quantumvault/host/cli/sweep/found.ts';
import { nextRound, type Occasion } from '@quantumvault/host/cli/sweep/last-policy.ts';
import { planFileJson, readPlanFile } from '@quantumvault/host/cli/sweep/plan-file.ts';
import { rpcTo } from '@quantumvault/host/cli/sweep/rpc.ts';
import { planFor } from '@quantumvault/host/cli/sweep/sweep.ts';
import { mintOf, tokenAccountOf } from '@quantumvault/host/cli/sweep/token-account.ts';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { associatedTokenAccount } from '@quantumvault/shared/solana/pda.ts';
import { SYSTEM_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from '@quantumvault/shared/solana/programs.ts';
import { mintBytes, tokenBytes } from '../../support/solana-ledger.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import { accept, must, type Target } from '../engine/target.ts';
import { Place } from './place.ts';
import * as sample from './samples.ts';

const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
const destination = sample.owner;
const otherMint = sample.key(7);

const occasion: Occasion = {
  deployment: sample.deployment,
  owner: sample.owner,
  requester: sample.requester,
  epoch: 2,
  previousHash: sample.hash,
  priorityLamports: 7n,
  nowMs: sample.time,
};

/** Whatever was found, everything that the owner is asked for goes to the one destination. */
function mustPlan(found: Found): void {
  const tried = { failed: new Map(), alone: new Set<never>() };
  const round = nextRound(found, planFor({ priorityLamports: 7n }, tried, found, occasion), occasion);
  const rules = [...(round?.document.tokens ?? []), ...(round === undefined ? [] : [round.document.sol])];
  const to = rules.flatMap(({ destinations }) => destinations);
  must(
    to.every((address) => address === found.destination),
    'a destination that nobody named',
  );
}

const shown = (owner: string, data: Uint8Array, lamports = 2_039_280) => ({
  lamports,
  owner,
  data: [Buffer.from(data).toString('base64'), 'base64'],
  executable: false,
  space: data.length,
});
const account = tokenBytes({ mint: sample.mint, owner: sample.wallet, units: 5n });
const extended = tokenBytes({ mint: otherMint, owner: sample.wallet, units: 0n, extensions: [7, 2] });
const value = (inside: unknown) => ({ context: { slot: 7 }, value: inside });

/** A list of results, one per call; anything else is every body as it stands. */
export const rpcAnswers: Target = {
  name: 'rpc-answers',
  covers: [
    'host/src/cli/sweep/rpc.ts#rpcTo',
    'host/src/cli/sweep/found.ts#lookAt',
    'host/src/cli/sweep/found.ts#recentBlockhash',
  ],
  seeds: () => ({
    tokens: json([
      value(5_000_000_000),
      value([null]),
      value([{ pubkey: sample.key(8), account: shown(TOKEN_PROGRAM, account) }]),
      value([{ pubkey: sample.key(9), account: shown(TOKEN_2022_PROGRAM, extended) }]),
      value([shown(TOKEN_PROGRAM, mintBytes(6)), shown(TOKEN_2022_PROGRAM, mintBytes(2, [18]))]),
      value([null, null]),
      value({ blockhash: sample.key(10), lastValidBlockHeight: 150 }),
    ]),
    empty: json([
      value(0),
      value([shown(SYSTEM_PROGRAM, new Uint8Array())]),
      value([]),
      value([]),
      value({ blockhash: sample.key(10), lastValidBlockHeight: 150 }),
    ]),
    error: json({ jsonrpc: '2.0', id: 1, error: { code: -32010, message: 'no' } }),
  }),
  mutators: [jsonMutator()],
  maxBytes: 8 * 1024,
  codes: ['rpc_response_invalid', 'rpc_refused', 'usage_invalid'],
  executions: 800,
  async run(input) {
    const results = listIn(input);
    const answer = async (_: unknown, init?: RequestInit): Promise<Response> => {
      const { id } = JSON.parse(String(init?.body)) as { id: number };
      if (results === undefined) return new Response(Uint8Array.from(input));
      return new Response(JSON.stringify({ jsonrpc: '2.0', id, result: results[id - 1] ?? null }));
    };
    const rpc = rpcTo('https://rpc.example', answer as typeof fetch);
    const found = await lookAt(rpc, sample.wallet, destination);
    const blockhash = await recentBlockhash(rpc);
    accept(found);
    must(found.tokens.length <= 2 * LIMITS.cliSweepAccounts, 'number of accounts');
    mustPlan(found);
    return { found, blockhash };
  },
};

function listIn(input: Uint8Array): readonly unknown[] | undefined {
  try {
    const read = JSON.parse(new TextDecoder().decode(input)) as unknown;
    return Array.isArray(read) ? read : undefined;
  } catch {
    return undefined;
  }
}

/** The first byte: account or mint, and of which program. */
export const tokenAccounts: Target = {
  name: 'token-accounts',
  covers: ['host/src/cli/sweep/token-account.ts#tokenAccountOf', 'host/src/cli/sweep/token-account.ts#mintOf'],
  seeds: () => ({
    account: concatBytes(Uint8Array.of(0), account),
    extended: concatBytes(Uint8Array.of(1), extended),
    mint: concatBytes(Uint8Array.of(2), mintBytes(6)),
    'extended-mint': concatBytes(Uint8Array.of(3), mintBytes(2, [18, 19])),
  }),
  maxBytes: 400,
  codes: ['field_malformed', 'transaction_truncated'],
  executions: 3_000,
  run(input) {
    const first = (input[0] ?? 0) & 3;
    const program = (first & 1) === 1 ? TOKEN_2022_PROGRAM : TOKEN_PROGRAM;
    const read = first < 2 ? tokenAccountOf(input.subarray(1), program) : mintOf(input.subarray(1), program);
    must((first & 1) === 1 || read.extensions.length === 0, 'extensions of SPL Token');
    must(new Set(read.extensions).size === read.extensions.length, 'an extension twice');
    return read;
  },
};

const place = new Place();
export const sweepPlans: Target = {
  name: 'sweep-plans',
  covers: ['host/src/cli/sweep/plan-file.ts#readPlanFile'],
  seeds: () => {
    const held = {
      account: sample.key(8),
      program: TOKEN_PROGRAM,
      mint: sample.mint,
      units: 5n,
      decimals: 6,
      lamports: 2_039_280n,
      isNative: false,
      isFrozen: false,
      isClosable: true,
      extensions: [],
      mintExtensions: [],
      receiver: 'missing',
    } as const;
    const found: Found = {
      wallet: sample.wallet,
      destination,
      lamports: 5_000_000_000n,
      destinationExists: false,
      tokens: [
        held,
        {
          ...held,
          account: associatedTokenAccount(sample.wallet, otherMint, TOKEN_2022_PROGRAM),
          mint: otherMint,
          units: 0n,
        },
      ],
    };
    const blockhash = { blockhash: sample.key(10), lastValidBlockHeight: 150 };
    return {
      tokens: json(planFileJson(found, blockhash)),
      empty: json(planFileJson({ ...found, tokens: [] }, blockhash)),
    };
  },
  mutators: [jsonMutator()],
  maxBytes: 4 * 1024,
  codes: ['json_malformed', 'field_malformed', 'base58_malformed'],
  executions: 400,
  open: place.open,
  close: place.close,
  run(input) {
    const { found, blockhash } = accept(readPlanFile(place.write(input)));
    const written = JSON.stringify(planFileJson(found, blockhash));
    const again = readPlanFile(place.write(utf8(written)));
    must(JSON.stringify(planFileJson(again.found, again.blockhash)) === written, 'another plan when written again');
    mustPlan(found);
    return { found, blockhash };
  },
};
