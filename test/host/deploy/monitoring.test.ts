/**
 * Alert rules and dashboard against a live host that has signed nothing yet: every metric they name is served,
 * has the labels they use, and the series they select are there, at zero where nothing has happened.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { requireProgram } from '../../support/requires.ts';
import { until } from '../../support/temporary.ts';
import { Harness } from '../harness.ts';
import { parseExposition, type Sample } from '../metrics/exposition.ts';
import { type Matcher, parseQuery } from './promql.ts';

const DEPLOY = join(import.meta.dirname, '..', '..', '..', 'host', 'deploy');
const ALERTS = join(DEPLOY, 'prometheus', 'alerts.yml');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly action: string };
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
  readonly annotations: { readonly list: readonly { readonly name: string; readonly expr: string }[] };
}

const rules = (parse(readFileSync(ALERTS, 'utf8')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const dashboard = JSON.parse(readFileSync(join(DEPLOY, 'grafana', 'dashboard.json'), 'utf8')) as Dashboard;

/** Grafana fills these in before Prometheus sees the query. */
const filledIn = (query: string): string => query.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.+');

const queries: [string, string][] = [
  ...rules.map(({ alert, expr }): [string, string] => [`alert ${alert}`, expr]),
  ...dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }, index): [string, string] => [`panel ${title} ${index + 1}`, filledIn(expr)]),
  ),
  ...dashboard.annotations.list.map(({ name, expr }): [string, string] => [`annotation ${name}`, filledIn(expr)]),
];

/** Put there by Prometheus at each scrape: the metric `up`, and these labels on everything. */
const OF_PROMETHEUS = { metric: 'up', labels: ['instance', 'job'] };

let samples: readonly Sample[];
const host = new Harness();
beforeAll(async () => {
  await host.start();
  await host.createWallet();
  await host.enablePolicy();
  const budgets = [{ rule: 'sol.window', seconds: 60, limit: 9n, spent: 1n }];
  host.enclave.handlers.budgets = () => ({ time: timeMs(Date.now()), budgets });
  host.moreConfig = () => ({ metrics: { host: '127.0.0.1', port: 0, budgets: [host.wallet] } });
  await host.restartHost();
  await host.ready();
  // The first scrape asks for budgets.
  await until('budgets are there', async () => {
    samples = parseExposition((await host.admin('metrics', {})).text);
    return samples.some(({ name }) => name === 'qv_budget_limit');
  });
});
afterAll(() => host.stop());

const matches = ({ operator, value }: Matcher, actual: string): boolean => {
  if (operator === '=' || operator === '!=') return (actual === value) === (operator === '=');
  return new RegExp(`^(?:${value})$`).test(actual) === (operator === '=~');
};

describe('every query', () => {
  it.each(queries)('%s', (_, text) => {
    const { selectors, groupings } = parseQuery(text);
    const known = new Set<string>(OF_PROMETHEUS.labels);
    for (const { metric, matchers } of selectors) {
      const inside = matchers.filter(({ label }) => !OF_PROMETHEUS.labels.includes(label));
      if (metric === OF_PROMETHEUS.metric) continue;
      const served = samples.filter(({ name }) => name === metric);
      expect(served.length, `${metric} is served`).toBeGreaterThan(0);
      for (const label of Object.keys(served[0]?.labels ?? {})) known.add(label);
      for (const { label } of inside) expect(Object.keys(served[0]?.labels ?? {}), metric).toContain(label);
      const selected = served.filter(({ labels }) => inside.every((one) => matches(one, labels[one.label] ?? '')));
      expect(selected.length, `${metric} selects something`).toBeGreaterThan(0);
      // Each alternative by itself: one that is misspelt would hide behind the others.
      for (const one of inside.filter(({ operator }) => operator === '=~'))
        for (const value of alternatives(one.value))
          expect(
            served.some(({ labels }) => matches({ ...one, value }, labels[one.label] ?? '')),
            `${metric} ${one.label} ${value}`,
          ).toBe(true);
    }
    for (const label of groupings) expect([...known], text).toContain(label);
  });

  it('is found: a query that is wrong would be', () => {
    expect(() => parseQuery('rate(qv_http_requests_total[5m]')).toThrow('no PromQL');
    expect(() => parseQuery('sum by (le (x))')).toThrow('no PromQL');
    expect(() => parseQuery('{route="a"}')).toThrow('without a metric');
    const { selectors, groupings } = parseQuery('sum by (a) (rate(x{b=~"c|d"}[5m])) / on (e) y');
    expect(selectors).toEqual([
      { metric: 'x', matchers: [{ label: 'b', operator: '=~', value: 'c|d' }] },
      { metric: 'y', matchers: [] },
    ]);
    expect(groupings).toEqual(['a', 'e']);
    expect(queries.length).toBeGreaterThan(60);
  });
});

