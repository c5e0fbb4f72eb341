/**
 * A stand-in for AWS KMS: HTTPS, AWS JSON 1.1, signature version 4, key policies and attested calls. It uses the
 * product's own verifier for attestation documents, under a root it is told of, and writes AWS's envelope.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import * as administration from './administration.ts';
import { type Answer, Call, type OnSealed } from './call.ts';
import * as cryptography from './cryptography.ts';
import { KmsError } from './errors.ts';
import { CallLog, type Fault, Faults } from './faults.ts';
import * as grants from './grants.ts';
import * as keyPairs from './key-pairs.ts';
import { KeyStore } from './keys.ts';
import { Parameters } from './parameters.ts';
import { authenticate, type Principal } from './sigv4.ts';
import { serverIdentity } from './tls.ts';

/** An attestation document of 262,144 bytes in base64, and the rest of a request. */
const BODY_BYTES = 512 * 1024;
const JSON_TYPE = 'application/x-amz-json-1.1';
const TARGET = /^TrentService\.([A-Za-z]+)$/;

const OPERATIONS: Readonly<Record<string, (call: Call) => Promise<Answer>>> = {
  CreateKey: administration.createKey,
  ReplicateKey: administration.replicateKey,
  DescribeKey: administration.describeKey,
  ListKeys: administration.listKeys,
  GetKeyPolicy: administration.getKeyPolicy,
  PutKeyPolicy: administration.putKeyPolicy,
  EnableKey: administration.enableKey,
  DisableKey: administration.disableKey,
  ScheduleKeyDeletion: administration.scheduleKeyDeletion,
  CancelKeyDeletion: administration.cancelKeyDeletion,
  Encrypt: cryptography.encrypt,
  Decrypt: cryptography.decrypt,
  ReEncrypt: cryptography.reEncrypt,
  GenerateDataKey: cryptography.generateDataKey,
  GenerateDataKeyWithoutPlaintext: cryptography.generateDataKeyWithoutPlaintext,
  GenerateRandom: cryptography.generateRandom,
  GenerateDataKeyPair: keyPairs.generateDataKeyPair,
  GenerateDataKeyPairWithoutPlaintext: keyPairs.generateDataKeyPairWithoutPlaintext,
  DeriveSharedSecret: keyPairs.deriveSharedSecret,
  CreateGrant: grants.createGrant,
  ListGrants: grants.listGrants,
  RevokeGrant: grants.revokeGrant,
};

export interface LocalKmsOptions {
  /** Keys, and the TLS CA and server certificate, are kept here. Several Regions share it. */
  readonly dir: string;
  /** The one root whose attestation documents count. */
  readonly nsmRootDer: Uint8Array;
  /**
   * Takes documents that nobody signed, as QEMU's security module writes them, in place of signed ones. Default false.
   * Hazard: whoever holds the role's credentials can write one himself and name any image in it.
   */
  readonly unsafeAcceptUnsignedDocuments?: boolean;
  readonly principals: readonly Principal[];
  readonly region?: string;
  /** 127.0.0.1, and any free port, by default. */
  readonly host?: string;
  readonly port?: number;
  /** Further DNS names of the server certificate, beside localhost and 127.0.0.1. */
  readonly serverNames?: readonly string[];
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** By which documents of the security module are judged. Default: the same. */
  readonly moduleNow?: () => number;
  /** Tells a test every secret that leaves for a recipient. */
  readonly onSealed?: OnSealed;
}

interface Reply {
  readonly status: number;
  readonly body: string;
  readonly errorType?: string;
}

const DEFAULT_REGION = 'us-east-1';

/** KMS in several Regions, the first one's name in `options`. What is under way in one of them does not touch others. */
export async function startLocalRegions(
  options: LocalKmsOptions,
  further: readonly string[],
): Promise<ReadonlyMap<string, LocalKms>> {
  const regions = new Map<string, LocalKms>();
  for (const region of [options.region ?? DEFAULT_REGION, ...further]) {
    // A port that was asked for is the first one's.
    const port = regions.size === 0 ? (options.port ?? 0) : 0;
    regions.set(region, await startLocalKms({ ...options, region, port }, regions));
  }
  return regions;
}

/** @param regions of which this is one; by itself by default */
export async function startLocalKms(
  options: LocalKmsOptions,
  regions: ReadonlyMap<string, LocalKms> = new Map(),
): Promise<LocalKms> {
  const region = options.region ?? DEFAULT_REGION;
  const identity = await serverIdentity(join(options.dir, 'tls'), options.serverNames ?? []);
  const keys = await KeyStore.open(join(options.dir, regions.size === 0 ? 'keys' : `keys-${region}`), region);
  const server = createServer({ key: identity.keyPem, cert: identity.certificatePem, maxHeaderSize: 16 * 1024 });
  const kms = new LocalKms({
    options,
    region,
    regions,
    keys,
    server,
    caPem: identity.caPem,
    caPath: identity.caPath,
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve);
  });
  return kms;
}

interface Parts {
  readonly options: LocalKmsOptions;
  readonly region: string;
  readonly regions: ReadonlyMap<string, LocalKms>;
  readonly keys: KeyStore;
  readonly server: Server;
  readonly caPem: string;
  readonly caPath: string;
}

export class LocalKms {
  readonly region: string;
  readonly keys: KeyStore;
  readonly caPem: string;
  readonly caPath: string;
  readonly faults = new Faults();
  readonly calls = new CallLog();
  /** Replace the list to rotate credentials. */
  principals: readonly Principal[];
  /** Added to the clock, for tests of ages and skews. */
  clockOffsetMilliseconds = 0;
  readonly #parts: Parts;
  #port = 0;

