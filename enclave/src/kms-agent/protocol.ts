/**
 * Messages between the vault process and the kms-agent, over one pair of sockets inside the enclave. Same frames and
 * CBOR as towards the host. A request is {0: kind, 1: id, 2: body}, a reply {0: id, 1: body} or {0: id, 2: code}.
 */
import { type CborMap, decodeCbor, encodeCbor } from '@quantumvault/shared/cbor.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { credentialsCodec } from '@quantumvault/shared/protocol/message-parts.ts';
import {
  bool,
  bytes,
  type Codec,
  field,
  type Infer,
  list,
  maybe,
  oneOf,
  struct,
  text,
  u32,
} from '@quantumvault/shared/protocol/wire.ts';

const PRINTABLE = /^[\x20-\x7e]+$/;
const pair = struct({ name: field(0, text(64, PRINTABLE)), value: field(1, text(128, PRINTABLE)) });

const call = {
  keyArn: field(0, text(256, PRINTABLE)),
  context: field(1, list(pair, 1, 8)),
  document: field(2, bytes(1, LIMITS.attestationDocumentBytes)),
};

/** What KMS answered, without judgement: the vault process checks it. */
const answer = struct({
  keyArn: field(0, text(256, PRINTABLE)),
  envelope: maybe(1, bytes(1, LIMITS.kmsEnvelopeBytes)),
  ciphertext: maybe(2, bytes(1, LIMITS.kmsCiphertextBytes)),
  /** KMS sent plaintext although a recipient was named. */
  plaintext: field(3, bool),
});
export type KmsAnswer = Infer<typeof answer>;

export const AGENT_MESSAGES = {
  credentials: { kind: 1, request: credentialsCodec, reply: struct({}) },
  generateDataKey: { kind: 2, request: struct(call), reply: answer },
  decrypt: {
    kind: 3,
    request: struct({ ...call, ciphertext: field(3, bytes(1, LIMITS.kmsCiphertextBytes)) }),
    reply: answer,
  },
} as const;

export type AgentMessageName = keyof typeof AGENT_MESSAGES;
export type AgentRequest<N extends AgentMessageName> = Infer<(typeof AGENT_MESSAGES)[N]['request']>;
export type AgentReply<N extends AgentMessageName> = Infer<(typeof AGENT_MESSAGES)[N]['reply']>;

export const AGENT_FAILURES = ['kms_unavailable', 'kms_refused', 'key_blob_invalid', 'kms_response_invalid'] as const;
export type AgentFailure = (typeof AGENT_FAILURES)[number];
const failure = oneOf(...AGENT_FAILURES);

export function encodeAgentRequest<N extends AgentMessageName>(id: number, name: N, body: AgentRequest<N>): Uint8Array {
  const { kind, request } = AGENT_MESSAGES[name];
  return encodeCbor(
    new Map([
      [0, kind],
      [1, id],
      [2, (request as Codec<AgentRequest<N>>).toCbor(body)],
    ] as never),
  );
}

export function decodeAgentRequest(payload: Uint8Array): { id: number; name: AgentMessageName; body: unknown } {
  const map = asMap(decodeCbor(payload));
  const kind = u32.fromCbor(map.get(0) ?? null, 'kind');
  const id = u32.fromCbor(map.get(1) ?? null, 'id');
  const name = (Object.keys(AGENT_MESSAGES) as AgentMessageName[]).find((key) => AGENT_MESSAGES[key].kind === kind);
  if (name === undefined || map.size !== 3) throw new QvError('message_malformed', { path: 'kind' });
  return { id, name, body: (AGENT_MESSAGES[name].request as Codec<unknown>).fromCbor(map.get(2) ?? null, name) };
}

export function encodeAgentReply<N extends AgentMessageName>(id: number, name: N, body: AgentReply<N>): Uint8Array {
  const codec = AGENT_MESSAGES[name].reply as Codec<AgentReply<N>>;
  return encodeCbor(
    new Map([
      [0, id],
      [1, codec.toCbor(body)],
    ] as never),
  );
}

export function encodeAgentFailure(id: number, code: AgentFailure): Uint8Array {
  return encodeCbor(
    new Map([
      [0, id],
      [2, code],
    ] as never),
  );
}

/** @throws QvError cbor_malformed, message_malformed; the reader throws the failure's own code */
export function decodeAgentReply(payload: Uint8Array): {
  id: number;
  read: <N extends AgentMessageName>(name: N) => AgentReply<N>;
} {
  const map = asMap(decodeCbor(payload));
  const id = u32.fromCbor(map.get(0) ?? null, 'id');
  // One of body and failure: of both, readers would disagree which counts.
  if (map.size !== 2) throw new QvError('message_malformed', { path: 'reply', value: 'neither body nor failure' });
  return {
    id,
    read: (name) => {
      const code = map.get(2);
      if (code !== undefined) throw new QvError(failure.fromCbor(code, 'failure'));
      return (AGENT_MESSAGES[name].reply as Codec<never>).fromCbor(map.get(1) ?? null, name);
    },
  };
}

function asMap(value: unknown): CborMap {
  if (!(value instanceof Map)) throw new QvError('message_malformed', { path: 'frame', value: 'not a map' });
  return value as CborMap;
}
