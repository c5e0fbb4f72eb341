/**
 * What `qv` and the host say to each other on the admin socket: one JSON object per line, one line back for each.
 *
 *   {"command": "freeze", "scope": text, "reason": text}       -> FreezeReport
 *   {"command": "resume", "scope": text, "freezeId": hex,
 *    "signatures": [{"key": base58, "signature": base64}]}    -> ResumeReport
 *   {"command": "status", "scope"?: text}                     -> AdminStatus
 *   {"command": "metrics"}                                    -> {"text": the Prometheus exposition format}
 *   {"command": "row-key-create"}                             -> {"created": true}
 *   {"command": "row-key-rotate", "leaveEdited"?: true}       -> RowKeyReport and {"begun": boolean}
 *   {"command": "row-key-status"}                             -> RowKeyReport
 *
 * and what moves wallets between boots (admin/succession.ts):
 *
 *   {"command": "wallets", "after"?: wallet}                  -> {"wallets": […]}, ascending, at most a thousand
 *   {"command": "release", "wallet", "order"}                 -> {"release", "state"}
 *   {"command": "take", "wallet", "release" | "lease", "state"?}  -> {"version", "already"}
 *   {"command": "lease-show", "lease"}                        -> {"given": number}
 *   {"command": "publish"}                                    -> {"published": true}
 *
 * and what renews the keys that wallets are stored under (admin/wallet-keys.ts):
 *
 *   {"command": "wallet-rotate", "wallet", "before"?: RFC 3339, "withoutSecond"?: boolean}
 *                                                             -> {"rotated": boolean, "at": RFC 3339}
 *
 * and what migrates rows of v2 (admin/migration.ts):
 *
 *   {"command": "migration-begin", "statement", "sealed"}     -> {"begun": true}
 *   {"command": "migration-row", "statement", "row", "index", "proof", "dryRun"?}  -> {"outcome", …}
 *   {"command": "migration-end", "statement"}                 -> {"ended": true}
 *
 * A reply is {"ok": true, "result": …} or {"ok": false, "error": {"code", "title", "retryable", "path"?, "value"?}}.
 * A scope is `fleet`, `wallet:<address>` or `requester:<key>`. Who may open the socket is decided by its file
 * permissions. Nothing here can sign, and what ends a freeze is signatures that the enclave verifies.
 */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import type { OperatorSignedJson, StateJson } from './admin/succession-json.ts';
import type { CredentialsState } from './credentials.ts';
import type { FreezeReport, ResumeReport } from './freeze-report.ts';
import type { RowKeyReport } from './rotation/row-key.ts';
import type { ReceiptJson, SignedBytesJson } from './wire-json.ts';

export interface AdminCommands {
  freeze: {
    /** `reason`: at most 200 printable ASCII characters; it becomes part of the enclave's record. */
    readonly arguments: { readonly scope: string; readonly reason: string };
    readonly result: FreezeReport;
  };
  resume: {
    readonly arguments: {
      readonly scope: string;
      /** 32 lower-case hex digits. */
      readonly freezeId: string;
      /** Over the resume statement: one by a wallet's owner, else one by each of enough operators. */
      readonly signatures: readonly { readonly key: string; readonly signature: string }[];
    };
    readonly result: ResumeReport;
  };
  /** With a scope, of all freezes only that one. */
  status: { readonly arguments: { readonly scope?: string }; readonly result: AdminStatus };
  wallets: {
    readonly arguments: { readonly after?: string };
    /** Of every row there is, whoever holds it. */
    readonly result: { readonly wallets: readonly string[] };
  };
  release: {
    readonly arguments: { readonly wallet: string; readonly order: OperatorSignedJson };
    readonly result: { readonly release: SignedBytesJson; readonly state: StateJson };
  };
  take: {
    /** By one of `release` and `lease`. `state`: used where it is newer than the row's. */
    readonly arguments: {
      readonly wallet: string;
      readonly release?: SignedBytesJson;
      readonly lease?: OperatorSignedJson;
      readonly state?: StateJson;
    };
    /** `already`: this enclave held the wallet before it was asked, and it may have signed for it. */
    readonly result: { readonly version: string; readonly already: boolean };
  };
  'lease-show': {
    readonly arguments: { readonly lease: OperatorSignedJson };
    /** So many wallets the enclave held, and signs for no more. */
    readonly result: { readonly given: number };
  };
  'migration-begin': {
    /** `sealed`: base64. */
    readonly arguments: { readonly statement: OperatorSignedJson; readonly sealed: string };
    readonly result: { readonly begun: true };
  };
  'migration-row': {
    /** `statement`: hex of its SHA-256. Row (canonical CBOR) and hashes of the proof in base64. */
    readonly arguments: {
      readonly statement: string;
      readonly row: string;
      readonly index: number;
      readonly proof: readonly string[];
      readonly dryRun?: boolean;
    };
    /** `there`: its wallet has a row of the same owner already. `opens`: a dry run found nothing wrong. */
    readonly result:
      | { readonly outcome: 'migrated'; readonly certificate: SignedBytesJson; readonly receipt: ReceiptJson }
      | { readonly outcome: 'there' | 'opens' };
  };
  'migration-end': { readonly arguments: { readonly statement: string }; readonly result: { readonly ended: true } };
  /** Publishes what was decided by now, with its witnesses. */
  publish: { readonly arguments: Record<never, never>; readonly result: { readonly published: true } };
  'wallet-rotate': {
    /** `before`: keys that were made then or later stay. `withoutSecond`: those with a second sealing stay. */
    readonly arguments: { readonly wallet: string; readonly before?: string; readonly withoutSecond?: boolean };
    /** `rotated`: false where they stay. `at`: when the keys were made that it has now. */
    readonly result: { readonly rotated: boolean; readonly at: string };
  };
  metrics: { readonly arguments: Record<never, never>; readonly result: { readonly text: string } };
  'row-key-create': { readonly arguments: Record<never, never>; readonly result: { readonly created: true } };
  'row-key-rotate': {
    /** `leaveEdited`: begins nothing, and lets the present replacement leave behind what fits neither key. */
    readonly arguments: { readonly leaveEdited?: true };
    /** `begun`: by this command; else it was under way. */
    readonly result: RowKeyReport & { readonly begun: boolean };
  };
  'row-key-status': { readonly arguments: Record<never, never>; readonly result: RowKeyReport };
}

