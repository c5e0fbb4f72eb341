/**
 * The kms-agent: the AWS SDK in a process of its own (design 3). It holds the instance role's credentials and sees
 * ciphertext and attestation documents; it has neither the recipient key nor any key of a wallet.
 *
 * TLS ends here, inside the enclave, against the measured roots; the host only carries bytes. Credentials are strings
 * because the SDK wants them so: they open nothing without an attestation of this image.
 */
import { Agent, type AgentOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import {
  DecryptCommand,
  GenerateDataKeyCommand,
  IncorrectKeyException,
  InvalidCiphertextException,
  KMSClient,
  KMSServiceException,
} from '@aws-sdk/client-kms';
import { QvError } from '@quantumvault/shared/errors.ts';
import { readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { CredentialBytes } from '@quantumvault/shared/protocol/message-parts.ts';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { KmsConfig, KmsKey } from '../kms-config.ts';
import {
  type AgentFailure,
  type AgentMessageName,
  type AgentReply,
  type AgentRequest,
  decodeAgentRequest,
  encodeAgentFailure,
  encodeAgentReply,
  type KmsAnswer,
} from './protocol.ts';

/** Opens a connection to the host's end of the tunnel of that number. */
export type OpenTunnel = (tunnel: number) => Duplex;

interface Place {
  readonly region: string;
  readonly endpoint: URL;
}

/** HTTPS to one endpoint, whose bytes travel over the host's tunnel to it. */
class TunnelAgent extends Agent {
  readonly #open: () => Duplex;
  readonly #servername: string;
  readonly #rootCertificates: readonly string[];

  constructor(open: () => Duplex, { hostname }: URL, rootCertificates: readonly string[], options: AgentOptions) {
    super(options);
    this.#open = open;
    this.#servername = hostname;
    this.#rootCertificates = rootCertificates;
  }

  override createConnection(): Duplex {
    return connectTls({
      socket: this.#open(),
      servername: this.#servername,
      ca: [...this.#rootCertificates],
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
    });
  }
}

/** One endpoint of KMS: what carries calls to it, and the client with the newest credentials. */
class EndpointClient {
  readonly #place: Place;
  readonly #requestHandler: NodeHttpHandler;
  #client: KMSClient | undefined;

  constructor(place: Place, httpsAgent: Agent) {
    this.#place = place;
    this.#requestHandler = new NodeHttpHandler({
      httpsAgent,
      connectionTimeout: LIMITS.kmsTimeoutMilliseconds,
      requestTimeout: LIMITS.kmsTimeoutMilliseconds,
      // Without this the timeout only warns, and a hanging KMS hangs its callers.
      throwOnRequestTimeout: true,
    });
  }

  /**
   * A client of their own for each credentials, over the same connections: a client keeps what its provider once
   * answered, until five minutes before the expiry or for ever, and would not notice that they were replaced.
   */
  setCredentials(credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }): void {
    this.#client = new KMSClient({
      region: this.#place.region,
      endpoint: this.#place.endpoint.origin,
      maxAttempts: 3,
      // Without their expiry, which is KMS's to judge: the SDK would wait for others that only the host can bring.
      // secret-rule: this is how the SDK asks for them
      credentials: async () => credentials,
      requestHandler: this.#requestHandler,
    });
  }

  get client(): KMSClient {
    if (this.#client === undefined) throw new QvError('kms_unavailable', { value: 'no credentials' });
    return this.#client;
  }
}

export class KmsAgent {
  /** By key ARN: keys of one endpoint share its connections. */
  readonly #byKey = new Map<string, EndpointClient>();

  constructor({ keys, rootCertificates }: Pick<KmsConfig, 'keys' | 'rootCertificates'>, openTunnel: OpenTunnel) {
    const endpoints = new Map<number, EndpointClient>();
    const count = new Set(keys.map(({ tunnel }) => tunnel)).size;
    const maxSockets = Math.min(LIMITS.kmsConnections, Math.floor(LIMITS.kmsConnectionsOfAll / count));
    const connecting = (key: KmsKey): EndpointClient => {
      const open = (): Duplex => openTunnel(key.tunnel);
      const options = { keepAlive: true, maxSockets, timeout: 60_000 };
      return new EndpointClient(key, new TunnelAgent(open, key.endpoint, rootCertificates, options));
    };
    for (const key of keys) {
      const endpoint = endpoints.get(key.tunnel) ?? connecting(key);
      endpoints.set(key.tunnel, endpoint);
      this.#byKey.set(key.keyArn, endpoint);
    }
  }

