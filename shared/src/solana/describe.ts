/**
 * Instructions in words, for people and `qv tx decode`: names and arguments of everything that the programs in
 * `programs.ts` define, allowed or not. Nothing is decided here; the judge reads the same bytes with its own decoders,
 * and a test holds both to the same values.
 */
import { type Address, addressOf } from '../brands.ts';
import { toHex } from '../bytes.ts';
import {
  ASSOCIATED_TOKEN_PROGRAM,
  COMPUTE_BUDGET_PROGRAM,
  MEMO_PROGRAM,
  MEMO_V1_PROGRAM,
  SYSTEM_PROGRAM,
  TOKEN_2022_PROGRAM,
  TOKEN_PROGRAM,
} from './programs.ts';
import { littleEndian } from './reader.ts';
import { decodeBatch } from './token.ts';

/** u64 values are decimal strings, addresses base58, an absent option null. */
export type Argument = string | number | null;

export interface Description {
  /** As the program's own source calls it: `TransferChecked`. */
  readonly name: string;
  readonly arguments: Readonly<Record<string, Argument>>;
  /** Bytes behind the last argument, as hex. Programs ignore most; the judge denies them. */
  readonly trailing?: string;
  /** The data ends inside this argument. */
  readonly truncatedAt?: string;
  /** What a Batch holds; absent where the Batch does not parse. */
  readonly inner?: readonly { readonly accountCount: number; readonly description: Description | undefined }[];
}

/**
 * How one argument is written, as `name:type`. `string` has a u64 length (bincode); `option` is a u8 and an address,
 * `optionalAmount` a u8 and a u64; `text` and `bytes` are all that is left.
 */
type Layout = readonly string[];
type Table = ReadonlyMap<number, Layout>;

const CREATE = ['lamports:u64', 'space:u64', 'owner:address'];
const SYSTEM: Table = new Map([
  [0, ['CreateAccount', ...CREATE]],
  [1, ['Assign', 'owner:address']],
  [2, ['Transfer', 'lamports:u64']],
  [3, ['CreateAccountWithSeed', 'base:address', 'seed:string', ...CREATE]],
  [4, ['AdvanceNonceAccount']],
  [5, ['WithdrawNonceAccount', 'lamports:u64']],
  [6, ['InitializeNonceAccount', 'authority:address']],
  [7, ['AuthorizeNonceAccount', 'authority:address']],
  [8, ['Allocate', 'space:u64']],
  [9, ['AllocateWithSeed', 'base:address', 'seed:string', 'space:u64', 'owner:address']],
  [10, ['AssignWithSeed', 'base:address', 'seed:string', 'owner:address']],
  [11, ['TransferWithSeed', 'lamports:u64', 'seed:string', 'owner:address']],
  [12, ['UpgradeNonceAccount']],
  [13, ['CreateAccountAllowPrefund', ...CREATE]],
]);

const CHECKED = ['amount:u64', 'decimals:u8'];
const MINT = ['decimals:u8', 'mintAuthority:address', 'freezeAuthority:option'];
const TOKEN: Table = new Map([
  [0, ['InitializeMint', ...MINT]],
  [1, ['InitializeAccount']],
  [2, ['InitializeMultisig', 'm:u8']],
  [3, ['Transfer', 'amount:u64']],
  [4, ['Approve', 'amount:u64']],
  [5, ['Revoke']],
  [6, ['SetAuthority', 'authorityType:u8', 'newAuthority:option']],
  [7, ['MintTo', 'amount:u64']],
  [8, ['Burn', 'amount:u64']],
  [9, ['CloseAccount']],
  [10, ['FreezeAccount']],
  [11, ['ThawAccount']],
  [12, ['TransferChecked', ...CHECKED]],
  [13, ['ApproveChecked', ...CHECKED]],
  [14, ['MintToChecked', ...CHECKED]],
  [15, ['BurnChecked', ...CHECKED]],
  [16, ['InitializeAccount2', 'owner:address']],
  [17, ['SyncNative']],
  [18, ['InitializeAccount3', 'owner:address']],
  [19, ['InitializeMultisig2', 'm:u8']],
  [20, ['InitializeMint2', ...MINT]],
  [21, ['GetAccountDataSize', 'extensions:bytes']],
  [22, ['InitializeImmutableOwner']],
  [23, ['AmountToUiAmount', 'amount:u64']],
  [24, ['UiAmountToAmount', 'uiAmount:text']],
  [38, ['WithdrawExcessLamports']],
  [45, ['UnwrapLamports', 'amount:optionalAmount']],
  [255, ['Batch', 'instructions:bytes']],
]);

