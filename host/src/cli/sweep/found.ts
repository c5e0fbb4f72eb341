/** What is in a wallet, as an RPC endpoint tells it. Amounts are lamports and base units. */
import { type Address, address, addressOf } from '@quantumvault/shared/brands.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { associatedTokenAccount } from '@quantumvault/shared/solana/pda.ts';
import { SYSTEM_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from '@quantumvault/shared/solana/programs.ts';
import type { Rpc } from './rpc.ts';
import { mintOf, tokenAccountOf } from './token-account.ts';

/**
 * Whether the destination's token account of a mint can take tokens. `foreign`: it has another owner by now. `no-mint`:
 * the mint was closed, which anybody can do to one of his own after he made accounts for others.
 */
export const RECEIVERS = ['ready', 'missing', 'frozen', 'foreign', 'extension', 'no-mint'] as const;
export type Receiver = (typeof RECEIVERS)[number];

/** One token account of the wallet. */
export interface TokenHolding {
  readonly account: Address;
  readonly program: Address;
  readonly mint: Address;
  readonly units: bigint;
  readonly decimals: number;
  /** Its rent, and for wrapped SOL what is wrapped. */
  readonly lamports: bigint;
  readonly isNative: boolean;
  readonly isFrozen: boolean;
  /** False when somebody else has the right to close it. */
  readonly isClosable: boolean;
  /** Of the account and of its mint: numbers of Token-2022's extensions. */
  readonly extensions: readonly number[];
  readonly mintExtensions: readonly number[];
  readonly receiver: Receiver;
}

export interface Found {
  readonly wallet: Address;
  readonly destination: Address;
  /** Of the wallet itself. */
  readonly lamports: bigint;
  readonly destinationExists: boolean;
  readonly tokens: readonly TokenHolding[];
}

/** Blocks that cannot be rolled back any more: what is retired on the strength of them stays retired. */
const COMMITMENT = { commitment: 'finalized' } as const;
const ENCODED = { ...COMMITMENT, encoding: 'base64' } as const;
/** Of getMultipleAccounts. */
const ACCOUNTS_PER_CALL = 100;
const MEMO_REQUIRED = 8;

interface Account {
  readonly lamports: bigint;
  readonly owner: Address;
  readonly data: Uint8Array;
}

/** @throws QvError rpc_*; usage_invalid when the destination is no wallet */
export async function lookAt(rpc: Rpc, wallet: Address, destination: Address): Promise<Found> {
  const lamports = await balanceOf(rpc, wallet);
  const [there] = await accountsAt(rpc, [destination]);
  if (there !== undefined && (there.owner !== SYSTEM_PROGRAM || there.data.length > 0))
    throw new QvError('usage_invalid', { value: `--to is no wallet: its account is one of ${there.owner}` });
  const own = [
    ...(await tokenAccounts(rpc, wallet, TOKEN_PROGRAM)),
    ...(await tokenAccounts(rpc, wallet, TOKEN_2022_PROGRAM)),
  ];
  const mints = new Map<Address, Address>(own.map(({ mint, program }) => [mint, program]));
  const facts = await mintsOf(rpc, mints);
  const receivers = await receiversOf(rpc, destination, mints);
  const tokens = own.map((held): TokenHolding => {
    const mint = facts.get(held.mint);
    const receiver = mint === undefined ? 'no-mint' : (receivers.get(held.mint) ?? 'missing');
    return { ...held, decimals: mint?.decimals ?? 0, mintExtensions: mint?.extensions ?? [], receiver };
  });
  const found = { wallet, destination, lamports, destinationExists: there !== undefined, tokens };
  if (!isPossible(found)) throw invalid('getTokenAccountsByOwner', 'more SOL than there is');
  return found;
}

/** A billion SOL: more than there is, and less than a u64 holds. */
const MOST_LAMPORTS = 10n ** 18n;

export function isPossible({ lamports, tokens }: Pick<Found, 'lamports' | 'tokens'>): boolean {
  return tokens.reduce((sum, held) => sum + held.lamports, lamports) <= MOST_LAMPORTS;
}

/** Lamports. @throws QvError rpc_* */
export async function balanceOf(rpc: Rpc, wallet: Address): Promise<bigint> {
  return await rpc.call('getBalance', [wallet, COMMITMENT], (answer) =>
    lamportsField(new JsonFields(answer.required('result'), 'result'), 'value'),
  );
}

const invalid = (path: string, value: string): QvError => new QvError('rpc_response_invalid', { path, value });

type Own = Omit<TokenHolding, 'decimals' | 'mintExtensions' | 'receiver'>;

async function tokenAccounts(rpc: Rpc, wallet: Address, program: Address): Promise<readonly Own[]> {
  return await rpc.call('getTokenAccountsByOwner', [wallet, { programId: program }, ENCODED], (answer) => {
    const listed = new JsonFields(answer.required('result'), 'result').list('value');
    if (listed.length > LIMITS.cliSweepAccounts)
      throw new QvError('field_malformed', { path: 'result.value', value: `more than ${LIMITS.cliSweepAccounts}` });
    const found = listed.map((value, index) =>
      ownAccount(new JsonFields(value, `result.value[${index}]`), wallet, program),
    );
    if (new Set(found.map(({ account }) => account)).size !== found.length)
      throw new QvError('field_malformed', { path: 'result.value', value: 'an account twice' });
    return found;
  });
}

function ownAccount(fields: JsonFields, wallet: Address, program: Address): Own {
  const account = address(fields.text('pubkey'), fields.path('pubkey'));
  const { owner: holder, lamports, data } = readAccount(fields.required('account'), fields.path('account'));
  const { mint, owner, units, isFrozen, isNative, closeAuthority, extensions } = tokenAccountOf(data, program);
  if (holder !== program || owner !== wallet || account === wallet) throw fields.fault('account', 'of somebody else');
  const isClosable = closeAuthority === undefined || closeAuthority === wallet;
  return { account, program, mint, units, lamports, isNative, isFrozen, isClosable, extensions };
}

/** Without those that do not exist. */
async function mintsOf(rpc: Rpc, mints: ReadonlyMap<Address, Address>) {
  const list = [...mints];
  const accounts = await accountsAt(
    rpc,
    list.map(([mint]) => mint),
  );
  return new Map(
    list.flatMap(([mint, program], index) => {
      const account = accounts[index];
      if (account === undefined || account.data.length === 0) return [];
      if (account.owner !== program) throw invalid('getMultipleAccounts', mint);
      return [[mint, readAs('getMultipleAccounts', mint, () => mintOf(account.data, program))] as const];
    }),
  );
}

async function receiversOf(rpc: Rpc, destination: Address, mints: ReadonlyMap<Address, Address>) {
  const list = [...mints];
  const accounts = await accountsAt(
    rpc,
    list.map(([mint, program]) => associatedTokenAccount(destination, mint, program)),
  );
  return new Map(
    list.map(([mint, program], index) => {
      const account = accounts[index];
      // Lamports that somebody sent to the address make no token account.
      if (account === undefined || account.data.length === 0) return [mint, 'missing' as const];
      if (account.owner !== program) return [mint, 'foreign' as const];
      const there = readAs('getMultipleAccounts', mint, () => tokenAccountOf(account.data, program));
      return [mint, receiverOf(there, destination, mint)] as const;
    }),
  );
}

function receiverOf(account: ReturnType<typeof tokenAccountOf>, destination: Address, mint: Address): Receiver {
  // Whoever owns such an account may hand it over; tokens sent there are then somebody else's.
  if (account.owner !== destination || account.mint !== mint) return 'foreign';
  if (account.isFrozen) return 'frozen';
  return account.extensions.includes(MEMO_REQUIRED) ? 'extension' : 'ready';
}

/** In order; undefined where there is none. @throws QvError rpc_* */
async function accountsAt(rpc: Rpc, addresses: readonly Address[]): Promise<readonly (Account | undefined)[]> {
  const found: (Account | undefined)[] = [];
  for (let start = 0; start < addresses.length; start += ACCOUNTS_PER_CALL) {
    const asked = addresses.slice(start, start + ACCOUNTS_PER_CALL);
    const part = await rpc.call('getMultipleAccounts', [asked, ENCODED], (answer) => {
      const listed = new JsonFields(answer.required('result'), 'result').list('value');
      if (listed.length !== asked.length)
        throw new QvError('field_malformed', { path: 'result.value', value: `${listed.length} of ${asked.length}` });
      return listed.map((value, index) => (value === null ? undefined : readAccount(value, `result.value[${index}]`)));
    });
    found.push(...part);
  }
  return found;
}

/** @throws QvError field_malformed, base58_malformed, base64_malformed */
function readAccount(value: JsonValue, path: string): Account {
  const fields = new JsonFields(value, path);
  const [data, encoding, ...more] = fields.list('data');
  if (typeof data !== 'string' || encoding !== 'base64' || more.length > 0) throw fields.fault('data', 'not base64');
  return {
    lamports: lamportsField(fields, 'lamports'),
    owner: address(fields.text('owner'), fields.path('owner')),
    data: fromBase64(data, fields.path('data')),
  };
}

/** JSON has 53 bits for it: nine million SOL. */
const lamportsField = (fields: JsonFields, key: string): bigint => BigInt(fields.integer(key, Number.MAX_SAFE_INTEGER));

function readAs<T>(path: string, what: Address, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    throw new QvError('rpc_response_invalid', { path, value: what }, { cause: error });
  }
}

export interface Blockhash {
  /** 32 bytes, in base58. */
  readonly blockhash: Address;
  /** A transaction that names it is in no later block. */
  readonly lastValidBlockHeight: number;
}

/** @throws QvError rpc_* */
export async function recentBlockhash(rpc: Rpc): Promise<Blockhash> {
  return await rpc.call('getLatestBlockhash', [{ commitment: 'confirmed' }], (answer) => {
    const fields = new JsonFields(
      new JsonFields(answer.required('result'), 'result').required('value'),
      'result.value',
    );
    const blockhash = address(fields.text('blockhash'), fields.path('blockhash'));
    if (blockhash === addressOf(new Uint8Array(32))) throw fields.fault('blockhash', 'all zero');
    return { blockhash, lastValidBlockHeight: fields.integer('lastValidBlockHeight', Number.MAX_SAFE_INTEGER) };
  });
}
