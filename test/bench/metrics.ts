/** All that is counted, timed and traced for a hundred signing requests, beside verifying their hundred signatures. */
import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { HostMetrics } from '@quantumvault/host/metrics/metrics.ts';
import { traceContext, traceHeaders } from '@quantumvault/host/trace/traceparent.ts';
import type { Row } from './measure.ts';

const REQUESTS = 100;

export function metricsRow(): Row {
  const metrics = new HostMetrics();
  metrics.knowRoute('/v1/sign', [[200, 'ok']]);
  const request = (): void => {
    traceHeaders(traceContext({}));
    for (const stage of ['row', 'authentication', 'enclave', 'store', 'total'] as const)
      metrics.stageSeconds(stage, 0.001);
    metrics.message('sign', 'ok', 0.003);
    for (const kind of ['read', 'read', 'write'] as const) metrics.storeOperation(kind, 0.0005, undefined);
    metrics.verdict('sign', 'allow');
    metrics.reply('/v1/sign', 200, 'ok', 0.01);
  };
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const content = Buffer.alloc(700, 1);
  const signature = sign(null, content, privateKey);
  return {
    name: 'metrics and trace of 100 requests',
    ours: async () => {
      for (let count = 0; count < REQUESTS; count++) request();
    },
    baseline: '100 Ed25519 checks by node:crypto',
    theirs: async () => {
      for (let count = 0; count < REQUESTS; count++)
        if (!verify(null, content, publicKey, signature)) throw new Error('a signature does not verify');
    },
  };
}
