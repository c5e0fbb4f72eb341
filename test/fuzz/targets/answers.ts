/** Answers of others: of the host to its clients, of the admin socket, of the security module. */
import { Nsm } from '@quantumvault/enclave/nsm.ts';
import type { AdminCommand } from '@quantumvault/host/admin-protocol.ts';
import { readAdminReply } from '@quantumvault/host/cli/admin-replies.ts';
import { requestAttestation } from '@quantumvault/host/client/attestation.ts';
import { type Connection, exchange } from '@quantumvault/host/client/http.ts';
import { panic } from '@quantumvault/host/client/panic.ts';
import { readSigned, type SigningContext } from '@quantumvault/host/client/signing.ts';
import { formatPanicCode } from '@quantumvault/host/remote-freeze/panic-code.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { concatBytes, fromBase64, toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { type CborValue, encodeCbor } from '@quantumvault/shared/cbor.ts';
import { ERRORS, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeTransaction, messageHash } from '@quantumvault/shared/solana/transaction.ts';
import { corpus } from '../../shared/policy/cases.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import { must, type Target } from '../engine/target.ts';
import { behindOneByte } from './bodies.ts';
import * as sample from './samples.ts';

const ALL_CODES = Object.keys(ERRORS) as ErrorCode[];
const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
const STATUSES = [200, 200, 200, 200, 403, 429, 500, 502] as const;

function connectionTo(input: Uint8Array, status: number): Connection {
  const body = Uint8Array.from(input) as Uint8Array<ArrayBuffer>;
  const answer = async (): Promise<Response> => new Response(body, { status, headers: { 'retry-after': '1' } });
  return {
    url: new URL('https://host.example/'),
    fetch: answer as typeof fetch,
    timeoutMilliseconds: 60_000,
    attempts: 1,
  };
}

const WIRE = fromBase64(corpus.cases.find(({ expect }) => expect === 'allow')?.base64 ?? '');
const transaction = decodeTransaction(WIRE);
const leafJson = { leaf: toBase64(sample.leaf), signature: toBase64(sample.signature) };
const expected = {
  wallet: sample.wallet,
  actor: sample.requester,
  requestId: 'order-4711',
  messageHash: messageHash(transaction.messageBytes),
};

/** The first byte: which question it answers, and with which status. */
export const hostAnswers: Target = {
  name: 'host-answers',
  covers: [
    'host/src/client/http.ts#exchange',
    'host/src/client/http.ts#readResponse',
    'host/src/client/attestation.ts#requestAttestation',
    'host/src/client/panic.ts#panic',
    'host/src/client/signing.ts#readSigned',
  ],
  seeds: () => {
    const at = (byte: number, value: unknown): Uint8Array => concatBytes(Uint8Array.of(byte), json(value));
    const held = { held: true, at: '2026-11-22T12:00:00Z' };
    return {
      attestation: at(0, { document: toBase64(sample.filled(100, 1)), boot: sample.boot, bootRecord: leafJson }),
      frozen: at(1, {
        scope: 'fleet',
        host: held,
        database: { held: false, code: 'store_unavailable' },
        enclaves: [held],
      }),
      signed: at(2, {
        signature: toBase58(sample.signature),
        messageHash: toHex(messageHash(transaction.messageBytes)),
        lamportsOut: '5',
        feeLamports: '5000',
        tokens: { [sample.mint]: '7' },
        receipt: leafJson,
      }),
      problem: at(3 + 4 * 4, {
        type: 'urn:x',
        code: 'policy_denied',
        rule: 'sol',
        value: '7',
        status: 403,
        requestId: 'r',
        receipt: leafJson,
      }),
    };
  },
  mutators: [behindOneByte(jsonMutator([cborMutator()]))],
  dictionary: ['"code":"internal"', '"code":"toString"', '"held":true', '"tokens":{}'].map(utf8),
  maxBytes: 8 * 1024,
  codes: ALL_CODES,
  executions: 1_000,
  // Each question has a nonce of its own.
  deterministic: false,
  async run(input) {
    const first = input[0] ?? 0;
    const status = STATUSES[(first >> 2) % STATUSES.length] ?? 200;
    const connection = connectionTo(input.subarray(1), status);
    if (first % 4 === 0) {
      const { documentBytes, bootRecord } = await requestAttestation(connection);
      must(documentBytes.length < input.length && bootRecord.signature.length === 64, 'more than was answered');
      return documentBytes;
    }
    if (first % 4 === 1) return await panic(connection, { panicCode: formatPanicCode(sample.freezeId) });
    const fields = await exchange(connection, { method: 'GET', path: 'v1/sign' });
    if (first % 4 === 3) return fields.keys();
    // Ed25519 says yes to everything, so that what is behind it is reached; the boot is the attested one.
    const context = { verifyEd25519: () => true, boots: { of: async () => sample.boot } } as unknown as SigningContext;
    const made = await readSigned(context, fields, transaction, expected, undefined);
    must(made.leaf.kind === 'signed' && made.leaf.wallet === sample.wallet, 'a receipt of something else is believed');
    return made;
  },
};

