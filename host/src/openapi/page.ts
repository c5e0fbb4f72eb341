/**
 * The reference page, made of the document: one page without scripts, allowed nothing but its own style. Renderers that
 * others publish are a megabyte and more of script, and want inline styles or `eval` of the policy.
 */
import { createHash } from 'node:crypto';
import { PROBLEM_TYPE } from '../problem.ts';
import type { OpenApiDocument, OpenApiOperation, Reference } from './document.ts';
import type { Content, Parameter } from './operation.ts';
import { code, details, escaped, form, link, prose, table } from './page-schema.ts';
import { STYLE } from './page-style.ts';

export interface ReferencePage {
  readonly html: string;
  /** Its Content-Security-Policy. */
  readonly policy: string;
}

export function referencePage(document: OpenApiDocument): ReferencePage {
  const hash = createHash('sha256').update(STYLE).digest('base64');
  const policy = [
    "default-src 'none'",
    `style-src 'sha256-${hash}'`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  return { html: html(document), policy: policy.join('; ') };
}

interface Listed {
  readonly path: string;
  readonly method: string;
  readonly operation: OpenApiOperation;
}

function html(document: OpenApiDocument): string {
  const { info, tags, paths, components } = document;
  const listed = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): Listed => ({ path, method, operation })),
  );
  const groups = tags.map((tag) => ({
    ...tag,
    listed: listed.filter(({ operation }) => operation.tags.includes(tag.name)),
  }));
  const body = [
    `<h1>${escaped(info.title)}: HTTP reference</h1>`,
    `<p class="soft">Version ${escaped(info.version)}. The same for programs: <a href="/v1/openapi.json">/v1/openapi.json</a> (OpenAPI 3.1).</p>`,
    prose(info.description),
    ...groups.flatMap(({ name, description, listed: own }) => [
      `<h2 id="tag-${escaped(name)}">${escaped(title(name))}</h2>${prose(description)}`,
      ...own.map((one) => operationHtml(one, document)),
      ...(name === 'alerts' ? [alertHtml(document)] : []),
    ]),
    '<h2 id="headers">Header fields of replies</h2>',
    table(
      ['field', 'meaning'],
      Object.entries(components.headers).map(([name, { description }]) => [code(name), prose(description)]),
    ),
    '<h2 id="schemas">Schemas</h2>',
    ...Object.entries(components.schemas).map(
      ([name, schema]) =>
        `<section class="schema" id="schema-${escaped(name)}"><h3>${escaped(name)}</h3>${
          typeof schema['description'] === 'string' ? prose(schema['description']) : ''
        }${name === 'ErrorCode' ? '<p><a href="#errors">The table of errors</a></p>' : details(schema)}</section>`,
    ),
    errorsHtml(document),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(info.title)}: HTTP reference</title>
