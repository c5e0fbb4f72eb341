/**
 * Every limit of the appliance, with its unit in the name and the clause it comes from. Code refers to this table
 * and to nothing else, so that an auditor finds each bound once.
 *
 * "design" is the project's design; "AWS" is the NSM API's attestation_process.md; "Solana" is the runtime.
 */
export const LIMITS = {
  // Frames between host and enclave (design 5, 'Bytes on the wire').
  frameBytes: 64 * 1024,
  /** One write to a vsock: larger ones hang or corrupt on some hypervisors (measured with vhost-device-vsock). */
  writeBytes: 32 * 1024,
  inFlightRequests: 256,
  /** Of these, kept for the host's own questions, so that a flood of requests does not look like a dead enclave. */
  inFlightReserved: 16,
  inFlightBytes: 8 * 1024 * 1024,
  /** And of these: requests held back for witnesses may fill the rest, and only a cosigned checkpoint ends their wait. */
  inFlightReservedBytes: 256 * 1024,
  /** Per listener of the enclave; one more takes the place of one that asks nothing. */
  connections: 64,
  /** Replies that wait for a peer to read; more, and nothing more is read from it. */
  outboxFrames: 16,
  /** With so many of them what it has sent already is refused as well, or a few connections would fill the memory. */
  outboxFullFrames: 64,

  // CBOR in our messages (design 5).
  cborDepth: 8,
  cborItems: 20_000,

  // Attestation documents (AWS 3.2.2.2, and reference measurements of real documents).
  attestationDocumentBytes: 32 * 1024,
  attestationPayloadBytes: 16_384,
  attestationPcrIndexes: 32,
  attestationCertificateBytes: 1024,
  attestationCertificates: 8,
  attestationPublicKeyBytes: 1024,
  attestationUserDataBytes: 1024,
  attestationNonceBytes: 1024,
  /** Real ones have 39 characters; printable ASCII only, because it reaches terminals before it is authenticated. */
  attestationModuleIdBytes: 128,
  /** A nonce from a caller of ours: at least 16 bytes so that it cannot repeat by chance, at most 64. */
  callerNonceMinBytes: 16,
  callerNonceMaxBytes: 64,
  /** KMS refuses documents older than this (design 4); the local KMS does the same. */
  attestationMaxAgeSeconds: 300,
  /** How far a document's time may lie ahead of the verifier's clock. */
  attestationMaxFutureSeconds: 30,
  attestationPcrSets: 64,

  // Keys and blobs.
  saltBytes: 32,
  executionKeyBytes: 32,
  /** One sealed under another key: a nonce, 32 bytes and a tag. */
  sealedExecutionKeyBytes: 24 + 32 + 16,
  /** A wrapped key of 32 bytes takes about 200; AWS allows up to 6,144 for larger plaintexts. */
  kmsCiphertextBytes: 1_024,
  kmsEnvelopeBytes: 1024,
  kmsTimeoutMilliseconds: 5_000,
  /** Retries included, below the host's own time limit. */
  kmsTotalMilliseconds: 12_000,
  /** Keys beside the current one: replicas, and as many that are being replaced. */
  kmsFurtherKeys: 4,
  /** Endpoints of KMS, each with a tunnel and a vsock port of its own. */
  kmsTunnels: 8,
  /** Connections to one endpoint, and to all of them: the kms-agent has `kmsAgentDescriptors`. */
  kmsConnections: 16,
  kmsConnectionsOfAll: 64,
  /** How long a key that did not answer is asked last. */
  kmsAvoidMilliseconds: 10_000,
  /** Of so many blobs, and for so long, it is remembered that another key than the first opened them. */
  kmsOpenedBlobs: 10_000,
  kmsOpenedMilliseconds: 60_000,
  /** Of the kms-agent, set by the kernel (setrlimit(2)): it starts with 90 MB that it can write to, and 6 threads. */
  kmsAgentDataBytes: 384 * 1024 * 1024,
  kmsAgentDescriptors: 128,
  kmsAgentThreads: 32,
  /** The recipient key is replaced with each document, at the latest after this (design 4). */
  recipientKeyMaxAgeSeconds: 240,
  recipientKeyReplaceSeconds: 120,
  /** The longest an execution key may stay unwrapped where that is configured, and how many may (design 4). */
  unwrappedKeySeconds: 300,
  unwrappedKeys: 4_096,
  /** Requests waiting for the security module, per urgency. */
  nsmQueue: 64,
  publicAttestationsPerSecond: 10,
  pendingWalletCreations: 16,
  /** SHA-256 of the import statement and a seed, and what libsodium's sealed box adds: a public key and a tag. */
  importPlaintextBytes: 32 + 32,
  sealedImportBytes: 32 + 32 + 32 + 16,
  /** Creation statements remembered until they expire. */
  creationNonces: 10_000,

  // Migration of wallets of v2.
  /** Of one statement: a proof for each then has at most so many hashes. */
  migrationRows: 100_000,
  migrationProofHashes: 17,
  /** Of one row, encoded: 16 requesters, two ids and two ciphertexts. */
  migrationRowBytes: 2 * 1024,
  migrationIdCharacters: 64,
  /** An IV, a tag, and a key as text; the shortest one is a seed. */
  migrationCiphertextMinBytes: 12 + 32 + 16,
  migrationCiphertextBytes: 12 + 128 + 16,
  migrationSaltBytes: 256,
  migrationInfoBytes: 128,
  /** Of the v2 server's secret. */
  migrationSecretMinBytes: 16,
  migrationSecretBytes: 256,
  /** A sealed box of the statement's hash and the secret. */
  sealedMigrationMinBytes: 48 + 32 + 16,
  sealedMigrationBytes: 48 + 32 + 256,
  /** RFC 7914's N * r * 128, and what else bounds the time of one derivation: some 0.3 s. */
  migrationScryptBytes: 64 * 1024 * 1024,
  migrationScryptR: 32,
  migrationScryptP: 4,

  // Enclave image files (the image format's README; "QEMU" is hw/core/eif.c).
  /** MAX_NUM_SECTIONS; kernel and cmdline are the least a header may claim. */
  eifSectionsMin: 2,
  eifSectionsMax: 32,
  eifSignatureBytes: 32_768,
  /** No clause: `docker image inspect` output is some kilobytes. It is the largest part held in memory. */
  eifMetadataBytes: 1024 * 1024,
  /** Shown of the kernel command line; x86 kernels take 2,048 bytes. */
  eifCommandLineShownBytes: 4_096,
  /** Read and hashed at a time. */
  eifChunkBytes: 1024 * 1024,

  // Trusted time (design 8).
  trustedTimeMaxAgeSeconds: 60,
  /** How far the enclave's system clock may be from trusted time before it is set anew (design 8). */
  clockToleranceMilliseconds: 1_000,
  trustedTimeSampleSeconds: 20,

  // Signing requests (design 6).
  /** A version 1 transaction of 4,096 bytes in base64, and its envelope. */
  requestBodyBytes: 8 * 1024,
  /** Transactions of one batch, and the bytes of all of them together. */
  batchTransactions: 32,
  batchTransactionBytes: 24 * 1024,
  /** These in base64, and their envelope. */
  batchBodyBytes: 34 * 1024,
  /** Verdicts and receipts of one batch: with the sealed state (`sealedStateBytes`) they have to fit one frame. */
  batchReceiptBytes: 40 * 1024 - 128,
  /** The JSON text of a reply that is stored: such receipts in base64, and what stands around them. */
  storedReplyBytes: 160 * 1024,
  requestIdCharacters: 64,
  requestMaxAgeSeconds: 300,
  requestMaxFutureSeconds: 30,
  /** Ids remembered per wallet for the freshness window. Full means 429, never eviction (design 6). */
  requestIdsPerWallet: 100_000,
  requestIdsPerEnclave: 1_000_000,
  walletsPerEnclave: 200_000,

  // The log (design 10).
  /** C2SP signed-note: at least 16 signatures, which may be post-quantum ones of nearly 5 kB. */
  noteBytes: 128 * 1024,
  noteSignatures: 32,
  /** A checkpoint between host and enclave: the text, and a line of some 150 bytes per witness. */
  checkpointBytes: 8 * 1024,
  /** A checkpoint inside a leaf: three lines of text and a dozen signatures. */
  predecessorNoteBytes: 4 * 1024,
  /** Witnesses named in the measured configuration. */
  witnesses: 16,
  /** How long the enclave keeps a question for the next checkpoint open, and a signature held back for witnesses. */
  checkpointWaitMilliseconds: 1_000,
  witnessWaitMilliseconds: 10_000,
  /** An entry bundle: 256 entries behind their lengths. */
  entryBundleBytes: 256 * (2 + 0xffff),
  /** Boots listed in one answer. */
  logBoots: 10_000,
  /** Without witnesses, and without anybody asking, a grown log is published this often; after a failure, again. */
  logPublishMilliseconds: 1_000,
  logRetryMilliseconds: 250,
  /** That list: a key of 44 characters, a size of 19 digits and their names take 87. */
  logBootsBytes: 10_000 * 128,
  /** Reads of the log under way for auditors; more get 503. */
  logReads: 8,
  /** The longest inclusion or consistency proof of a tree of 2^63 leaves. */
  proofHashes: 64,
  /** One witness may take this long to cosign; the others do not wait for it. */
  witnessTimeoutMilliseconds: 3_000,
  /** The body of a request to a witness: a note and a proof (C2SP tlog-witness). */
  witnessRequestBytes: 160 * 1024,
  /** Proof lines in it: "The client MUST NOT send more than 63." */
  witnessProofHashes: 63,
  /** Logs that one witness follows: one per boot. */
  witnessLogs: 100_000,
  /** Attestation documents that a witness verifies at a time, some milliseconds each; more get 503. */
  witnessAdmissions: 4,
  /** A witness that ends: its work takes milliseconds, and what has not arrived by then is sent again. */
  witnessDrainMilliseconds: 2_000,
  /** Logs of which the host remembers how far a witness has followed; one forgotten costs one more round trip. */
  witnessRemembered: 64,

  // Audits of the log.
  /** Findings that a report lists; all are counted. */
  auditFindings: 1_000,
  /** How long after the request's own time limit its repeat may be recorded: the key service and witnesses take theirs. */
  auditRepeatSlackSeconds: 60,
  /** What an auditor keeps between audits: some 30 bytes per signature of the last 31 days. */
  auditSeenBytes: 512 * 1024 * 1024,

  // Holders and freezes (design 8, 9).
  /** Wallets of one lease or release order: with a sealed state beside it, a lease still fits a frame. */
  leaseWallets: 256,
  leaseMaxAheadSeconds: 24 * 3600,
  operators: 32,
  /** Freezes that one release or lease carries over, and scopes that one enclave keeps frozen; more freeze the fleet. */
  carriedFreezes: 64,
  frozenScopes: 10_000,

  // Wallet creation and policy enabling.
  /** Rules that one dry run reports. */
  ruleOutcomes: 256,
  /** Leaves the enclave keeps for a host that lost them, and how many one reply brings. */
  recentLeaves: 8_192,
  leavesPerReply: 64,
  /** Mints whose amounts one leaf names; the accounts of one transaction hold no more (Solana). */
  leafMints: 64,
  statementBytes: 1_000,
  statementMaxAheadSeconds: 24 * 3600,
  requesters: 16,
  /** The longest delay between a successor's claim of a wallet and his taking it over. */
  successorDelayDays: 365,
  policyBytes: 24 * 1024,

  // JSON from outside (design 6: strict on both sides).
  jsonDepth: 16,

  // Solana (runtime constants).
  transactionBytes: 1232,
  transactionV1Bytes: 4096,
  /** Signatures of a version 1 transaction (SIMD-0385, 'Transaction Constraints'). */
  transactionV1Signatures: 12,
  /** Top-level instructions: SIMD-0160 for legacy and 0, SIMD-0385 for 1. */
  transactionInstructions: 64,
  /** Accounts one transaction may lock, static and loaded (SIMD-0385 names 64 for all versions). */
  transactionAccounts: 64,
  lamportsPerSignature: 5_000,
  heapMinBytes: 32 * 1024,
  heapMaxBytes: 256 * 1024,
  /** A transaction never gets more than this, whatever it asks for. */
  computeUnits: 1_400_000,
  /** Without SetComputeUnitLimit: per instruction of a builtin program (SIMD-0170), and of any other program. */
  computeUnitsPerBuiltin: 3_000,
  computeUnitsPerInstruction: 200_000,
  /** What creating a token account of 165 bytes costs: (128 + 165) × 6960 lamports. */
  tokenAccountRentLamports: 2_039_280,
  /** The least that an account without data may hold, unless it holds nothing: 128 × 6960 lamports. */
  walletRentLamports: 890_880,

  // Policy documents.
  policyWindowSeconds: 31 * 24 * 3600,
  policyNameCharacters: 64,
  /** These bound what one judgement may cost, which anybody who owns a wallet can ask for. */
  policyTokens: 32,
  /** Windows and rates of one policy: of fees, of SOL, of each token, per minute and per day. */
  policyBudgets: 36,
  policyAddresses: 128,
  /** Destinations of all tokens together: each is a derivation of about 0.4 ms when first needed. */
  policyTokenDestinations: 128,
  policyPrograms: 32,
  policyInstructionRules: 64,
  policyDataRules: 32,
  policyAccountRules: 64,
  /** Spends kept one by one; more are merged conservatively (design 8). */
  spendEntries: 512,
  /** Their packed form inside a sealed state. */
  packedSpendBytes: 16 * 1024,
  /** 256 signals of 28 bytes, and their floor. */
  packedSignalBytes: 8 + 256 * 28,
  sealedStateBytes: 24 * 1024,
  /** Signals of one wallet whose uses are remembered; with one forgotten, none that is no newer counts any more. */
  signalUses: 256,
  /** The body of one signal, as its source signed it. */
  signalBodyBytes: 2_048,

  // Reading a key on its owner's machine: a pretty-printed keypair file has some 700 bytes.
  importKeyBytes: 2_048,
  importPassphraseBytes: 256,

  // Host.
  httpBodyBytes: 96 * 1024,
  /** Defaults of the host's rate limits (host/src/rate-limits). */
  addressRequestsPerMinute: 6_000,
  addressAttestationsPerMinute: 120,
  addressStatementsPerMinute: 60,
  requesterRequestsPerMinute: 6_000,
  walletRequestsPerMinute: 6_000,
  /** Callers remembered per rate limit; of more, those not heard of for longest start anew. */
  rateLimitKeys: 20_000,
  /** Signed requests that were counted, of all callers; of more, the oldest count once more when they are repeated. */
  rateLimitRequests: 20_000,
  /** Of one signed request that is not decided, or a dry run: what is asked of the enclave again without being counted. */
  requestRepeats: 8,
  /** When the oldest signing request has waited so long for the enclave, new ones are refused before work is done. */
  queueAgeMilliseconds: 4_000,
  /** Fewer than these are no queue: one slow answer keeps nobody else from asking. */
  queueAgeRequests: 16,
  httpHeaderBytes: 16 * 1024,
  httpHeaders: 100,
  enclaveRequestTimeoutMilliseconds: 15_000,
  /** A wallet is re-wrapped: three calls of KMS, one after the other. An answer that comes later is still written down. */
  walletRewrapMilliseconds: 20_000,
  drainTimeoutMilliseconds: 10_000,
  httpConnections: 1024,
  /** Other hosts of a deployment: as many as EC2 lets enclaves run beside one. */
  peers: 3,
  /** Well below `httpConnections`, so that no one address takes all; above `inFlightRequests`, for a proxy is one. */
  httpConnectionsPerAddress: 384,
  /** No byte moves on a connection: longer than the host waits for its enclave. */
  httpIdleMilliseconds: 30_000,
  /** Time for one whole response to be taken: a slow reader holds a connection no longer. */
  httpResponseMilliseconds: 30_000,
  httpHeadersMilliseconds: 10_000,
  httpKeepAliveMilliseconds: 10_000,
  /** How often Node looks for requests that are over their time. */
  httpCheckMilliseconds: 5_000,
  /** Mean delay of the event loop at which requests are refused, and the interval it is the mean of. */
  loopDelayMilliseconds: 100,
  loopDelayIntervalMilliseconds: 1_000,
  /** What a refused caller is told to wait. */
  overloadRetrySeconds: 1,
  /** Signing requests whose signature is being verified: some 100 ms of work for the thread pool. */
  authentications: 256,
  /** Policies whose requesters' keys are kept: some 100 bytes per key. */
  requesterKeyPolicies: 1_024,
  /** Time for one whole HTTP request to arrive: a slow sender holds a connection no longer. */
  httpRequestMilliseconds: 20_000,
  enclaveStatusMilliseconds: 1_000,
  /** At most so long between two tries to have the row key unwrapped. */
  rowKeyRetryMilliseconds: 10_000,
  /** Records that are looked at, and sealed anew, at a time while the row key is replaced; and the pause after them. */
  rowKeyPage: 16,
  rowKeyPauseMilliseconds: 2,
  /** How long a replacement waits before it looks again at records that somebody edited. */
  rowKeyEditedMilliseconds: 30_000,
  /** So many of these are named. */
  rowKeyEdited: 32,
  /** Of the file that names replaced row keys, 65 bytes each: one in an hour for a dozen years. */
  retiredRowKeysBytes: 8 * 1024 * 1024,
  enclaveReconnectMinMilliseconds: 50,
  enclaveReconnectMaxMilliseconds: 2_000,
  /** One freeze waits this long for each of enclave and database; they are asked at the same time (design 9). */
  freezeTimeoutMilliseconds: 3_000,
  /** `qv kill` on the host, before it turns to the enclave itself: longer than a host that lives needs for its answer. */
  killHostMilliseconds: 4_000,
  /** Orders that `qv kill` left on disk: how often a running host looks for them, and how many it reads one by one. */
  freezeMarkerPollMilliseconds: 1_000,
  freezeMarkers: 1_000,
  freezeMarkerBytes: 4 * 1024,
  /** A file half written by a `qv kill` under way is let be for this long; one that is older was left behind. */
  freezeMarkerWriteMilliseconds: 10_000,
  /** Freezes that one status lists; all are counted. */
  statusFreezes: 256,
  /** A login, a code, a scope and a reason. */
  freezeBodyBytes: 2 * 1024,
  /** How long a freeze over HTTP waits for what the database knows of its wallet or its code; then it goes on without. */
  freezeLookupMilliseconds: 1_000,
  /** Of these lookups so many at a time; freezes beyond go on without. */
  remoteFreezeLookups: 64,
  /** After a failure its source waits, twice as long after each further one. */
  slowedMilliseconds: 1_000,
  slowedMaxMilliseconds: 60_000,
  /** After an attempt that was right: whoever has a panic code of his own must not fill the line of `qv kill`. */
  slowedRightMilliseconds: 100,
  /** Freezes over HTTP under way at a time; of `inFlightRequests`, so that `qv kill` finds room. */
  remoteFreezes: 64,
  /** A wait up to this long is spent inside of the request; longer ones are answered with 429. */
  slowedTurnMilliseconds: 2_500,
  /** A source that has failed is forgotten this long after its wait is over. */
  slowedForgetMilliseconds: 15 * 60_000,
  /** Sources remembered: some 200 bytes each. */
  slowedSources: 10_000,
  supportLogins: 256,
  supportLoginCharacters: 64,
  operatorsFileBytes: 64 * 1024,
  operatorsFilePollMilliseconds: 5_000,
  /** RFC 4226 section 4, R6: at least 128 bits, 160 recommended. */
  totpSecretMinBytes: 16,
  totpSecretBytes: 20,
  totpSecretMaxBytes: 64,
  /** As authenticator applications have it (RFC 6238 section 4), and how far a clock may be off (section 5.2). */
  totpStepSeconds: 30,
  totpDigits: 6,
  totpWindowSteps: 1,
  /** Random bits of a panic code, in bytes. */
  panicCodeBytes: 16,
  credentialsBytes: 16 * 1024,
  credentialsPollMilliseconds: 5_000,
  /** The instance metadata service is a link-local neighbour: one exchange, and a token or the name of a role. */
  metadataTimeoutMilliseconds: 2_000,
  metadataTextBytes: 1024,
  /** A token is fetched for each look at the credentials and is of no use soon after. */
  metadataTokenSeconds: 60,
  /**
   * How often the host asks for the instance role's credentials. EC2 shows new ones at least five minutes before the
   * old ones expire: asked more often than that, none is missed, whatever the host's clock says.
   */
  metadataPollMilliseconds: 240_000,
  /** Less life than this left, by the host's clock, and it asks this often. */
  metadataHurryMilliseconds: 10 * 60_000,
  metadataHurryPollMilliseconds: 30_000,
  /** After a failure; doubled with each further one. */
  metadataRetryMilliseconds: 1_000,
  metadataRetryMaxMilliseconds: 30_000,
  configBytes: 64 * 1024,
  /** Prometheus scrapes by one connection; a second one and a person with curl find room. */
  metricsConnections: 16,
  /** Longer than the usual interval between scrapes. */
  metricsKeepAliveMilliseconds: 75_000,
  /** One answer serves all who ask meanwhile: writing it holds the event loop up for some 10 ms. */
  metricsKeepMilliseconds: 250,
  /** Wallets whose budgets are metrics, and how often the enclave is asked for all of them: some 2 ms of it each. */
  metricsBudgets: 32,
  metricsBudgetsMilliseconds: 10_000,
  /** CIDR blocks in one list of the configuration. */
  configNetworks: 64,
  kmsTunnelConnections: 32,
  kmsTunnelIdleMilliseconds: 120_000,
  kmsTunnelConnectMilliseconds: 5_000,
  adminConnections: 16,
  /** The longest command takes a wallet over: a lease of one frame and a sealed state, both in base64. */
  adminLineBytes: 160 * 1024,
  /** Wallets in one answer to the list of them. */
  adminWallets: 1_000,
  /** The longest answer is the metrics: some 100 kB, and more with each code that was ever answered. */
  adminReplyBytes: 1024 * 1024,
  adminIdleMilliseconds: 30_000,
  /** Operations waiting for the database thread. More means 503. */
  storeQueue: 4_096,
  /** Beyond these, for freezes and panic codes alone. */
  storeQueueReserved: 256,
  /** Writes that share one COMMIT. */
  storeBatch: 256,
  /** How long one transaction waits for another process's lock; only the database thread waits. */
  storeBusyMilliseconds: 250,
  storeTimeoutMilliseconds: 5_000,
  /** Decisions kept in memory while the database does not take them. At this many, nothing new is signed. */
  storeBacklog: 4_096,
  storeRetryMilliseconds: 500,
  /** A stored reply is repeated for this long (design 6). */
  replyKeepSeconds: 24 * 3600,

  // Backups of the database.
  /** What one changed page costs: smaller parts are many files, larger ones repeat more of what did not change. */
  backupPartBytes: 256 * 1024,
  /** 16 TiB. */
  backupParts: 64 * 1024 * 1024,
  /** Mostly the checkpoints: one of each boot, some with many cosignatures. */
  backupManifestBytes: 64 * 1024 * 1024,
  /** For another process's lock, which a reader hardly ever meets. */
  backupBusyMilliseconds: 5_000,

  // Webhooks.
  webhookSources: 64,
  /** Beside each other, while one is replaced by the next. */
  webhookSecrets: 8,
  webhookKeys: 4,
  /** Signatures of one header: rotation takes two. An Ed25519 one costs as much as twenty of the others. */
  webhookSignatures: 8,
  webhookAsymmetricSignatures: 2,
  webhookSignatureCharacters: 1_024,
  /** Standard Webhooks 1.0, 'Symmetric': "between 24 bytes (192 bits) and 64 bytes (512 bits)". */
  webhookSecretMinBytes: 24,
  webhookSecretMaxBytes: 64,
  /** A secret that people type into an alert. */
  webhookTextSecretMinCharacters: 16,
  webhookTextSecretMaxCharacters: 256,
  webhookSecretsFileBytes: 16 * 1024,
  webhookSecretsPollMilliseconds: 5_000,
  /** Of a webhook's timestamp, unless configured; how far it may lie ahead is `requestMaxFutureSeconds`. */
  webhookToleranceSeconds: 300,
  webhookToleranceMaxSeconds: 3_600,
  /** How long a signal is kept, unless configured. */
  signalKeepSeconds: 3_600,
  signalKeepMaxSeconds: 31 * 24 * 3600,
  /** Of webhooks without an id: the same body within this time is the same signal, unless configured. */
  webhookRepeatSeconds: 60,
  /** Unexpired signals of one source. */
  signalsPerSource: 10_000,
  /**
   * A webhook is acknowledged after this time also when the database has not answered: TradingView hangs up after three
   * seconds and sends nothing twice. So many signals are then kept in memory, over all sources.
   */
  webhookAcknowledgeMilliseconds: 1_000,
  signalsUnwritten: 1_024,
  /** Refused webhooks, in units of some 50 to 100 microseconds of work, that are answered per second; others wait. */
  webhookRefusalsPerSecond: 200,
  /** For so long at most; then the connection is closed without an answer. */
  webhookRefusalMilliseconds: 2_000,
  /** Ed25519 signatures of webhooks being verified; more wait. */
  webhookVerifications: 2,

  // Reads by API tokens.
  apiTokens: 256,
  apiTokenNameCharacters: 64,
  apiTokenWallets: 1_000,
  apiTokensFileBytes: 1024 * 1024,
  apiTokensFilePollMilliseconds: 5_000,
  /** One token, for qv. */
  apiTokenFileBytes: 256,
  /** Wallets or decisions of one page. */
  pageEntries: 100,
  /** Leaves that one page of decisions looks at: a rare kind must not hold the database up. */
  decisionsScanned: 1_000,

  // Alerts.
  alertEndpoints: 8,
  /** Undelivered alerts of one endpoint: at most some 500 bytes each. */
  alertQueue: 1_000,
  /** Under way to one endpoint. */
  alertDeliveries: 4,
  alertTimeoutMilliseconds: 10_000,
  /** Doubled with each attempt. */
  alertRetryMilliseconds: 1_000,
  alertRetryMaxMilliseconds: 5 * 60_000,
  alertGiveUpMilliseconds: 24 * 3600_000,
  alertWatchMilliseconds: 1_000,
  /** Trouble that lasts so long is told, and that it is over when it has been for as long. */
  troubleMilliseconds: 10_000,
  /** An edited row of one wallet is told once in this time. */
  tamperingRepeatMilliseconds: 3600_000,
  /** Wallets that denials are counted of; of more, those not heard of for longest start anew. */
  watchedWallets: 10_000,
  /** Denials of one wallet within so long that are a burst, unless configured. */
  denialBurstCount: 20,
  denialBurstSeconds: 60,
  /** Times kept for each wallet that is watched. */
  denialBurstMaxCount: 1_000,
  /** What the status page lists. */
  recentDenials: 32,

  // The status page: an hour, and how often a browser asks again.
  opsSampleMilliseconds: 5_000,
  opsSamples: 720,
  opsRefreshSeconds: 5,
  opsFreezes: 64,

  // TLS.
  tlsFileBytes: 256 * 1024,
  tlsFilesPollMilliseconds: 5_000,

  // Clients: the SDK and qv.
  /** One attempt; longer than the host waits for its enclave, so that the host's own answer arrives. */
  clientTimeoutMilliseconds: 20_000,
  clientResponseBytes: 256 * 1024,
  clientAttempts: 4,
  /** Before the second attempt; doubled each time, half of it at random. */
  clientBackoffMilliseconds: 200,
  clientBackoffMaxMilliseconds: 2_000,
  /** A host or proxy that asks for a longer wait (Retry-After) is not waited for: its caller decides. */
  clientRetryAfterMaxMilliseconds: 30_000,
  /** How long a request that is in flight already is asked for again: longer than the host works on one. */
  clientInFlightMilliseconds: 20_000,
  /** How long a statement made by the SDK may be used, unless the caller says. */
  clientStatementSeconds: 600,
  cliInputBytes: 256 * 1024,
  /** Reads of a log under way at a time; half of what a host allows all auditors (`logReads`). */
  cliLogReads: 4,
  /** A host that is busy gets more patience from an audit, which may take hours, than from a signing request. */
  cliLogAttempts: 8,
  /** One line of a file of signatures, or all of it where it is one JSON document: a page of Solana's RPC has 300 kB. */
  cliChainDocumentBytes: 64 * 1024 * 1024,
  cliChainSignatures: 4_000_000,
  /** A file of leases: some 20 kB for each 256 wallets. */
  cliLeaseBytes: 64 * 1024 * 1024,
  /** An operator's journal: some 12 kB for each lease of 256 wallets. */
  cliJournalBytes: 256 * 1024 * 1024,
  /** One line of a file of releases: the release and a sealed state, in base64. */
  cliReleaseLineBytes: 64 * 1024,
  /** Wallets that qv moves at a time; fewer than the connections of an admin socket. */
  cliMoves: 8,
  /** Wallets that qv rotates a second unless told otherwise: three calls of KMS each. */
  cliRotationsPerSecond: 20,
  /** Receipts named on one command line. */
  cliReceipts: 1_000,
  // Sweeps: what a Solana RPC endpoint may answer, and how long it is asked.
  cliRpcTimeoutMilliseconds: 20_000,
  /** Of 10,000 token accounts, some 800 bytes each with room for extensions. */
  cliRpcResponseBytes: 16 * 1024 * 1024,
  cliRpcAttempts: 5,
  cliSweepAccounts: 10_000,
  cliSweepPlanBytes: 8 * 1024 * 1024,
  /** The last policy counts for so long: a few blockhashes, an owner with a hardware wallet, and finality. */
  cliSweepPolicySeconds: 1_800,
  /** Statements that one call has the owner sign. */
  cliSweepRounds: 32,
  /** Blockhashes under which one transaction is tried, each good for some 150 blocks. */
  cliSweepAttempts: 3,
  cliSweepPollMilliseconds: 250,
  cliSweepPollMaxMilliseconds: 2_000,
  /** Of one try: twice what 150 blocks take, for endpoints that hang behind, or say so. */
  cliSweepWaitMilliseconds: 180_000,
  /** How long `qv init row-key` waits for a host and an enclave that are only just starting. */
  cliInitWaitMilliseconds: 10_000,
} as const;
