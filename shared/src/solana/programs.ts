/** Addresses of the programs and accounts that the judge knows by name. */
import { type Address, address } from '../brands.ts';

export const SYSTEM_PROGRAM: Address = address('11111111111111111111111111111111');
export const COMPUTE_BUDGET_PROGRAM: Address = address('ComputeBudget111111111111111111111111111111');
export const TOKEN_PROGRAM: Address = address('TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA');
export const TOKEN_2022_PROGRAM: Address = address('TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb');
export const ASSOCIATED_TOKEN_PROGRAM: Address = address('ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL');
export const MEMO_PROGRAM: Address = address('MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr');
export const MEMO_V1_PROGRAM: Address = address('Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo');
/** Asserts balances on chain for `bracketedBy` rules (`lighthouse.ts`). Who can upgrade it: `../policy/README.md`. */
export const LIGHTHOUSE_PROGRAM: Address = address('L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95');
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
const FORBIDDEN: ReadonlyMap<Address, string> = new Map([
  [address('NativeLoader1111111111111111111111111111111'), 'Native Loader'],
  [address('BPFLoader1111111111111111111111111111111111'), 'BPF Loader 1'],
  [address('BPFLoader2111111111111111111111111111111111'), 'BPF Loader 2'],
  [address('BPFLoaderUpgradeab1e11111111111111111111111'), 'BPF Loader Upgradeable'],
  [address('LoaderV411111111111111111111111111111111111'), 'Loader v4'],
  [address('Stake11111111111111111111111111111111111111'), 'Stake'],
  [address('Vote111111111111111111111111111111111111111'), 'Vote'],
  [address('Config1111111111111111111111111111111111111'), 'Config'],
  [address('AddressLookupTab1e1111111111111111111111111'), 'Address Lookup Table'],
  [address('Ed25519SigVerify111111111111111111111111111'), 'Ed25519 precompile'],
  [address('KeccakSecp256k11111111111111111111111111111'), 'Secp256k1 precompile'],
  [address('Secp256r1SigVerify1111111111111111111111111'), 'Secp256r1 precompile'],
]);
export const FORBIDDEN_PROGRAMS: readonly Address[] = [...FORBIDDEN.keys()];

/** For people: what the programs above are called. Nothing depends on a name. */
export const PROGRAM_NAMES: ReadonlyMap<Address, string> = new Map([
  [SYSTEM_PROGRAM, 'System'],
  [COMPUTE_BUDGET_PROGRAM, 'ComputeBudget'],
  [TOKEN_PROGRAM, 'SPL Token'],
  [TOKEN_2022_PROGRAM, 'Token-2022'],
  [ASSOCIATED_TOKEN_PROGRAM, 'Associated Token'],
  [MEMO_PROGRAM, 'Memo'],
  [MEMO_V1_PROGRAM, 'Memo 1'],
  [LIGHTHOUSE_PROGRAM, 'Lighthouse'],
  ...FORBIDDEN,
]);