export type AdminCommand = keyof AdminCommands;

export interface AdminStatus {
  readonly deployment: string;
  readonly draining: boolean;
  /** null while the enclave does not answer. */
  readonly enclave: null | {
    readonly phase: string;
    /** base58; null before the boot key is born. */
    readonly boot: string | null;
    /** When it was born, by trusted time, RFC 3339; null until the host has its record. */
    readonly bornAt: string | null;
    readonly version: string;
    /** hex */
    readonly configHash: string;
    readonly kmsKeyArn: string;
    /** All measured ones, that one first; empty where the enclave does not say. */
    readonly kmsKeys: readonly { readonly keyArn: string; readonly use: string; readonly avoided: boolean }[];
    /** hex; null while the fleet is not frozen. */
    readonly freezeId: string | null;
    /** Trusted time, RFC 3339; null when the enclave has none. */
    readonly time: string | null;
    readonly leaves: string;
    readonly wallets: number;
    /** The freezes it holds, at most LIMITS.carriedFreezes of `count`; null when it does not answer just now. */
    readonly freezes: null | { readonly held: readonly EnclaveFreeze[]; readonly count: number };
  };
  /**
   * The instance role's, for the enclave. `expiresAt`: RFC 3339; null when they name no time, or are missing. `fault`:
   * why the last look for newer ones failed; null when it did not.
   */
  readonly credentials: {
    readonly state: CredentialsState;
    readonly expiresAt: string | null;
    readonly fault: ErrorCode | null;
  };
  readonly rowKey: boolean;
  /** Wallets, other than retired ones, that no second KMS key opens; null when the database does not answer. */
  readonly walletsWithoutSecond: number | null;
  /** Whether another row key takes its place just now. */
  readonly rowKeyState: RowKeyReport['state'];
  /** Why there is none, or why it is not followed or replaced; null when all is well. */
  readonly rowKeyFault: ErrorCode | null;
  readonly store: boolean;
  /** Decisions the database has not taken yet. */
  readonly backlog: number;
  /** Those the host holds, the fleet's first, at most LIMITS.statusFreezes of `freezeCount`. */
  readonly freezes: readonly HostFreeze[];
  readonly freezeCount: number;
}

export interface HostFreeze {
  readonly scope: string;
  /** Of the first order, as is the time. */
  readonly reason: string;
  readonly at: string;
  /** base58, and hex: the boot that acknowledged the newest order, and the id it gave. null until one has. */
  readonly boot: string | null;
  readonly freezeId: string | null;
}

/** Several ids of one scope are several freezes: one of this boot, others that came with wallets from other boots. */
export interface EnclaveFreeze {
  readonly scope: string;
  /** hex */
  readonly freezeId: string;
}

export type AdminReply =
  | { readonly ok: true; readonly result: unknown }
  | {
      readonly ok: false;
      readonly error: {
        readonly code: ErrorCode;
        readonly title: string;
        readonly retryable: boolean;
        readonly path?: string;
        readonly value?: string;
      };
    };
