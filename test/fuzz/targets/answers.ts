/** Answers of others: of the host to its clients, of instance metadata, of the admin socket, of the security module. */

import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { Nsm } from '@quantumvault/enclave/nsm.ts';
import type { AdminCommand } from '@quantumvault/host/admin-protocol.ts';
import { readAdminReply } from '@quantumvault/host/cli/admin-replies.ts';
import { requestAttestation } from '@quantumvault/host/client/attestation.ts';
import { type Connection, exchange } from '@quantumvault/host/client/http.ts';
import { panic } from '@quantumvault/host/client/panic.ts';
import { readSigned, type SigningContext } from '@quantumvault/host/client/signing.ts';
import { InstanceRoleCredentials } from '@quantumvault/host/instance-role/credentials.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { formatPanicCode } from '@quantumvault/host/remote-freeze/panic-code.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { concatBytes, fromBase64, toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { type CborValue, encodeCbor } from '@quantumvault/shared/cbor.ts';
import { ERRORS, type ErrorCode, isErrorCode } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeTransaction, messageHash } from '@quantumvault/shared/solana/transaction.ts';
import { corpus } from '../../shared/policy/cases.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import { must, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
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
] as const satisfies readonly AdminCommand[];

export const adminReplies: Target = {
  name: 'admin-replies',
  covers: ['host/src/cli/admin-replies.ts#readAdminReply'],
  seeds: () => {
    const held = { held: true, at: 'now', elapsedMilliseconds: 3 };
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
        store: true,
        credentials: { state: 'valid', expiresAt: null, fault: null },
        backlog: 0,
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

const PARTS = '\u0000---\u0000';
const FAULTS = ['metadata_unavailable', 'metadata_refused', 'metadata_invalid', 'instance_role_missing'];

/** Answers to the token, the role and the credentials, one behind the other; whole, or only their bodies. */
class MetadataServer {
  #server: Server | undefined;
  #answers: readonly string[] = [];
  port = 0;

  readonly open = async (): Promise<void> => {
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.once('data', (head) => {
        const [, path = ''] = head.toString('latin1').split(' ');
        const index = path.includes('/api/token') ? 0 : path.endsWith('/security-credentials/') ? 1 : 2;
        socket.end(Buffer.from(this.#answers[index] ?? '', 'latin1'));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  };

  readonly close = async (): Promise<void> => {
    await new Promise((resolve) => this.#server?.close(resolve));
  };

  set(input: Uint8Array): void {
    const isRaw = ((input[0] ?? 0) & 1) === 1;
    const parts = Buffer.from(input.subarray(1)).toString('latin1').split(PARTS);
    this.#answers = parts.map((part) =>
      isRaw ? part : `HTTP/1.1 200 OK\r\ncontent-length: ${part.length}\r\nconnection: close\r\n\r\n${part}`,
    );
  }
}

const metadata = new MetadataServer();

export const instanceMetadata: Target = {
  name: 'instance-metadata',
  covers: [
    'host/src/instance-role/credentials.ts#InstanceRoleCredentials',
    'host/src/instance-role/metadata.ts#withMetadata',
  ],
  seeds: () => {
    const credentials = JSON.stringify({
      Code: 'Success',
      AccessKeyId: 'ASIA',
      SecretAccessKey: 's/+',
      Token: 't==',
      Expiration: '2026-11-22T18:00:00Z',
    });
    const whole = (body: string): string => `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    return {
      bodies: concatBytes(Uint8Array.of(0), utf8(['token', 'role', credentials].join(PARTS))),
      whole: concatBytes(Uint8Array.of(1), utf8(['token', 'role', credentials].map(whole).join(PARTS))),
      chunked: concatBytes(
        Uint8Array.of(1),
        utf8(
          [
            whole('t'),
            'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nrole\r\n0\r\n\r\n',
            whole(credentials),
          ].join(PARTS),
        ),
      ),
      missing: concatBytes(
        Uint8Array.of(1),
        utf8([whole('t'), 'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n'].join(PARTS)),
      ),
    };
  },
  mutators: [textMutator],
  dictionary: [
    'HTTP/1.1 401 \r\n',
    'HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\n',
    'content-length: 99999999\r\n',
    '\r\n\r\n',
    PARTS,
  ].map(utf8),
  maxBytes: 4_096,
  codes: [],
  executions: 60,
  open: metadata.open,
  close: metadata.close,
  async run(input) {
    metadata.set(input);
    const endpoint = { host: '127.0.0.1', port: metadata.port };
    const source = new InstanceRoleCredentials(silentLog, { endpoint, now: () => sample.time, pause: () => 3_600_000 });
    await source.refresh();
    const { fault, current } = source;
    const parts = current && [current.body.accessKeyId, current.body.secretAccessKey, current.body.sessionToken];
    const copies = parts?.map((part) => new TextDecoder().decode(part));
    source.close();
    must(fault === undefined || (isErrorCode(fault) && FAULTS.includes(fault)), `another fault: ${fault}`);
    must((fault === undefined) === (current !== undefined), 'credentials and a fault');
    must(copies?.every((part) => /^[\x21-\x7e]+$/.test(part)) ?? true, 'a part that no header holds');
    must(
      parts?.every((part) => part === undefined || part.every((byte) => byte === 0)) ?? true,
      'not wiped when it was closed',
    );
    return [fault, copies];
  },
};
