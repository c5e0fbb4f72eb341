/** Everything of one host process put together, and taken down in the order that loses nothing. */
import type { Server as HttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatTransportAddress, type Transport } from '@quantumvault/shared/transport.ts';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { startAdmin } from './admin.ts';
import { Alerts } from './alerts/alerts.ts';
import { buildApp } from './app.ts';
import type { HostConfig } from './config.ts';
import type { ConnectionLimits } from './connections.ts';
import { CredentialsFile, type CredentialsSource } from './credentials.ts';
import { EnclaveClient } from './enclave/client.ts';
import { EnclaveSession } from './enclave/session.ts';
import { LogPublisher } from './evidence/publisher.ts';
import { Freezes } from './freeze.ts';
import { FreezeMarkers } from './freeze-markers.ts';
import { Incidents } from './incidents.ts';
import { InstanceRoleCredentials, type InstanceRoleOptions } from './instance-role/credentials.ts';
import { startKmsTunnel } from './kms-tunnel.ts';
import { BudgetMetrics } from './metrics/budgets.ts';
import { gauge } from './metrics/collected.ts';
import { startMetricsListener } from './metrics/listener.ts';
import { meteredStore } from './metrics/metered-store.ts';
import { HostMetrics } from './metrics/metrics.ts';
import { collectState } from './metrics/state.ts';
import { startOpsPage } from './ops-page/listener.ts';
import { Peers } from './peers/peers.ts';
import type { PlainListener } from './plain-listener.ts';
import { ApiTokens } from './reads/tokens-file.ts';
import { Records } from './records.ts';
import { OperatorsFile } from './remote-freeze/operators-file.ts';
import { PanicCodes } from './remote-freeze/panic-codes.ts';
import { RemoteFreeze } from './remote-freeze/remote-freeze.ts';
import { SlowSources } from './remote-freeze/slow-sources.ts';
import { UsedSteps } from './remote-freeze/used-steps.ts';
import { RetiredRowKeys } from './retired-row-keys.ts';
import { RowKeyRotation } from './rotation/row-key.ts';
import { WalletKeys } from './rotation/wallet-keys.ts';
import { RowKeys } from './row-keys.ts';
import { openSqliteStore } from './store/sqlite-store.ts';
import type { Store } from './store/store.ts';
import { TlsFiles } from './tls/tls-files.ts';
import { removeStaleSocket } from './unix-socket.ts';
import { Signals } from './webhooks/signals.ts';
import { Webhooks } from './webhooks/webhooks.ts';
import { WitnessClient } from './witness/client.ts';

export interface HostDeps {
  readonly transport: Transport;
  readonly log: FastifyBaseLogger;
  readonly now?: () => TimeMs;
  /** Where the instance's role is asked for, and how often, in tests: no configuration names either. */
  readonly instanceRole?: Pick<InstanceRoleOptions, 'endpoint' | 'pause'>;
  /** Default LIMITS.enclaveRequestTimeoutMilliseconds. */
  readonly enclaveTimeoutMilliseconds?: number;
  /** Default CONNECTION_LIMITS. */
  readonly connectionLimits?: ConnectionLimits;
  /** Default LIMITS.loopDelayMilliseconds. */
  readonly loopDelayMilliseconds?: number;
  /** Default LIMITS.webhookRefusalsPerSecond. */
  readonly webhookRefusalsPerSecond?: number;
  /** How often the files of credentials, tokens and TLS are looked at. Default: as LIMITS has it for each. */
  readonly filePollMilliseconds?: number;
}

export interface RunningHost {
  /** `http://127.0.0.1:8080` */
  readonly url: string;
  readonly adminSocket: string;
  /** `http://127.0.0.1:9464/metrics`, where it is served. */
  readonly metricsUrl?: string;
  /** `http://127.0.0.1:9470/`, where there is a status page. */
  readonly opsPageUrl?: string;
  /** `unwritten`: decisions that the database did not take in time. Refuses new requests, finishes those under way within LIMITS.drainTimeoutMilliseconds, stores, stops. */
  close(): Promise<{ readonly unwritten: number }>;
}

/** Started parts, undone in the reverse order, also when a later one fails to start. */
class Parts {
  readonly #undo: (() => unknown)[] = [];

  add<T>(part: T, undo: (part: T) => unknown): T {
    this.#undo.push(() => undo(part));
    return part;
  }

  async close(): Promise<void> {
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) await undo();
  }
}

const EXPIRY_MILLISECONDS = 60_000;

