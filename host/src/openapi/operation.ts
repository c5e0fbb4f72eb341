/** What the description of one route consists of. document.ts makes OpenAPI of it. */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';

/** JSON Schema 2020-12. */
export interface Schema {
  readonly [keyword: string]: unknown;
}

export const TAGS = {
  signing: 'Signatures under the policy of a wallet, and verdicts without one.',
  wallets: 'Wallets and their policies. Each change is signed by the owner of the wallet.',
  signals: 'What triggers signing requests. A signal authorises nothing by itself.',
  freeze: 'The stop button. Nothing over HTTP resumes what was frozen.',
  reads: 'What a backend, an auditor or support staff reads with an API token.',
  evidence: 'What auditors read: attestation, receipts and the log. All of it verifies offline.',
  alerts: 'What the host sends by itself, to endpoints of its configuration.',
  service: 'Health, and this description.',
} as const;

export type Tag = keyof typeof TAGS;

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required: boolean;
  readonly description: string;
  readonly schema: Schema;
}

/** By media type; undefined for bytes that no schema describes. */
export type Content = Readonly<Record<string, { readonly schema?: Schema; readonly example?: unknown }>>;

export interface Reply {
  readonly description: string;
  readonly content: Content;
  /** Besides those of every reply. */
  readonly headers?: Readonly<Record<string, Schema>>;
}

export interface Operation {
  readonly method: 'get' | 'post' | 'put';
  /** As Fastify has it: `/v1/wallets/:wallet`. */
  readonly route: string;
  /** Also the name of a method that a generator may make of it. */
  readonly id: string;
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly body?: { readonly description: string; readonly content: Content };
  /** Of the security schemes in document.ts, of which one is enough; default none. */
  readonly security?: readonly Readonly<Record<string, readonly string[]>>[];
  readonly replies: Readonly<Record<number, Reply>>;
  /** What it refuses with, besides what document.ts adds for every operation, or every one with parameters or a body. */
  readonly codes: readonly ErrorCode[];
  /** Neither counted by address nor refused for load: health checks and the stop button. */
  readonly isAlwaysAnswered?: boolean;
}

/** A route's pattern as OpenAPI writes paths. The rest of a path behind `*` is called `tile`, as only tiles have one. */
export function openApiPath(route: string): string {
  return route.replace(/:(\w+)/g, '{$1}').replace(/\*$/, '{tile}');
}
