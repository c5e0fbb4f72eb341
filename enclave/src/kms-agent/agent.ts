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
import type { EnclaveConfig } from '../config.ts';
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

/** HTTPS whose bytes travel over the host's tunnel. */
class TunnelAgent extends Agent {
  readonly #open: () => Duplex;
  readonly #config: EnclaveConfig['kms'];

  constructor(open: () => Duplex, config: EnclaveConfig['kms'], options: AgentOptions) {
    super(options);
    this.#open = open;
    this.#config = config;
  }

  override createConnection(): Duplex {
    return connectTls({
      socket: this.#open(),
      servername: this.#config.endpoint.hostname,
      ca: [...this.#config.rootCertificates],
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
    });
  }
}

export class KmsAgent {
  readonly #config: EnclaveConfig['kms'];
  readonly #requestHandler: NodeHttpHandler;
  #client: KMSClient | undefined;

  constructor(config: EnclaveConfig['kms'], openTunnel: () => Duplex) {
    this.#config = config;
    this.#requestHandler = new NodeHttpHandler({
      httpsAgent: new TunnelAgent(openTunnel, config, { keepAlive: true, maxSockets: 16, timeout: 60_000 }),
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
  setCredentials(bytes: CredentialBytes): void {
    // secret-rule: the SDK takes credentials as strings, which V8 keeps until it likes
    const decode = (value: Uint8Array): string => new TextDecoder('utf-8', { fatal: true }).decode(value);
    const credentials = {
      accessKeyId: decode(bytes.accessKeyId),
      secretAccessKey: decode(bytes.secretAccessKey),
      ...(bytes.sessionToken && { sessionToken: decode(bytes.sessionToken) }),
    };
    this.#client = new KMSClient({
      region: this.#config.region,
      endpoint: this.#config.endpoint.origin,
      maxAttempts: 3,
      // Without their expiry, which is KMS's to judge: the SDK would wait for others that only the host can bring.
      // secret-rule: this is how the SDK asks for them
      credentials: async () => credentials,
      requestHandler: this.#requestHandler,
    });
  }

  #requireClient(): KMSClient {
    if (this.#client === undefined) throw new QvError('kms_unavailable', { value: 'no credentials' });
    return this.#client;
  }

  async generateDataKey(request: AgentRequest<'generateDataKey'>): Promise<KmsAnswer> {
    return toAnswer(
      await this.#requireClient().send(
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
      await this.#requireClient().send(
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