/** Does not wait for the enclave: /readyz tells. @throws QvError config_invalid, store_unavailable, transport_unsupported */
export async function startHost(config: HostConfig, deps: HostDeps): Promise<RunningHost> {
  const { transport, log, now = systemTime, connectionLimits, loopDelayMilliseconds, webhookRefusalsPerSecond } = deps;
  const { filePollMilliseconds } = deps;
  const parts = new Parts();
  let draining = false;
  let unwritten = 0;
  let closing: Promise<void> | undefined;
  try {
    const { deployment } = config;
    const credentials = parts.add(credentialsSource(config, deps, now), (part) => part.close());
    const { operatorsFile } = config;
    const operators =
      operatorsFile === undefined
        ? undefined
        : parts.add(new OperatorsFile(operatorsFile, log), (part) => part.close());
    const { apiTokensFile } = config;
    const apiTokens =
      apiTokensFile === undefined
        ? undefined
        : parts.add(new ApiTokens(apiTokensFile, log, filePollMilliseconds), (part) => part.close());
    const tls = config.tls && parts.add(new TlsFiles(config.tls, log, filePollMilliseconds), (part) => part.close());
    const webhooks = parts.add(new Webhooks(config.webhooks, log), (part) => part.close());
    const metrics = new HostMetrics();
    const incidents = new Incidents();
    metrics.knowSources(config.webhooks.map(({ name }) => name));
    const onSettled = metrics.message.bind(metrics);
    const opened = parts.add(await openSqliteStore({ path: config.store.sqlite, log }), (part) => part.close());
    const store = meteredStore(opened, metrics);
    await claimDatabase(store, deployment);
    const retired = new RetiredRowKeys(config.retiredRowKeys, log);
    const timeout = deps.enclaveTimeoutMilliseconds;
    const data = parts.add(
      new EnclaveClient({
        address: config.enclave.data,
        transport,
        log,
        onSettled,
        ...(timeout === undefined ? {} : { timeoutMilliseconds: timeout }),
      }),
      (part) => part.close(),
    );
    const phase = () => session.status?.phase;
    const rowKeys = new RowKeys({ store, enclave: data, phase, retired, log, now });
    const records = new Records(store, rowKeys, log, LIMITS.storeBacklog, (receipt) => incidents.recorded(receipt));
    const control = parts.add(
      new EnclaveClient({ address: config.enclave.control, transport, log, onSettled }),
      (part) => part.close(),
    );
    const freezes = parts.add(
      new Freezes({
        deployment,
        store,
        control,
        controlAddress: formatTransportAddress(config.enclave.control),
        data,
        boot: () => session.status?.boot,
        records,
        log,
        now,
      }),
      (part) => part.close(),
    );
    const usedSteps = parts.add(new UsedSteps(store, log), (part) => part.close());
    const panicCodes = new PanicCodes(store);
    const sources = new SlowSources();
    const remoteFreeze = new RemoteFreeze({ store, freezes, operators, usedSteps, panicCodes, sources, now });
    const session = new EnclaveSession({ deployment, data, rowKeys, credentials, freezes, records, log });
    parts.add(session, (part) => {
      // First hang up: the session may be waiting for an enclave that does not answer.
      data.close();
      control.close();
      return part.stop();
    });
    // Undone before the session is, because what waits to be stored needs the row key.
    parts.add(records, async (part) => {
      const lost = await part.drain(LIMITS.drainTimeoutMilliseconds);
      part.close();
      unwritten += lost;
      if (lost > 0) log.error({ decisions: lost }, 'decisions could not be written before the end');
    });
    const signals = parts.add(new Signals({ store, keys: rowKeys, log, now }), (part) => part.close());
    // Undone before the session is, which wipes the keys.
    const rotation = parts.add(new RowKeyRotation({ store, rowKeys, incidents, log, now }), (part) => part.close());
    const witnesses = config.witnesses.map((endpoint) => new WitnessClient(endpoint));
    // Undone after the last request under way was answered: with witnesses it waits for a round.
    const publisher = parts.add(new LogPublisher({ enclave: data, session, store, records, witnesses, log }), (part) =>
      part.stop(LIMITS.freezeTimeoutMilliseconds),
    );
    // Before anybody can ask for a signature.
    const { groupId } = config.adminSocket;
    const directory = config.freezeMarkers;
    const markers = parts.add(new FreezeMarkers({ directory, groupId, freezes, log, now }), (part) => part.close());
    await markers.start();
    data.connect();
    control.connect();
    for (const { listen, endpoint } of [config.kmsTunnel, ...config.kmsTunnel.further]) {
      if (listen.kind === 'unix') await removeStaleSocket(listen.path, 'kmsTunnel.listen');
      const counts = metrics.oneTunnel();
      parts.add(await startKmsTunnel({ transport, listen, endpoint, log, counts }), (part) => part.close());
    }
    const shared = {
      deployment,
      store,
      enclave: data,
      session,
      freezes,
      walletKeys: new WalletKeys({ store, session, enclave: data, records, log }),
      records,
      rotation,
      publisher,
      credentials,
      metrics,
      incidents,
      log,
      now,
      draining: () => draining,
    };
    collectState(metrics, shared);
    const { alerts: endpoints, denialBurst: burst } = config;
    parts.add(new Alerts({ ...shared, endpoints, burst }), (part) => part.close());
    if (config.metrics !== undefined && config.metrics.budgets.length > 0)
      new BudgetMetrics(metrics, config.metrics.budgets, shared);
    parts.add(await startAdmin(config.adminSocket, shared), (part) => part.close());
    const metricsListener =
      config.metrics && parts.add(await startMetricsListener(config.metrics, metrics, log), (part) => part.close());
    let opsPage: PlainListener | undefined;
    if (config.opsPage !== undefined) {
      const names = config.witnesses.map(({ key }) => key.name);
      opsPage = parts.add(await startOpsPage(config.opsPage, { ...shared, witnesses: names }), (part) => part.close());
    }
    const app = parts.add(
      buildApp({
        ...shared,
        remoteFreeze,
        panicCodes,
        trustedProxies: config.trustedProxies,
        ...(apiTokens && { apiTokens }),
        ...(tls && { tls: tls.options }),
        ...(config.peers.length > 0 && { peers: new Peers(config.peers) }),
        publicLog: config.publicLog,
        webhooks,
        signals,
        ...(webhookRefusalsPerSecond !== undefined && { webhookRefusalsPerSecond }),
        rateLimits: config.rateLimits,
        ...(connectionLimits && { connectionLimits }),
        ...(loopDelayMilliseconds !== undefined && { loopDelayMilliseconds }),
      }),
      drain,
    );
    tls?.follow(app.server as unknown as HttpsServer);
    gauge(
      metrics.registry,
      'qv_tls_expiry_timestamp_seconds',
      'When the certificate of this host expires, since 1970. NaN without TLS.',
      () => (tls?.expiresAt ?? Number.NaN) / 1000,
    );
    await app.listen({ host: config.listen.host, port: config.listen.port });
    const deleteExpired = (): void => {
      for (const deleted of [store.deleteExpiredReplies(now()), signals.deleteExpired()]) deleted.catch(() => {});
    };
    const expiry = setInterval(deleteExpired, EXPIRY_MILLISECONDS);
    parts.add(expiry, clearInterval);
    session.start();
    rotation.start();
    publisher.start();
    return {
      url: urlOf(app.server.address() as AddressInfo, tls === undefined ? 'http' : 'https'),
      adminSocket: config.adminSocket.path,
      ...(metricsListener && { metricsUrl: metricsListener.url }),
      ...(opsPage && { opsPageUrl: opsPage.url }),
      async close() {
        draining = true;
        closing ??= parts.close();
        await closing;
        return { unwritten };
      },
    };
  } catch (error) {
    await parts.close();
    throw error;
  }
}

