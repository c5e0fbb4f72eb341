/** As much of JSON Schema 2020-12 as policy.schema.json uses; a keyword it does not know is an error. */
type Schema = Readonly<Record<string, unknown>>;
type Check = (argument: never, value: unknown, schema: Schema, root: Schema) => boolean;

const isObject = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isType = (type: string, value: unknown): boolean =>
  ({
    object: isObject(value),
    array: Array.isArray(value),
    string: typeof value === 'string',
    boolean: typeof value === 'boolean',
    integer: Number.isInteger(value),
  })[type] ?? false;
const each = (value: unknown, test: (item: unknown) => boolean): boolean => !Array.isArray(value) || value.every(test);
const count = (schemas: readonly Schema[], value: unknown, root: Schema): number =>
  schemas.filter((schema) => validates(schema, value, root)).length;

const CHECKS: Readonly<Record<string, Check>> = {
  type: (type: string, value) => isType(type, value),
  const: (expected: unknown, value) => value === expected,
  enum: (choices: readonly unknown[], value) => choices.includes(value),
  pattern: (pattern: string, value) => typeof value !== 'string' || new RegExp(pattern, 'u').test(value),
  minimum: (least: number, value) => typeof value !== 'number' || value >= least,
  maximum: (most: number, value) => typeof value !== 'number' || value <= most,
  minItems: (least: number, value) => !Array.isArray(value) || value.length >= least,
  maxItems: (most: number, value) => !Array.isArray(value) || value.length <= most,
  uniqueItems: (_: true, value) =>
    !Array.isArray(value) || new Set(value.map((item) => JSON.stringify(item))).size === value.length,
  items: (schema: Schema, value, _, root) => each(value, (item) => validates(schema, item, root)),
  required: (keys: readonly string[], value) => !isObject(value) || keys.every((key) => Object.hasOwn(value, key)),
  properties: (schemas: Readonly<Record<string, Schema>>, value, _, root) =>
    !isObject(value) ||
    Object.entries(schemas).every(([key, schema]) => !Object.hasOwn(value, key) || validates(schema, value[key], root)),
  additionalProperties: (rest: Schema | false, value, { properties = {} }, root) =>
    !isObject(value) ||
    Object.keys(value)
      .filter((key) => !Object.hasOwn(properties as object, key))
      .every((key) => rest !== false && validates(rest, value[key], root)),
  propertyNames: (schema: Schema, value, _, root) =>
    !isObject(value) || Object.keys(value).every((key) => validates(schema, key, root)),
  dependentRequired: (needs: Readonly<Record<string, readonly string[]>>, value) =>
    !isObject(value) ||
    Object.entries(needs).every(
      ([key, others]) => !Object.hasOwn(value, key) || others.every((other) => Object.hasOwn(value, other)),
    ),
  not: (schema: Schema, value, _, root) => !validates(schema, value, root),
  oneOf: (schemas: readonly Schema[], value, _, root) => count(schemas, value, root) === 1,
  anyOf: (schemas: readonly Schema[], value, _, root) => count(schemas, value, root) > 0,
  allOf: (schemas: readonly Schema[], value, _, root) => count(schemas, value, root) === schemas.length,
  $ref: (pointer: string, value, _, root) => {
    const defs = root['$defs'] as Readonly<Record<string, Schema>>;
    const schema = defs[pointer.replace('#/$defs/', '')];
    if (schema === undefined) throw new Error(`no ${pointer}`);
    return validates(schema, value, root);
  },
};
const ANNOTATIONS = ['$schema', '$id', '$comment', '$defs', 'title', 'description'];

export function validates(schema: Schema, value: unknown, root: Schema = schema): boolean {
  return Object.entries(schema).every(([keyword, argument]) => {
    if (ANNOTATIONS.includes(keyword)) return true;
    const check = CHECKS[keyword];
    if (check === undefined) throw new Error(`unknown keyword ${keyword}`);
    return check(argument as never, value, schema, root);
  });
}
