/** What the parts of this test agree on. */

export const DEPLOYMENT = 'nitro-test';
export const REGION = 'eu-central-1';
export const BREAK_GLASS_ROLE = 'arn:aws:iam::000000000000:role/qv-break-glass';
export const INSTANCE_ROLE = 'arn:aws:iam::000000000000:role/qv-instance';
export const INSTANCE_ID = 'i-0a1b2c3d4e5f60718';
export const MODULE_ID = `${INSTANCE_ID}-enc0123456789abcdef`;

/** As on AWS: the parent has CID 3, as enclaves see it. */
export const PARENT_CID = 3;
export const ENCLAVE_CID = 4;
/** Of the parent; what AWS's init calls before it starts an application. */
export const HEARTBEAT_PORT = 9000;
export const HEARTBEAT = 0xb7;

/** In the parent guest. */
export const PARENT = {
  repository: '/repo',
  /** Everything that the machine prepared, and what host and KMS write. */
  state: '/state',
  /** Measured into the image as `https://localhost:<port>`. */
  kmsPort: 8443,
} as const;

/** Base units; the wallet's policy allows no more in one transaction. */
export const LIMIT_LAMPORTS = 1_000_000n;

/**
 * What the parent's driver does: everything, or only as much as an image can do that KMS refuses. Its argument.
 */
export type Scenario = 'allowed' | 'refused';

/** Lines of JSON that the parent's driver writes for the test, which judges them. */
export interface Reports {
  /** Somebody listens for the heartbeat: time to start the enclave. */
  readonly listening: { readonly port: number };
  readonly heartbeat: { readonly byte: number };
  readonly attestation: { readonly document: string; readonly nonce: string; readonly boot: string };
  readonly wallet: { readonly address: string };
  readonly signed: {
    readonly status: number;
    readonly reply: Readonly<Record<string, unknown>>;
    /** Base64, with an empty signature slot. */
    readonly transaction: string;
  };
  readonly denied: { readonly status: number; readonly reply: Readonly<Record<string, unknown>> };
  readonly kill: { readonly exitCode: number | null; readonly output: string };
  readonly frozen: { readonly status: number; readonly reply: Readonly<Record<string, unknown>> };
  readonly kmsCalls: readonly {
    readonly operation: string;
    readonly outcome: string;
    readonly moduleId: string | null;
  }[];
  /** What making the row key ended with. */
  readonly refused: { readonly code: string };
  readonly hostEnded: { readonly exit: number | string };
  readonly failed: { readonly message: string; readonly logs: string };
}

export type ReportName = keyof Reports;
