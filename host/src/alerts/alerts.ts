/** Alerts out of one host: what is watched, and every endpoint that is told. */
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { Counter } from 'prom-client';
import type { CredentialsSource } from '../credentials.ts';
import type { EnclaveSession } from '../enclave/session.ts';
import type { Freezes } from '../freeze.ts';
import type { Incidents } from '../incidents.ts';
import type { Log } from '../log.ts';
import { gauge } from '../metrics/collected.ts';
import type { HostMetrics } from '../metrics/metrics.ts';
import type { AlertEndpoint, DenialBurst } from './config.ts';
import { ALERT_OUTCOMES, AlertDelivery } from './delivery.ts';
import { AlertWatch } from './watch.ts';

export interface AlertsDeps {
  readonly deployment: string;
  readonly endpoints: readonly AlertEndpoint[];
  readonly burst: DenialBurst;
  readonly session: Pick<EnclaveSession, 'status'>;
  readonly freezes: Pick<Freezes, 'held'>;
  readonly credentials: CredentialsSource;
  readonly incidents: Incidents;
  readonly metrics: Pick<HostMetrics, 'registry'>;
  readonly log: Log;
  readonly now: () => TimeMs;
}

export class Alerts {
  readonly #deliveries: AlertDelivery[] = [];
  readonly #timer: NodeJS.Timeout;
  readonly #log: Log;

  /** @throws QvError config_invalid when a file of secrets is not usable */
  constructor({ endpoints, incidents, metrics, log, ...watched }: AlertsDeps) {
    this.#log = log;
    const outcomes = new Counter({
      name: 'qv_alerts_total',
      help: 'Alerts, by what became of an attempt to deliver them.',
      labelNames: ['outcome'],
      registers: [metrics.registry],
    });
    for (const outcome of ALERT_OUTCOMES) outcomes.inc({ outcome }, 0);
    gauge(metrics.registry, 'qv_alerts_waiting', 'Alerts that are not delivered yet.', () =>
      this.#deliveries.reduce((sum, { waiting }) => sum + waiting, 0),
    );
    try {
      for (const [index, endpoint] of endpoints.entries()) {
        const field = `alerts[${index}].secretsFile`;
        const onOutcome = (outcome: (typeof ALERT_OUTCOMES)[number]): void => outcomes.inc({ outcome });
        this.#deliveries.push(new AlertDelivery(endpoint, { field, log, onOutcome }));
      }
    } catch (error) {
      for (const delivery of this.#deliveries) delivery.close();
      throw error;
    }
    const raise: ConstructorParameters<typeof AlertWatch>[0]['raise'] = (alert) => {
      for (const delivery of this.#deliveries) delivery.send(alert);
    };
    const watch = new AlertWatch({ ...watched, raise });
    // Without anybody to tell there is nothing to watch for.
    if (this.#deliveries.length > 0) incidents.listen(watch);
    this.#timer = setInterval(() => {
      if (this.#deliveries.length > 0) watch.look();
    }, LIMITS.alertWatchMilliseconds).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    const lost = this.#deliveries.reduce((sum, delivery) => sum + delivery.close(), 0);
    if (lost > 0) this.#log.error({ alerts: lost }, 'alerts could not be delivered before the end');
  }
}
