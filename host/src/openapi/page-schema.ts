/** Schemas as people read them: what form a value has, and the members of an object as a table. */
import type { Schema } from './operation.ts';

export function escaped(value: unknown): string {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return String(value).replace(/[&<>"]/g, (character) => entities[character] ?? character);
}

export const code = (value: unknown): string => `<code>${escaped(value)}</code>`;

/** As much of Markdown as our descriptions use: paragraphs, lists with hyphens, and code. */
export function prose(text: string): string {
  const inline = (line: string): string =>
    escaped(line).replace(/`([^`]+)`/g, (_match, inner: string) => `<code>${inner}</code>`);
  return text
    .split('\n\n')
    .map((block) => {
      const lines = block.split('\n');
      if (!lines.every((line) => line.startsWith('- '))) return `<p>${inline(block)}</p>`;
      return `<ul>${lines.map((line) => `<li>${inline(line.slice(2))}</li>`).join('')}</ul>`;
    })
    .join('');
}

export const table = (heads: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<table><thead><tr>${heads.map((head) => `<th>${head}</th>`).join('')}</tr></thead><tbody>${rows
    .map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join('')}</tr>`)
    .join('')}</tbody></table>`;

const list = (value: unknown): readonly Schema[] => (Array.isArray(value) ? value : []);
const object = (value: unknown): Readonly<Record<string, Schema>> => (value ?? {}) as Record<string, Schema>;

/** In a few words, with links to what has a name. */
export function form(schema: Schema): string {
  const { $ref, oneOf, items, type, properties, pattern } = schema;
  if (typeof $ref === 'string') return link($ref.split('/').at(-1) ?? '');
  if ('const' in schema) return code(JSON.stringify(schema['const']));
  if (Array.isArray(schema['enum'])) return schema['enum'].map((value) => code(JSON.stringify(value))).join(' or ');
  if (Array.isArray(oneOf)) return list(oneOf).map(form).join(' or ');
  if (type === 'array') return `list${range(schema, 'Items')} of ${form((items ?? {}) as Schema)}`;
  if (type === 'object' && properties === undefined) return mapForm(schema);
  const words = [escaped(type ?? 'anything'), range(schema, 'Length'), range(schema, 'imum')].join('');
  return pattern === undefined ? words : `${words} ${code(pattern)}`;
}

export const link = (name: string): string => `<a href="#schema-${escaped(name)}">${escaped(name)}</a>`;

function mapForm({ additionalProperties, propertyNames }: Schema): string {
  if (typeof additionalProperties !== 'object') return 'object';
  const key = propertyNames === undefined ? 'name' : form(propertyNames as Schema);
  return `object: ${key} → ${form(additionalProperties as Schema)}`;
}

function range(schema: Schema, of: 'Items' | 'Length' | 'imum'): string {
  const [least, most] = [schema[`min${of}`], schema[`max${of}`]];
  if (least === undefined && most === undefined) return '';
  const unit = of === 'Length' ? ' characters' : '';
  if (most === undefined) return `, at least ${escaped(least)}${unit}`;
  return `, ${least === undefined ? 'at most' : `${escaped(least)} to`} ${escaped(most)}${unit}`;
}

/** The members of an object, and of each form that it may have; else its form. */
export function details(schema: Schema): string {
  const forms = list(schema['oneOf']).filter((one) => one['$ref'] === undefined);
  if (forms.length > 0 && forms.length === list(schema['oneOf']).length) {
    return forms
      .map((one, at) => `<p class="soft">${escaped(one['title'] ?? `Form ${at + 1}`)}</p>${details(one)}`)
      .join('');
  }
  const members = Object.entries(object(schema['properties']));
  if (members.length === 0) return `<p>${form(schema)}</p>`;
  const required = (schema['required'] ?? []) as readonly string[];
  const rows = members.flatMap(([name, member]) => memberRows(name, member, required.includes(name)));
  return table(['member', 'form', 'meaning'], rows);
}

/** A member, and below it the members of an object that has no name of its own. */
function memberRows(name: string, schema: Schema, isRequired: boolean): string[][] {
  const { description } = schema;
  const title = `${code(name)}${isRequired ? '' : ' <span class="soft">optional</span>'}`;
  const inner = schema['type'] === 'array' ? (schema['items'] as Schema | undefined) : schema;
  const prefix = schema['type'] === 'array' ? `${name}[].` : `${name}.`;
  const required = (inner?.['required'] ?? []) as readonly string[];
  const below = Object.entries(object(inner?.['properties']));
  return [
    [title, form(schema), typeof description === 'string' ? prose(description) : ''],
    ...below.flatMap(([key, member]) => memberRows(prefix + key, member, required.includes(key))),
  ];
}
