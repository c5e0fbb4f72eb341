/** Addresses of the programs and accounts that the judge knows by name. */
import { type Address, address } from '../brands.ts';

export const SYSTEM_PROGRAM: Address = address('11111111111111111111111111111111');
export const COMPUTE_BUDGET_PROGRAM: Address = address('ComputeBudget111111111111111111111111111111');
export const TOKEN_PROGRAM: Address = address('TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA');
export const TOKEN_2022_PROGRAM: Address = address('TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb');
export const ASSOCIATED_TOKEN_PROGRAM: Address = address('ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL');
export const MEMO_PROGRAM: Address = address('MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr');
export const MEMO_V1_PROGRAM: Address = address('Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo');
export const WRAPPED_SOL_MINT: Address = address('So11111111111111111111111111111111111111112');

/** The judge reads these itself, instruction by instruction; no policy rule can widen what it allows. */
export const UNDERSTOOD_PROGRAMS: readonly Address[] = [
  SYSTEM_PROGRAM,
  COMPUTE_BUDGET_PROGRAM,
  TOKEN_PROGRAM,
  TOKEN_2022_PROGRAM,
  ASSOCIATED_TOKEN_PROGRAM,
  MEMO_PROGRAM,
  MEMO_V1_PROGRAM,
];

/** Loaders, stake, vote, lookup tables, configuration, precompiles: authority and funds a policy never hands out. */
export const FORBIDDEN_PROGRAMS: readonly Address[] = [
  address('NativeLoader1111111111111111111111111111111'),
  address('BPFLoader1111111111111111111111111111111111'),
  address('BPFLoader2111111111111111111111111111111111'),
  address('BPFLoaderUpgradeab1e11111111111111111111111'),
  address('LoaderV411111111111111111111111111111111111'),
  address('Stake11111111111111111111111111111111111111'),
  address('Vote111111111111111111111111111111111111111'),
  address('Config1111111111111111111111111111111111111'),
  address('AddressLookupTab1e1111111111111111111111111'),
  address('Ed25519SigVerify111111111111111111111111111'),
  address('KeccakSecp256k11111111111111111111111111111'),
  address('Secp256r1SigVerify1111111111111111111111111'),
];