/** @throws QvError config_invalid when the file is not usable; of instance metadata /readyz tells */
function credentialsSource(
  { credentials }: HostConfig,
  { log, instanceRole, filePollMilliseconds }: HostDeps,
  now: () => TimeMs,
): CredentialsSource {
  if ('file' in credentials) return new CredentialsFile(credentials.file, log, filePollMilliseconds);
  return new InstanceRoleCredentials(log, { now, ...instanceRole });
}

/** A database serves one deployment: another one's wallets would all look tampered with. */
async function claimDatabase(store: Store, deployment: string): Promise<void> {
  const mine = utf8(deployment);
  let owner = await store.getMeta('deployment');
  if (owner === undefined) {
    await store.createMeta('deployment', mine);
    owner = await store.getMeta('deployment');
  }
  if (owner === undefined || !equalBytes(owner, mine)) {
    throw new QvError('config_invalid', { path: 'deployment', value: 'the database belongs to another deployment' });
  }
}

/** Ends when the last request under way is answered, or at the limit. */
async function drain(app: FastifyInstance): Promise<void> {
  const timer = setTimeout(() => {
    app.log.warn({}, 'drain timed out');
    app.server.closeAllConnections();
  }, LIMITS.drainTimeoutMilliseconds);
  await app.close();
  clearTimeout(timer);
}

function systemTime(): TimeMs {
  return timeMs(Date.now());
}

function urlOf({ address, family, port }: AddressInfo, scheme: 'http' | 'https'): string {
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