<style>${STYLE}</style>
</head>
<body>
<div class="page">
<nav aria-label="Operations">${groups.map(({ name, listed: own }) => navHtml(name, own)).join('')}<ul>
<li><a href="#headers">Header fields</a></li><li><a href="#schemas">Schemas</a></li><li><a href="#errors">Errors</a></li>
</ul></nav>
<main>
${body.join('\n')}
</main>
</div>
</body>
</html>
`;
}

const title = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

function navHtml(tag: string, listed: readonly Listed[]): string {
  const items = listed.map(
    ({ path, method, operation }) =>
      `<li><a href="#${escaped(operation.operationId)}">${method.toUpperCase()} ${escaped(path)}</a></li>`,
  );
  if (tag === 'alerts') items.push('<li><a href="#alert">POST to you</a></li>');
  return `<strong>${escaped(title(tag))}</strong><ul>${items.join('')}</ul>`;
}

function operationHtml({ path, method, operation }: Listed, document: OpenApiDocument): string {
  const { operationId, summary, description, parameters, requestBody, responses, security } = operation;
  const schemes = security.flatMap((one) => Object.keys(one));
  return [
    `<section class="operation" id="${escaped(operationId)}">`,
    `<h3><span class="method">${method.toUpperCase()}</span> ${code(path)}</h3>`,
    `<p>${escaped(summary)}.</p>`,
    description === undefined ? '' : prose(description),
    '<h4>Parameters</h4>',
    table(
      ['name', 'in', 'form', 'meaning'],
      [
        ...schemes.map((scheme) => schemeRow(scheme, document)),
        ...parameters.map((parameter) => parameterRow(resolved(parameter, document))),
      ],
    ),
    requestBody === undefined
      ? ''
      : `<h4>Body</h4>${prose(requestBody.description)}${contentHtml(requestBody.content)}`,
    ...Object.entries(responses).map(([status, { description: text, content }]) => responseHtml(status, text, content)),
    '</section>',
  ].join('\n');
}

function alertHtml({ webhooks }: OpenApiDocument): string {
  const { operationId, summary, description, requestBody } = webhooks.alert.post;
  return [
    `<section class="operation" id="${operationId}">`,
    `<h3><span class="method">POST</span> to an endpoint of yours</h3>`,
    `<p>${escaped(summary)}.</p>${prose(description)}`,
    `<h4>Body</h4>${contentHtml(requestBody.content)}`,
    '</section>',
  ].join('\n');
}

function schemeRow(scheme: string, { components }: OpenApiDocument): string[] {
  const { name, in: place, description } = components.securitySchemes[scheme] ?? {};
  return [code(name), escaped(place), 'string', prose(description ?? '')];
}

function parameterRow({ name, in: place, required, schema, description }: Parameter): string[] {
  const optional = required ? '' : ' <span class="soft">optional</span>';
  return [code(name) + optional, place, form(schema), prose(description)];
}

function resolved(parameter: Parameter | Reference, { components }: OpenApiDocument): Parameter {
  if (!('$ref' in parameter)) return parameter;
  const named = components.parameters[parameter.$ref.split('/').at(-1) ?? ''];
  if (named === undefined) throw new Error(`${parameter.$ref} leads nowhere`);
  return named;
}

function responseHtml(status: string, description: string, content: Content): string {
  const { [PROBLEM_TYPE]: problem, ...replies } = content;
  const codes =
    (problem?.schema?.['properties'] as { code?: { enum?: readonly string[] } } | undefined)?.code?.enum ?? [];
  const links = codes.map((name) => `<a href="#error-${escaped(name)}">${code(name)}</a>`).join(', ');
  if (Object.keys(replies).length === 0) return `<h4>${code(status)}</h4><p>${links}</p>`;
  const refused = links === '' ? '' : `<p>${link('Problem')}: ${links}</p>`;
  return `<h4>${code(status)}</h4>${codes.length === 0 ? prose(description) : ''}${contentHtml(replies)}${refused}`;
}

function contentHtml(content: Content): string {
  return Object.entries(content)
    .map(([type, { schema, example }]) => {
      const shape = schema === undefined ? '' : details(schema);
      const shown = example === undefined ? '' : `<pre>${escaped(JSON.stringify(example, undefined, 2))}</pre>`;
      return `<p class="soft">${escaped(type)}</p>${shape}${shown}`;
    })
    .join('');
}

function errorsHtml({ 'x-error-codes': entries, components }: OpenApiDocument): string {
  const ofHttp = components.schemas['ErrorCode']?.['enum'] as readonly string[];
  const rows = (isOfHttp: boolean): string[][] =>
    entries
      .filter(({ code: name }) => ofHttp.includes(name) === isOfHttp)
      .map(({ code: name, status, retryable, meaning }) => [
        `<span id="error-${escaped(name)}">${code(name)}</span>`,
        String(status),
        retryable ? 'yes' : 'no',
        prose(meaning),
      ]);
  const heads = ['code', 'status', 'retryable', 'meaning'];
  return `<h2 id="errors">Errors</h2>${table(heads, rows(true))}
<details><summary>Codes of the SDK, of qv, of audits, and between the parts of the appliance</summary>${table(heads, rows(false))}</details>`;
}
