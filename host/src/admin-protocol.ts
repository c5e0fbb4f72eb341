/**
 * What `qv` and the host say to each other on the admin socket: one JSON object per line, one line back for each.
 *
 *   {"command": "freeze", "scope": "fleet", "reason": text}   -> FreezeReport
 *   {"command": "status"}                                     -> AdminStatus
 *   {"command": "row-key-create"}                             -> {"created": true}
 *
 * A reply is {"ok": true, "result": …} or {"ok": false, "error": {"code", "title", "retryable", "path"?, "value"?}}.
 * Who may open the socket is decided by its file permissions. Nothing here can resume or sign.
 */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import type { FreezeReport, FreezeScope } from './freeze.ts';

export interface AdminCommands {
  freeze: {
    /** `reason`: at most 200 printable ASCII characters; it becomes part of the enclave's record. */
    readonly arguments: { readonly scope: FreezeScope; readonly reason: string };
    readonly result: FreezeReport;
  };
  status: { readonly arguments: Record<never, never>; readonly result: AdminStatus };
  'row-key-create': { readonly arguments: Record<never, never>; readonly result: { readonly created: true } };
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
    readonly version: string;
    /** hex */
    readonly configHash: string;
    readonly kmsKeyArn: string;
    /** hex; null while nothing is frozen. */
    readonly freezeId: string | null;
    /** Trusted time, RFC 3339; null when the enclave has none. */
    readonly time: string | null;
    readonly leaves: string;
    readonly wallets: number;
  };
  readonly rowKey: boolean;
  readonly store: boolean;
  /** Decisions the database has not taken yet. */
  readonly backlog: number;
  readonly freeze: null | { readonly scope: string; readonly reason: string; readonly at: string };
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