/** Extensions have instructions of their own behind the tag, which nothing here reads. */
const TOKEN_2022: Table = new Map([
  ...TOKEN,
  [25, ['InitializeMintCloseAuthority', 'closeAuthority:option']],
  [29, ['Reallocate', 'extensions:bytes']],
  [31, ['CreateNativeMint']],
  [32, ['InitializeNonTransferableMint']],
  [35, ['InitializePermanentDelegate', 'delegate:address']],
  ...(
    [
      [26, 'TransferFeeExtension'],
      [27, 'ConfidentialTransferExtension'],
      [28, 'DefaultAccountStateExtension'],
      [30, 'MemoTransferExtension'],
      [33, 'InterestBearingMintExtension'],
      [34, 'CpiGuardExtension'],
      [36, 'TransferHookExtension'],
      [37, 'ConfidentialTransferFeeExtension'],
      [39, 'MetadataPointerExtension'],
      [40, 'GroupPointerExtension'],
      [41, 'GroupMemberPointerExtension'],
      [42, 'ConfidentialMintBurnExtension'],
      [43, 'ScaledUiAmountExtension'],
      [44, 'PausableExtension'],
      [46, 'PermissionedBurnExtension'],
    ] as const
  ).map(([tag, name]): [number, Layout] => [tag, [name, 'extension:bytes']]),
]);

const ASSOCIATED_TOKEN: Table = new Map([
  [0, ['Create']],
  [1, ['CreateIdempotent']],
  [2, ['RecoverNested']],
]);

const COMPUTE_BUDGET: Table = new Map([
  [0, ['RequestUnits', 'units:u32', 'additionalFee:u32']],
  [1, ['RequestHeapFrame', 'bytes:u32']],
  [2, ['SetComputeUnitLimit', 'units:u32']],
  [3, ['SetComputeUnitPrice', 'microLamports:u64']],
  [4, ['SetLoadedAccountsDataSizeLimit', 'bytes:u32']],
]);

const MEMO: Layout = ['Memo', 'text:text'];

/** Undefined for programs and tags that have no name here. */
export function describeInstruction(program: Address, data: Uint8Array): Description | undefined {
  switch (program) {
    case SYSTEM_PROGRAM:
      return data.length < 4 ? undefined : described(SYSTEM.get(Number(littleEndian(data.subarray(0, 4)))), data, 4);
    case TOKEN_PROGRAM:
      return data[0] === 255 ? describeBatch(program, data) : tagged(TOKEN, data);
    case TOKEN_2022_PROGRAM:
      return tagged(TOKEN_2022, data);
    case ASSOCIATED_TOKEN_PROGRAM:
      // Empty data is the original spelling of Create.
      return data.length === 0 ? { name: 'Create', arguments: {} } : tagged(ASSOCIATED_TOKEN, data);
    case COMPUTE_BUDGET_PROGRAM:
      return tagged(COMPUTE_BUDGET, data);
    case MEMO_PROGRAM:
    case MEMO_V1_PROGRAM:
      return described(MEMO, data, 0);
  }
  return undefined;
}

/** Inner instructions of a nested Batch are named but not walked: on chain, nesting fails. */
function describeBatch(program: Address, data: Uint8Array): Description {
  const entries = decodeBatch(data);
  if (entries === undefined) return { name: 'Batch', arguments: { instructions: toHex(data.subarray(1)) } };
  const inner = entries.map(({ accountCount, data: nested }) => ({
    accountCount,
    description: nested[0] === 255 ? tagged(TOKEN, nested) : describeInstruction(program, nested),
  }));
  return { name: 'Batch', arguments: {}, inner };
}

function tagged(table: Table, data: Uint8Array): Description | undefined {
  const [tag] = data;
  return tag === undefined ? undefined : described(table.get(tag), data, 1);
}

function described(layout: Layout | undefined, data: Uint8Array, start: number): Description | undefined {
  const [name, ...fields] = layout ?? [];
  if (name === undefined) return undefined;
  const values: Record<string, Argument> = {};
  let offset = start;
  for (const field of fields) {
    const [key = '', type = ''] = field.split(':');
    const read = argumentAt(type, data.subarray(offset));
    if (read === undefined) return { name, arguments: values, truncatedAt: key };
    values[key] = read.value;
    offset += read.length;
  }
  const rest = data.subarray(offset);
  return { name, arguments: values, ...(rest.length > 0 && { trailing: toHex(rest) }) };
}

/** The value at the start of `bytes` and how many bytes it takes; undefined where they end too soon. */
function argumentAt(type: string, bytes: Uint8Array): { value: Argument; length: number } | undefined {
  const fixed = (length: number, value: (part: Uint8Array) => Argument, skipped = 0) =>
    bytes.length < skipped + length
      ? undefined
      : { value: value(bytes.slice(skipped, skipped + length)), length: skipped + length };
  switch (type) {
    case 'u8':
      return fixed(1, ([byte]) => byte ?? 0);
    case 'u32':
      return fixed(4, (part) => Number(littleEndian(part)));
    case 'u64':
      return fixed(8, (part) => littleEndian(part).toString());
    case 'address':
      return fixed(32, addressOf);
    case 'option':
      return bytes[0] === 0 ? { value: null, length: 1 } : fixed(32, addressOf, 1);
    case 'optionalAmount':
      return bytes[0] === 0 ? { value: null, length: 1 } : fixed(8, (part) => littleEndian(part).toString(), 1);
    case 'string': {
      const length = bytes.length < 8 ? undefined : littleEndian(bytes.subarray(0, 8));
      return length === undefined || length > BigInt(bytes.length) ? undefined : fixed(Number(length), textOf, 8);
    }
    case 'text':
      return fixed(bytes.length, textOf);
    default:
      return fixed(bytes.length, toHex);
  }
}

/** Bytes that are no UTF-8 show as U+FFFD; dataHex has the truth. */
function textOf(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
}
