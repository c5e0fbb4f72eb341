/** A store whose operations are timed, whatever database is behind it. */
import { codeOf } from '@quantumvault/shared/errors.ts';
import type { Store } from '../store/store.ts';
import type { HostMetrics } from './metrics.ts';

const READS = /^(get|find|list|first|ping)/;

type Operation = (...parameters: never[]) => Promise<unknown>;

export function meteredStore(store: Store, metrics: Pick<HostMetrics, 'storeOperation'>): Store {
  const timed = Object.entries(store).map(([name, operation]: [string, Operation]) =>
    name === 'close' ? [name, operation] : [name, meter(READS.test(name) ? 'read' : 'write', operation, metrics)],
  );
  return Object.fromEntries(timed) as Store;
}

function meter(kind: 'read' | 'write', operation: Operation, metrics: Pick<HostMetrics, 'storeOperation'>): Operation {
  return async (...parameters) => {
    const started = performance.now();
    const seconds = (): number => (performance.now() - started) / 1000;
    try {
      const result = await operation(...parameters);
      metrics.storeOperation(kind, seconds(), undefined);
      return result;
    } catch (error) {
      metrics.storeOperation(kind, seconds(), codeOf(error));
      throw error;
    }
  };
}
