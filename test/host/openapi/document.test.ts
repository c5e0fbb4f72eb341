/** The document by itself: as it is committed, whole, and as a linter of others wants it. */
import { readdirSync, readFileSync } from 'node:fs';
import { type AppDeps, buildApp } from '@quantumvault/host/app.ts';
import { createLog } from '@quantumvault/host/log.ts';
import { HostMetrics } from '@quantumvault/host/metrics/metrics.ts';
import { OPENAPI_FILE } from '@quantumvault/host/openapi/build.ts';
import { codesOf, openApiDocument, openApiText } from '@quantumvault/host/openapi/document.ts';
import { openApiPath } from '@quantumvault/host/openapi/operation.ts';
import { OPERATIONS } from '@quantumvault/host/openapi/operations.ts';
import { routesOf } from '@quantumvault/host/routes/reference.ts';
import { ERRORS, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { expect, it } from 'vitest';

const document = openApiDocument();
const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));

it('is committed as it is generated; else: npm run build:openapi', () => {
  const isSame = readFileSync(OPENAPI_FILE, 'utf8') === openApiText();
  expect(isSame, 'host/openapi/openapi.json is stale: npm run build:openapi').toBe(true);
});

it('has every route of the host, and no other', async () => {
  // Nothing is asked of the parts that are not there.
  const deps = {
    metrics: new HostMetrics(),
    log: createLog('error', { write: () => undefined }),
    trustedProxies: [],
    draining: () => false,
  } as unknown as AppDeps;
  const app = buildApp(deps);
  await app.ready();
  const served = routesOf(app).map(({ method, url }) => `${method} ${url}`);
  await app.close();
  const described = OPERATIONS.map(({ method, route }) => `${method.toUpperCase()} ${route}`);
  expect(served.length).toBeGreaterThan(10);
  const missing = served.filter((route) => !described.includes(route));
  const hint =
    'describe it in a file of host/src/openapi/ that operations.ts lists, call it in contract.test.ts, and run';
  expect(missing, `a route without description: ${hint} npm run build:openapi`).toEqual([]);
  expect(
    described.filter((route) => !served.includes(route)).map((route) => `${route} is described, not served`),
  ).toEqual([]);
  expect(new Set(described).size).toBe(described.length);
});

it('is what the linter recommends', async () => {
  const config = await createConfig({
    extends: ['recommended'],
    rules: {
      // The code is not licensed to anybody.
      'info-license': 'off',
      'operation-4xx-response': 'error',
      'no-unused-components': 'error',
      'no-invalid-media-type-examples': 'error',
      'no-invalid-schema-examples': 'error',
      'no-invalid-parameter-examples': 'error',
      'tag-description': 'error',
      'operation-operationId-unique': 'error',
      // The policy's schema says of members that stand elsewhere in it that one of them has to be there.
      'no-required-schema-properties-undefined': 'off',
      // /v1/log/checkpoint beside /v1/log/{boot}/checkpoint: no boot is called so.
      'no-ambiguous-paths': 'off',
    },
  });
  const problems = await lintFromString({ source: openApiText(), config });
  expect(problems.map(({ ruleId, message, location }) => `${ruleId} ${location[0]?.pointer}: ${message}`)).toEqual([]);
});

it('has the whole table of errors, and no code that stands in none', () => {
  expect(document['x-error-codes']).toEqual(Object.entries(ERRORS).map(([code, row]) => ({ code, ...row })));
  const listed = document.components.schemas['ErrorCode']?.['enum'] as ErrorCode[];
  const answered = new Set(OPERATIONS.flatMap(codesOf));
  expect(listed).toEqual((Object.keys(ERRORS) as ErrorCode[]).filter((code) => answered.has(code)));
});

it('has every code that the enclave refuses with, but for those of operators and of its start', () => {
  const elsewhere = [
    ...['config_invalid', 'randomness_untrusted', 'already_initialised', 'freeze_unknown', 'operators_too_few'],
    ...['succession_mismatch', 'succession_expired', 'evidence_signature_invalid'],
    ...['log_origin_mismatch', 'witnesses_too_few'],
    ...['migration_not_begun', 'migration_not_enabled', 'migration_refused', 'migration_row_unknown'],
    'migration_under_way',
  ];
  const sources = new URL('../../../enclave/src/', import.meta.url);
  const thrown = readdirSync(sources)
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => [...readFileSync(new URL(name, sources), 'utf8').matchAll(/QvError\(\s*'([a-z_]+)'/g)])
    .map((match) => match[1] ?? '');
  const answered = new Set<string>(OPERATIONS.flatMap(codesOf));
  expect(thrown.length).toBeGreaterThan(50);
  expect([...new Set(thrown)].filter((code) => !answered.has(code)).toSorted()).toEqual(elsewhere.toSorted());
});

it('lists each code of an operation at its status, once', () => {
  for (const operation of OPERATIONS) {
    const { responses } = document.paths[openApiPath(operation.route)]?.[operation.method] ?? { responses: undefined };
    const told = Object.entries(responses ?? {}).flatMap(([status, { content }]) => {
      const schema = content['application/problem+json']?.schema as
        | { properties: { status: { const: number }; code: { enum: ErrorCode[] } } }
        | undefined;
      if (schema === undefined) return [];
      expect(schema.properties.status.const).toBe(Number(status));
      for (const code of schema.properties.code.enum) expect(ERRORS[code].status, code).toBe(Number(status));
      return schema.properties.code.enum;
    });
    expect(told.toSorted(), operation.id).toEqual(codesOf(operation).toSorted());
  }
});

it('leads every reference somewhere', () => {
  const references = [...openApiText().matchAll(/"\$ref": "([^"]+)"/g)].map((match) => match[1] ?? '');
  expect(references.length).toBeGreaterThan(100);
  for (const reference of new Set(references)) {
    const parts = reference.replace(/^#\//, '').split('/');
    const found = parts.reduce<unknown>(
      (value, part) => (value as Record<string, unknown> | undefined)?.[part],
      document,
    );
    expect(found, reference).toBeDefined();
  }
});

it('describes what callers have to do', () => {
  for (const { operationId, summary, security, parameters } of operations) {
    expect(summary.length, operationId).toBeGreaterThan(5);
    for (const scheme of security.flatMap((one) => Object.keys(one)))
      expect(document.components.securitySchemes[scheme], operationId).toBeDefined();
    for (const parameter of parameters)
      if (!('$ref' in parameter)) expect(parameter.description.length, operationId).toBeGreaterThan(5);
  }
});
