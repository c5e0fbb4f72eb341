/**
 * One start of the enclave, from nothing to serving. Entry files bring the security module, the transport and the
 * kms-agent; everything else is the same in an image and on a laptop.
 */
import type { Duplex } from 'node:stream';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { MessageName, Phase, ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import type { Listener, Transport, TransportAddress } from '@quantumvault/shared/transport.ts';
import type { StartAgent } from './agent-link.ts';
import { Attester } from './attester.ts';
import { budgets } from './budgets.ts';
import { type EnclaveConfig, parseEnclaveConfig } from './config.ts';
import type { Context } from './context.ts';
import { Creations, createWallet } from './create.ts';
import { enablePolicy } from './enable.ts';
import { Succession } from './follow.ts';
import { Freeze, freeze, resume, type Subject } from './freeze.ts';
import { Holdings } from './holdings.ts';
import { importWallet } from './import.ts';
import { KeptKeys } from './kept-keys.ts';
import { Kms } from './kms.ts';
import { lockedKilobytes } from './locked-memory.ts';
import { Log, recordKeyFailure } from './log.ts';
import { Migrations } from './migrate.ts';
import { type LegacyCiphers, LegacyKeys } from './migration/legacy-keys.ts';
import { Nsm, type NsmDevice } from './nsm.ts';
import { cancelClaim, claimWallet, completeTakeover, nameSuccessor } from './owner-succession.ts';
import { CONTROL } from './phases.ts';
import { Recipients } from './recipient.ts';
import { leaseShow, release } from './release.ts';
import { retireWallet } from './retire.ts';
import { rewrapWallet } from './rewrap.ts';
import { createRowKey, unwrapRowKey } from './row-key.ts';
import { Connections, type Handlers, InFlight, type Stop, serve } from './server.ts';
import { sign, signBatch } from './sign.ts';
import { take } from './take.ts';
import { TrustedTime } from './time.ts';
import { Unwrapper } from './unwrap.ts';
import { type RecipientKeys, Vault, type WipeTraces } from './vault.ts';
import { VERSION } from './version.ts';
import { Witnesses } from './witnesses.ts';

export interface BootOptions {
  /** The measured configuration file. */
  readonly configBytes: Uint8Array;
  readonly nsm: NsmDevice;
  /** Mixes bytes into the kernel's random pool, before any key is born (design 4). */
  readonly mixRandomness: (bytes: Uint8Array) => void;
  /** Made by the C addon, or, where there is none, by Node. */
  readonly recipientKeys: RecipientKeys;
  /** Likewise: what wallets of v2 were encrypted with. */
  readonly legacyCiphers: LegacyCiphers;
  /** Overwrites what calls that handled secrets left on the stack and in registers. */
  readonly wipeTraces: WipeTraces;
  readonly transport: Transport;
  readonly data: TransportAddress;
  /** The stop button's own listener (design 9). */
  readonly control: TransportAddress;
  readonly startAgent: StartAgent;
  readonly monotonicMs: () => number;
  /** Sets the system's clock: no decision goes by it, but the kms-agent's TLS and signatures do (design 8). */
  readonly setClock?: (milliseconds: number) => void;
  /** Takes lines that name no secret. */
  readonly log: (line: string) => void;
}

export interface Enclave {
  readonly phase: () => Phase;
  close(): Promise<void>;
}

/** @throws QvError config_invalid, nsm_failed; every failure of a boot is final */
export async function boot(options: BootOptions): Promise<Enclave> {
  const config = parseEnclaveConfig(options.configBytes);
  const nsm = new Nsm(options.nsm, options.monotonicMs);
  options.mixRandomness(await nsm.random());
  const lockedBefore = lockedKilobytes();
  const { recipientKeys, wipeTraces } = options;
  const vault = new Vault({
    recipientKeys,
    wipeTraces,
    ...(config.unwrappedKeys && { keptKeys: config.unwrappedKeys.count }),
  });
  const legacy = config.migration ? new LegacyKeys(vault, options.legacyCiphers, wipeTraces) : undefined;
  const locked = lockedKilobytes() - lockedBefore;
  const needed = vault.lockedKilobytes + (legacy?.lockedKilobytes ?? 0);
  if (locked < needed) throw new Error(`the kernel locked ${locked} kB of ${needed}: raise the memlock limit`);
  const context = wire(options, config, nsm, vault, legacy);
  let record: Receipt | undefined;
  const phase = (): Phase => (record === undefined ? 'booting' : phaseOf(context));
  const handlers = handlersOf(context, () => record, phase);
  const listeners = await listen(options, context, handlers, phase);
  const stopListening = () => Promise.all(listeners.map((listener) => listener.close()));
  try {
    await context.recipients.replace();
    keepClock(context, options);
    record = await recordBoot(context);
  } catch (error) {
    // What failed to boot must not go on answering.
    await stopListening();
    throw error;
  }
  const timers = [
    repeat(LIMITS.trustedTimeSampleSeconds, 'time', () => sampleTime(context, options), options.log),
    repeat(LIMITS.recipientKeyReplaceSeconds, 'recipient', () => context.recipients.replace(), options.log),
  ];
  return {
    phase,
    close: async () => {
      for (const timer of timers) clearInterval(timer);
      await stopListening();
    },
  };
}

function wire(
  options: BootOptions,
  config: EnclaveConfig,
  nsm: Nsm,
  vault: Vault,
  legacy: LegacyKeys | undefined,
): Context {
  const { monotonicMs } = options;
  const time = new TrustedTime(monotonicMs);
  const attester = new Attester(nsm, time, monotonicMs, config, vault);
  const recipients = new Recipients(vault, attester, monotonicMs);
  const kms = new Kms(config.kms, recipients, options.startAgent, monotonicMs);
  const log = new Log(vault, attester.boot, config.logOrigin);
  const freeze = new Freeze();
  const holdings = new Holdings(attester.boot);
  const kept = new KeptKeys(
    vault,
    config.unwrappedKeys,
    monotonicMs,
    // Whoever asks for a wallet that is not held here, or has left, does not get its key into memory for longer.
    (wallet) => holdings.get(wallet) !== undefined && !holdings.isRetired(wallet) && !freeze.stopsWallet(wallet),
  );
  const unwrapper = new Unwrapper(vault, kms, kept, (wallet, code) => recordKeyFailure(log, time, code, wallet));
  return {
    config,
    vault,
    attester,
    time,
    kms,
    recipients,
    kept,
    unwrapper,
    holdings,
    log,
    freeze,
    witnesses: new Witnesses(config.witnesses, log.key),
    legacy,
    outboxes: new Set(),
  };
}

/** Leaf 0: the document that names the boot key, in full. */
async function recordBoot({ attester, config, log, time }: Context): Promise<Receipt> {
  const attestation = await attester.own();
  return log.append({ kind: 'boot', attestation, configHash: config.hash }, time.now()).receipt;
}

async function sampleTime(context: Context, options: BootOptions): Promise<void> {
  await context.attester.own();
  keepClock(context, options);
}

function keepClock({ time }: Context, { setClock }: BootOptions): void {
  const nowMs = time.now();
  if (setClock !== undefined && Math.abs(Date.now() - nowMs) > LIMITS.clockToleranceMilliseconds) setClock(nowMs);
}

function phaseOf(context: Context): Phase {
  if (context.freeze.id !== undefined) return 'frozen';
  return context.kms.hasCredentials ? 'serving' : 'ready';
}

function handlersOf(context: Context, record: () => Receipt | undefined, phase: () => Phase): Handlers {
  const creations = new Creations();
  const migrations = new Migrations(context);
  const succession = new Succession();
  return {
    status: () => status(context, phase()),
    attest: async ({ nonce }) => ({ document: await context.attester.forNonce(nonce) }),
    bootRecord: () => {
      const receipt = record();
      if (receipt === undefined) throw new QvError('enclave_not_ready');
      return { receipt };
    },
    checkpoint: async ({ after }) => {
      if (after !== undefined) await context.log.longerThan(after);
      return { note: context.log.checkpoint() };
    },
    cosign: ({ note }) => ({ covered: context.witnesses.take(note) }),
    follow: (request) => succession.follow(context, request),
    leavesGet: ({ from }) => ({ receipts: context.log.recent(from) }),
    credentials: async (credentials) => {
      await context.kms.setCredentials(credentials);
      return {};
    },
    rowKeyCreate: () => createRowKey(context),
    rowKeyUnwrap: ({ blob }) => unwrapRowKey(context, blob),
    walletCreate: (request) => createWallet(context, creations, request),
    walletImport: (request) => importWallet(context, creations, request),
    policyEnable: (request) => enablePolicy(context, request),
    walletRewrap: (request) => rewrapWallet(context, request),
    walletRetire: (request) => retireWallet(context, request),
    migrationBegin: (request) => migrations.begin(request),
    walletMigrate: (request) => migrations.migrate(request),
    migrationEnd: (request) => migrations.end(request),
    successorName: (request) => nameSuccessor(context, request),
    takeoverClaim: (request) => claimWallet(context, request),
    takeoverCancel: (request) => cancelClaim(context, request),
    takeoverComplete: (request) => completeTakeover(context, request),
    sign: (request) => sign(context, request),
    signBatch: (request) => signBatch(context, request),
    freeze: (request) => freeze(context, request),
    resume: (request) => resume(context, request),
    freezesGet: () => context.freeze.list(),
    release: (request) => release(context, request),
    take: (request) => take(context, request),
    leaseShow: (request) => leaseShow(context, request),
    budgets: (request) => budgets(context, request),
    stateGet: ({ wallet }: RequestOf<'stateGet'>) => {
      const newest = context.holdings.newest(wallet);
      if (newest === undefined) throw new QvError('wallet_unknown');
      return newest;
    },
  };
}

function status(context: Context, phase: Phase): ReplyOf<'status'> {
  const { config, attester, freeze: latch, holdings, kms, log, recipients, time, witnesses } = context;
  const [attestationAgeSeconds, timeAgeSeconds] = [recipients.ageSeconds, time.ageSeconds];
  return {
    phase,
    boot: attester.boot,
    deployment: config.deployment,
    configHash: config.hash,
    ...(phase !== 'booting' && { time: time.lastTrusted() }),
    leaves: log.size,
    version: VERSION,
    kmsKeyArn: config.kms.keyArn,
    ...(latch.id && { freezeId: latch.id }),
    wallets: holdings.size,
    witnessThreshold: witnesses.threshold,
    kmsCalls: kms.calls,
    kmsFailures: kms.failures,
    kmsKeys: kms.keys,
    ...(attestationAgeSeconds !== undefined && { attestationAgeSeconds }),
    ...(timeAgeSeconds !== undefined && { timeAgeSeconds }),
  };
}

function listen(options: BootOptions, context: Context, handlers: Handlers, phase: () => Phase): Promise<Listener[]> {
  const stopOf = (subject: Subject): Stop | undefined => {
    if (context.freeze.scopeOf(subject) !== undefined) return 'frozen';
    return context.holdings.isRetired(subject.wallet) ? 'wallet_retired' : undefined;
  };
  const shared = { phase, handlers, stopOf, outboxes: context.outboxes, log: options.log };
  const all = Object.keys(handlers) as MessageName[];
  const open = (address: TransportAddress, names: readonly MessageName[]): Promise<Listener> => {
    const inFlight = new InFlight();
    const connections = new Connections();
    return options.transport.listen(address, (stream: Duplex) => {
      const connection = connections.admit(stream);
      if (connection !== undefined) serve(connection, inFlight, { ...shared, names });
    });
  };
  return Promise.all([open(options.control, CONTROL), open(options.data, all)]);
}

function repeat(seconds: number, what: string, work: () => Promise<unknown>, log: BootOptions['log']): NodeJS.Timeout {
  // A failure shows where it counts: stale time and stale recipients refuse by themselves.
  return setInterval(() => void work().catch((error) => log(`${what}: ${codeOf(error)}`)), seconds * 1000);
}