  setCredentials(bytes: CredentialBytes): void {
    // secret-rule: the SDK takes credentials as strings, which V8 keeps until it likes
    const decode = (value: Uint8Array): string => new TextDecoder('utf-8', { fatal: true }).decode(value);
    const credentials = {
      accessKeyId: decode(bytes.accessKeyId),
      secretAccessKey: decode(bytes.secretAccessKey),
      ...(bytes.sessionToken && { sessionToken: decode(bytes.sessionToken) }),
    };
    for (const endpoint of new Set(this.#byKey.values())) endpoint.setCredentials(credentials);
  }

  /** Of the endpoint that is measured for the key. */
  #clientOf(keyArn: string): KMSClient {
    const endpoint = this.#byKey.get(keyArn);
    if (endpoint === undefined) throw new QvError('kms_refused', { value: 'not a measured key' });
    return endpoint.client;
  }

  async generateDataKey(request: AgentRequest<'generateDataKey'>): Promise<KmsAnswer> {
    return toAnswer(
      await this.#clientOf(request.keyArn).send(
        new GenerateDataKeyCommand({
          KeyId: request.keyArn,
          NumberOfBytes: LIMITS.executionKeyBytes,
          EncryptionContext: contextOf(request.context),
          Recipient: { KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256', AttestationDocument: request.document },
        }),
      ),
    );
  }

  async decrypt(request: AgentRequest<'decrypt'>): Promise<KmsAnswer> {
    return toAnswer(
      await this.#clientOf(request.keyArn).send(
        new DecryptCommand({
          KeyId: request.keyArn,
          CiphertextBlob: request.ciphertext,
          EncryptionContext: contextOf(request.context),
          Recipient: { KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256', AttestationDocument: request.document },
        }),
      ),
    );
  }
}

function contextOf(pairs: AgentRequest<'decrypt'>['context']): Record<string, string> {
  return Object.fromEntries(pairs.map(({ name, value }) => [name, value]));
}

interface KmsResult {
  readonly KeyId?: string | undefined;
  readonly Plaintext?: Uint8Array | undefined;
  readonly CiphertextForRecipient?: Uint8Array | undefined;
  readonly CiphertextBlob?: Uint8Array | undefined;
}

function toAnswer(result: KmsResult): KmsAnswer {
  // An empty Plaintext arrives as a zero-length array; anything else is a failure that the vault process names.
  const plaintext = (result.Plaintext?.length ?? 0) > 0;
  result.Plaintext?.fill(0);
  return {
    keyArn: result.KeyId ?? '-',
    ...(result.CiphertextForRecipient && { envelope: result.CiphertextForRecipient }),
    ...(result.CiphertextBlob instanceof Uint8Array && { ciphertext: result.CiphertextBlob }),
    plaintext,
  };
}

/** What the vault process needs to know of a failure. AWS's message stays in this process's log. */
export function classify(error: unknown): AgentFailure {
  if (error instanceof InvalidCiphertextException || error instanceof IncorrectKeyException) return 'key_blob_invalid';
  if (error instanceof QvError && error.code === 'kms_refused') return 'kms_refused';
  if (!(error instanceof KMSServiceException)) return 'kms_unavailable';
  const transient = error.$fault === 'server' || error.$retryable !== undefined || /Throttl|Timeout/.test(error.name);
  return transient ? 'kms_unavailable' : 'kms_refused';
}

/** Serves one connection: the vault process's. */
export function serveAgent(agent: KmsAgent, stream: Duplex, log: (line: string) => void): void {
  readFrames(stream, (payload) => {
    const { id, name, body } = decodeAgentRequest(payload);
    handle(agent, name, body).then(
      (reply) => writeFrame(stream, encodeAgentReply(id, name, reply)),
      (error: unknown) => {
        log(`${name}: ${error instanceof Error ? error.name : 'unknown fault'}`);
        writeFrame(stream, encodeAgentFailure(id, classify(error)));
      },
    );
  });
}

async function handle(agent: KmsAgent, name: AgentMessageName, body: unknown): Promise<AgentReply<AgentMessageName>> {
  switch (name) {
    case 'credentials':
      agent.setCredentials(body as CredentialBytes);
      return {};
    case 'generateDataKey':
      return agent.generateDataKey(body as AgentRequest<'generateDataKey'>);
    case 'decrypt':
      return agent.decrypt(body as AgentRequest<'decrypt'>);
  }
}
