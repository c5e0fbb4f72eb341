/** Labels stay few, and the series that alerts need are there before anything has happened. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RATE_LIMITS, SHED_REASONS, SIGN_MODES, STAGES } from '@quantumvault/host/metrics/counts.ts';
import { meteredStore } from '@quantumvault/host/metrics/metered-store.ts';
import { HostMetrics } from '@quantumvault/host/metrics/metrics.ts';
import { RuleLabels, SEEDED_RULES } from '@quantumvault/host/metrics/rule-labels.ts';
import type { Store } from '@quantumvault/host/store/store.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import { parseExposition, sampleValue } from './exposition.ts';

const samplesOf = async (metrics: HostMetrics) => parseExposition(await metrics.text());

describe('before anything has happened', () => {
  it('there is a zero for every limit, reason, stage, mode, verdict and seeded rule', async () => {
    const samples = await samplesOf(new HostMetrics());
    for (const limit of RATE_LIMITS) expect(sampleValue(samples, 'qv_rate_limited_total', { limit })).toBe(0);
    for (const reason of SHED_REASONS) expect(sampleValue(samples, 'qv_shed_total', { reason })).toBe(0);
    for (const stage of STAGES) expect(sampleValue(samples, 'qv_sign_stage_seconds_count', { stage })).toBe(0);
    for (const rule of SEEDED_RULES) expect(sampleValue(samples, 'qv_denials_total', { rule })).toBe(0);
    for (const mode of SIGN_MODES)
      for (const verdict of ['allow', 'deny'])
        expect(sampleValue(samples, 'qv_verdicts_total', { mode, verdict })).toBe(0);
  });
});

describe('signals and webhooks', () => {
  it('are counted by configured source; others are one', async () => {
    const metrics = new HostMetrics();
    metrics.knowSources(['tv-main']);
    metrics.webhook('tv-main', 'accepted');
    metrics.webhook('stranger-1', 'refused');
    metrics.webhook('stranger-2', 'refused');
    metrics.signalSpent('tv-main');
    metrics.rateLimited('address');
    metrics.shed('queue_age');
    const samples = await samplesOf(metrics);
    const webhooks = (source: string, outcome: string) =>
      sampleValue(samples, 'qv_webhooks_total', { source, outcome });
    expect(webhooks('tv-main', 'accepted')).toBe(1);
    expect(webhooks('tv-main', 'refused')).toBe(0);
    expect(webhooks('unknown', 'refused')).toBe(2);
    expect(webhooks('stranger-1', 'refused')).toBeUndefined();
    expect(sampleValue(samples, 'qv_signals_spent_total', { source: 'tv-main' })).toBe(1);
    expect(sampleValue(samples, 'qv_rate_limited_total', { limit: 'address' })).toBe(1);
    expect(sampleValue(samples, 'qv_shed_total', { reason: 'queue_age' })).toBe(1);
  });
});

describe('rules as labels', () => {
  it('lose their positions', () => {
    const labels = new RuleLabels();
    expect(labels.of('tokens[31].maxPerTransaction')).toBe('tokens[].maxPerTransaction');
    expect(labels.of('sol.window')).toBe('sol.window');
  });

  it('are `other` when they look like none, and when there are too many', () => {
    const labels = new RuleLabels();
    for (const rule of [undefined, '', 'a"b', 'a b', 'x'.repeat(65), 'é']) expect(labels.of(rule)).toBe('other');
    const made = new Set(Array.from({ length: 1_000 }, (_, index) => labels.of(`rule-${index}`)));
    expect(made.size).toBeLessThanOrEqual(200);
    expect(labels.of('rule-999')).toBe('other');
    expect(labels.of('rule-0')).toBe('rule-0');
  });

  it('that are seeded are all rules that the judge names', () => {
    const folder = join(import.meta.dirname, '..', '..', '..', 'shared', 'src', 'policy');
    const judge = readdirSync(folder)
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('\n')
      // As the judge writes a position.
      .replaceAll(/\[\$\{index\}\]/g, '[]');
    const named = (rule: string): boolean => judge.includes(`'${rule}'`) || judge.includes(`\`${rule}\``);
    const unknown = SEEDED_RULES.filter((rule) => rule !== 'other' && !named(rule));
    expect(unknown).toEqual([]);
  });
});

describe('a metered store', () => {
  const store = (getWallet: Store['getWallet']): Store =>
    ({ getWallet, createMeta: async () => true, close: async () => undefined }) as unknown as Store;

  it('answers as the store does, and times reads and writes apart', async () => {
    const metrics = new HostMetrics();
    const metered = meteredStore(
      store(async () => undefined),
      metrics,
    );
    expect(await metered.getWallet('a' as never)).toBeUndefined();
    expect(await metered.createMeta('row-key', new Uint8Array())).toBe(true);
    await metered.close();
    const samples = await samplesOf(metrics);
    expect(sampleValue(samples, 'qv_store_seconds_count', { kind: 'read' })).toBe(1);
    expect(sampleValue(samples, 'qv_store_seconds_count', { kind: 'write' })).toBe(1);
    expect(sampleValue(samples, 'qv_store_failures_total')).toBe(0);
  });

  it('throws what the store throws, and counts it', async () => {
    const metrics = new HostMetrics();
    const failing = store(() => Promise.reject(new QvError('overloaded')));
    await expectCode(meteredStore(failing, metrics).getWallet('a' as never), 'overloaded');
    expect(sampleValue(await samplesOf(metrics), 'qv_store_failures_total', { code: 'overloaded' })).toBe(1);
  });
});