/** Of a plain `a|b`; a pattern with anything else in it counts as one. */
function alternatives(pattern: string): readonly string[] {
  return /^[\w|]+$/.test(pattern) ? pattern.split('|') : [pattern];
}

describe('alert rules', () => {
  it('have names of their own, a severity, and say what to do', () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    for (const { alert, labels, annotations } of rules) {
      expect(alert).toMatch(/^Qv[A-Z][A-Za-z]+$/);
      expect(['page', 'ticket']).toContain(labels.severity);
      expect(annotations.summary.length, alert).toBeGreaterThan(20);
      expect(annotations.action.length, alert).toBeGreaterThan(10);
    }
  });

  it('name only labels that their query leaves', () => {
    for (const { alert, expr, annotations } of rules) {
      const { selectors, groupings } = parseQuery(expr);
      const own = selectors.flatMap(({ metric }) => samples.filter(({ name }) => name === metric));
      const left = [...OF_PROMETHEUS.labels, ...groupings, ...own.flatMap(({ labels }) => Object.keys(labels))];
      const aggregated = /\bsum\b|\bcount by\b/.test(expr) ? ['job', ...groupings] : left;
      for (const [, label] of annotations.summary.matchAll(/\$labels\.([a-z_]+)/g))
        expect(aggregated, `${alert}: ${label}`).toContain(label);
    }
  });

  const promtool = requireProgram('promtool', 'prometheus');
  it.skipIf(promtool === undefined)('fire and keep quiet as they should, by promtool', () => {
    const run = (...parameters: string[]) =>
      execFileSync(promtool ?? 'promtool', parameters, { encoding: 'utf8', stdio: 'pipe' });
    expect(run('check', 'rules', ALERTS)).toContain(`${rules.length} rules found`);
    expect(run('test', 'rules', join(import.meta.dirname, 'alerts.test.yml'))).toContain('SUCCESS');
  });
});

describe('the dashboard', () => {
  it('has panels of their own ids, which lie beside each other and not upon each other', () => {
    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = new Set<string>();
    for (const { title, gridPos } of panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(cells.has(`${x} ${y}`), title).toBe(false);
          cells.add(`${x} ${y}`);
        }
    }
    for (const { type, title, targets = [] } of panels) expect(targets.length > 0, title).toBe(type !== 'row');
  });

  it('names only labels that its queries leave, and asks for its hosts by a metric that is served', () => {
    for (const { title, targets = [] } of dashboard.panels)
      for (const { expr, legendFormat } of targets) {
        const { selectors, groupings } = parseQuery(filledIn(expr));
        const own = selectors.flatMap(({ metric }) => samples.filter(({ name }) => name === metric));
        const left = [...OF_PROMETHEUS.labels, ...own.flatMap(({ labels }) => Object.keys(labels))];
        for (const [, label] of legendFormat.matchAll(/\{\{([a-z_]+)\}\}/g))
          expect(/\b(?:sum|min|max)\b/.test(expr) ? groupings : left, `${title}: ${label}`).toContain(label);
      }
    const [, metric] =
      /^label_values\((\w+), instance\)$/.exec(
        dashboard.templating.list.find(({ name }) => name === 'instance')?.definition ?? '',
      ) ?? [];
    expect(samples.some(({ name }) => name === metric)).toBe(true);
  });
});
