/** policy.schema.json as components of the document: its definitions under names of their own, references led there. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Schema } from './operation.ts';

const FILE = fileURLToPath(import.meta.resolve('@quantumvault/shared/policy/policy.schema.json'));

/** `Policy`, and `PolicyWindow` and the like for what it refers to. */
export function policySchemas(): Record<string, Schema> {
  const { $schema: _dialect, $id: _id, $defs, ...policy } = JSON.parse(readFileSync(FILE, 'utf8')) as Schema;
  const definitions = Object.entries($defs as Readonly<Record<string, Schema>>);
  return Object.fromEntries(
    [['', policy] as const, ...definitions].map(([name, schema]) => [componentName(name), led(schema) as Schema]),
  );
}

const componentName = (name: string): string => `Policy${name.charAt(0).toUpperCase()}${name.slice(1)}`;

function led(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(led);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      if (key !== '$ref' || typeof inner !== 'string') return [key, led(inner)];
      return [key, `#/components/schemas/${componentName(inner.replace('#/$defs/', ''))}`];
    }),
  );
}