const COMMANDS = [
  'freeze',
  'resume',
  'metrics',
  'status',
  'wallets',
  'release',
  'take',
  'lease-show',
  'publish',
  'row-key-create',
  'row-key-rotate',
  'row-key-status',
] as const satisfies readonly AdminCommand[];

export const adminReplies: Target = {
  name: 'admin-replies',
  covers: ['host/src/cli/admin-replies.ts#readAdminReply'],
  seeds: () => {
    const held = { held: true, at: 'now', elapsedMilliseconds: 3 };
    const rowKeyReport = {
      ...{ state: 'edited', key: 'k', since: null, replaces: 'r', examined: 2, resealed: 1 },
      ...{ edited: [sample.wallet], editedCount: 1, fault: 'kms_unavailable' },
    };
    const results: Readonly<Record<(typeof COMMANDS)[number], unknown>> = {
      freeze: {
        scope: 'fleet',
        host: held,
        database: { held: false, code: 'x' },
        enclaves: [{ ...held, enclave: 'e', ack: {}, receipt: {} }],
      },
      resume: {
        scope: 'fleet',
        ack: {},
        receipt: {},
        host: { cleared: true, at: 'x' },
        database: { cleared: false, code: 'x' },
      },
      metrics: { text: 'x 1\n' },
      status: {
        deployment: 'd',
        draining: false,
        rowKey: true,
        rowKeyState: 'current',
        rowKeyFault: null,
        store: true,
        credentials: { state: 'valid', expiresAt: null, fault: null },
        backlog: 0,
        walletsWithoutSecond: 3,
        freezeCount: 1,
        freezes: [{ scope: 'fleet', reason: 'r', at: 'a', boot: null, freezeId: null }],
        enclave: null,
      },
      wallets: { wallets: [sample.wallet] },
      release: { release: { bytes: '', signature: '' }, state: { blob: '', version: '1' } },
      take: { version: '1', already: false },
      'lease-show': { given: 2 },
      publish: { published: true },
      'row-key-create': { created: true },
      'row-key-rotate': { begun: true, ...rowKeyReport },
      'row-key-status': rowKeyReport,
    };
    const ok = COMMANDS.map(
      (command, index) =>
        [command, concatBytes(Uint8Array.of(index), json({ ok: true, result: results[command] }))] as const,
    );
    return {
      ...Object.fromEntries(ok),
      refused: concatBytes(
        Uint8Array.of(0),
        json({ ok: false, error: { code: 'frozen', title: 't', retryable: false, path: 'p', value: 'v' } }),
      ),
    };
  },
  mutators: [behindOneByte(jsonMutator())],
  maxBytes: 4_096,
  codes: ALL_CODES,
  executions: 2_500,
  run(input) {
    return readAdminReply(COMMANDS[(input[0] ?? 0) % COMMANDS.length] ?? 'status', input.subarray(1));
  },
};

const nsmAnswer = (name: string, key: string, value: CborValue): Uint8Array =>
  encodeCbor(new Map([[name, new Map([[key, value]])]]));

export const securityModule: Target = {
  name: 'security-module',
  covers: ['enclave/src/nsm.ts#Nsm'],
  seeds: () => ({
    random: nsmAnswer('GetRandom', 'random', sample.filled(32, 1)),
    document: nsmAnswer('Attestation', 'document', sample.filled(300, 2)),
    error: encodeCbor(new Map([['Error', 'InvalidOperation']])),
    indefinite: Uint8Array.of(0xbf, ...encodeCbor('GetRandom'), 0xbf, ...encodeCbor('random'), 0x41, 1, 0xff, 0xff),
  }),
  mutators: [cborMutator()],
  maxBytes: 0x3000 + 64,
  codes: ['nsm_failed'],
  executions: 1_500,
  async run(input) {
    const nsm = new Nsm({ request: async () => input }, () => 0);
    const random = await nsm.random().catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'nsm_failed') return undefined;
      throw error;
    });
    must(random === undefined || (random.length >= 1 && random.length <= 256), 'length of what is random');
    if (random !== undefined) return random;
    const { document } = await nsm.attest({}, 'own');
    must(document.length >= 1 && document.length <= LIMITS.attestationDocumentBytes, 'length of a document');
    return document;
  },
};
