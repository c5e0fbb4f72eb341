/** GET /v1/openapi.json and GET /docs: what there is to ask, for programs and for people. */
import type { FastifyInstance } from 'fastify';
import { openApiDocument } from '../openapi/document.ts';
import { referencePage } from '../openapi/page.ts';

// Here, before a host measures how late its event loop is: it takes some tens of milliseconds.
const document = openApiDocument();
const json = JSON.stringify(document);
const { html, policy } = referencePage(document);

interface Route {
  readonly method: string;
  readonly url: string;
}

const ROUTES = new WeakMap<FastifyInstance, Route[]>();

/** Before the other routes, so that routesOf knows them. */
export function referenceRoutes(app: FastifyInstance): void {
  const routes: Route[] = [];
  ROUTES.set(app, routes);
  app.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) routes.push({ method: one, url });
  });
  app.get('/v1/openapi.json', async (_request, reply) => reply.type('application/json').send(json));
  app.get('/docs', async (_request, reply) =>
    reply
      .headers({
        'content-security-policy': policy,
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
      })
      .type('text/html; charset=utf-8')
      .send(html),
  );
}

/** Every route of an app, by method and Fastify's pattern: what has to be in the document. */
export function routesOf(app: FastifyInstance): readonly Route[] {
  return ROUTES.get(app) ?? [];
}