  constructor(parts: Parts) {
    this.region = parts.region;
    this.keys = parts.keys;
    this.caPem = parts.caPem;
    this.caPath = parts.caPath;
    this.principals = parts.options.principals;
    this.#parts = parts;
    parts.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
    // A client that breaks off its handshake is no fault of the server.
    parts.server.on('tlsClientError', () => undefined);
  }

  get port(): number {
    return (this.#parts.server.address() as AddressInfo).port;
  }

  get endpoint(): string {
    return `https://localhost:${this.port}`;
  }

  /** False hangs up on everybody and refuses connections, until true; the port stays the same. */
  async setReachable(isReachable: boolean): Promise<void> {
    if (isReachable === this.#parts.server.listening) return;
    if (!isReachable) return await this.close();
    const { server, options } = this.#parts;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, options.host ?? '127.0.0.1', resolve);
    });
  }

  async close(): Promise<void> {
    const { server } = this.#parts;
    if (!server.listening) return;
    this.#port = this.port;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  now(): number {
    return (this.#parts.options.now ?? Date.now)() + this.clockOffsetMilliseconds;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const operation = TARGET.exec(String(request.headers['x-amz-target'] ?? ''))?.[1] ?? '(unknown)';
    const body = await readBody(request);
    const faults = this.faults.take(operation, keyIdOf(body));
    for (const fault of faults) {
      if (fault.kind === 'hang') return this.#record(operation, 'hang');
      if (fault.kind === 'latency') await new Promise((resolve) => setTimeout(resolve, fault.milliseconds));
      if (fault.kind === 'drop' && fault.when === 'before') {
        this.#record(operation, 'drop');
        return void request.socket.destroy();
      }
    }
    const reply = await this.#answer(operation, request, body, faults);
    if (faults.some((fault) => fault.kind === 'drop')) return void request.socket.destroy();
    const isGarbage = faults.some((fault) => fault.kind === 'garbage');
    response.writeHead(reply.status, {
      'content-type': JSON_TYPE,
      'x-amzn-requestid': randomUUID(),
      'cache-control': 'no-cache, no-store, must-revalidate, private',
      // Clients correct their clocks by this header.
      date: new Date(this.now()).toUTCString(),
      ...(reply.errorType === undefined ? {} : { 'x-amzn-errortype': reply.errorType }),
      ...(body === undefined ? { connection: 'close' } : {}),
    });
    response.end(isGarbage ? '<html>' : reply.body);
  }

  async #answer(
    operation: string,
    request: IncomingMessage,
    body: Uint8Array | undefined,
    faults: readonly Fault[],
  ): Promise<Reply> {
    let principal: Principal | undefined;
    let call: Call | undefined;
    let reply: Reply;
    let outcome = 'ok';
    try {
      if (body === undefined) throw new KmsError('RequestEntityTooLargeException');
      const { region, regions, keys, options } = this.#parts;
      const now = this.now();
      const { method = '', url: path = '', headers } = request;
      principal = authenticate({ method, path, headers, body }, { region, now, principals: this.principals });
      const perform = Object.hasOwn(OPERATIONS, operation) ? OPERATIONS[operation] : undefined;
      if (perform === undefined || method !== 'POST') throw new KmsError('UnknownOperationException');
      refuse(faults);
      const parameters = Parameters.parse(body);
      const { nsmRootDer, unsafeAcceptUnsignedDocuments, onSealed } = options;
      const moduleNow = options.moduleNow === undefined ? now : options.moduleNow() + this.clockOffsetMilliseconds;
      const trust = { nsmRootDer, unsafeAcceptUnsignedDocuments, moduleNow };
      const others = [...regions].filter(([name]) => name !== region).map(([name, kms]) => [name, kms.keys] as const);
      const otherRegions = new Map(others);
      call = new Call({ operation, principal, parameters, keys, otherRegions, ...trust, now, faults, onSealed });
      reply = { status: 200, body: JSON.stringify(await perform(call)) };
    } catch (error) {
      const refusal = error instanceof KmsError ? error : new KmsError('KMSInternalException', String(error));
      outcome = refusal.type;
      reply = refusalReply(refusal);
    }
    this.#record(operation, outcome, principal, call);
    return reply;
  }

  #record(operation: string, outcome: string, principal?: Principal, call?: Call): void {
    this.calls.add({
      operation,
      principalArn: principal?.arn ?? null,
      keyArn: call?.trace.keyArn ?? null,
      encryptionContext: Object.fromEntries(call?.trace.encryptionContext ?? []),
      moduleId: call?.trace.moduleId ?? null,
      outcome,
    });
  }
}

/** What a fault goes by; whether it is right, the call finds out. */
function keyIdOf(body: Uint8Array | undefined): string | undefined {
  try {
    return (JSON.parse(Buffer.from(body ?? new Uint8Array()).toString()) as { KeyId?: string }).KeyId;
  } catch {
    return undefined;
  }
}

function refuse(faults: readonly Fault[]): void {
  const fault = faults.find((candidate) => candidate.kind === 'refuse');
  if (fault !== undefined) throw new KmsError(fault.error, fault.message ?? 'injected');
}

function refusalReply(error: KmsError): Reply {
  const message = error.message === '' ? {} : { message: error.message };
  return { status: error.status, body: JSON.stringify({ __type: error.type, ...message }), errorType: error.type };
}

/** Undefined when the body is longer than the bound. What comes beyond it is read, so that an answer can be sent. */
async function readBody(request: IncomingMessage): Promise<Uint8Array | undefined> {
  let chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length <= BODY_BYTES) chunks.push(chunk);
    else chunks = [];
  }
  return length > BODY_BYTES ? undefined : new Uint8Array(Buffer.concat(chunks));
}
