/** What an order to freeze or to resume achieved, place by place, as JSON tells it. */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import type { ReceiptJson, SignedBytesJson } from './wire-json.ts';

export const REASON_CHARACTERS = 200;

/** Whether one place holds the freeze; when it does, since when (RFC 3339 with milliseconds), else why not. */
export type Hold<More = object> =
  | ({
      readonly held: true;
      readonly at: string;
      /** From the order until it held, or was found to. */
      readonly elapsedMilliseconds: number;
    } & More)
  | { readonly held: false; readonly code: ErrorCode };

/** One enclave's hold, with the boot-signed acknowledgement (qv/freeze-ack/v1) and the leaf that records it. */
export type EnclaveHold = {
  /** The address of its control connection. */
  readonly enclave: string;
} & Hold<{ readonly ack: SignedBytesJson; readonly receipt: ReceiptJson }>;

export interface FreezeReport {
  /** As it was ordered. An acknowledgement may name `fleet` instead, where an enclave has no room for more scopes. */
  readonly scope: string;
  readonly host: Hold;
  /** Every enclave of the deployment, those that did not answer as not held. */
  readonly enclaves: readonly EnclaveHold[];
  readonly database: Hold;
}

/** Whether one place let go; `frozen` when another freeze of the same scope holds there. */
export type Cleared =
  | { readonly cleared: true; readonly at: string }
  | { readonly cleared: false; readonly code: ErrorCode };

export interface ResumeReport {
  readonly scope: string;
  /** The boot's signed word (qv/resume-ack/v1) and the leaf that records it. */
  readonly ack: SignedBytesJson;
  readonly receipt: ReceiptJson;
  readonly host: Cleared;
  readonly database: Cleared;
}
