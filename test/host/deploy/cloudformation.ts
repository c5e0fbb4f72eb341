/**
 * Templates as CloudFormation would read them: parameters held against their patterns, intrinsic functions resolved.
 * Subset: what the templates in host/deploy/cloudformation use; anything else throws.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const TEMPLATES = join(import.meta.dirname, '..', '..', '..', 'host', 'deploy', 'cloudformation');

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonRecord = { readonly [key: string]: Json };

export interface Parameter {
  readonly Type: string;
  readonly Default?: string | number;
  readonly AllowedPattern?: string;
}

export interface Resource {
  readonly Type: string;
  readonly DependsOn?: string;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
  readonly Properties?: JsonRecord;
}

export interface Template {
  readonly Parameters: Readonly<Record<string, Parameter>>;
  readonly Conditions?: Readonly<Record<string, Json>>;
  readonly Resources: Readonly<Record<string, Resource>>;
  readonly Outputs: Readonly<Record<string, { readonly Value: Json }>>;
}

export function readTemplate(name: string): Template {
  return JSON.parse(readFileSync(join(TEMPLATES, name), 'utf8')) as Template;
}

/** What CloudFormation knows besides the parameters: `InstanceRole.Arn`, `AWS::Region`. */
export type Facts = Readonly<Record<string, string>>;

export interface Given {
  readonly parameters: Readonly<Record<string, string>>;
  readonly facts?: Facts;
}

/** The properties of one resource, resolved. */
export function propertiesOf(template: Template, logicalId: string, given: Given): JsonRecord {
  const resource = template.Resources[logicalId];
  if (resource === undefined) throw new Error(`no resource ${logicalId}`);
  return new Resolver(template, given).resolve(resource.Properties ?? {}) as JsonRecord;
}

const NOTHING = Symbol('AWS::NoValue');

class Resolver {
  readonly #template: Template;
  readonly #values: ReadonlyMap<string, string | readonly string[]>;
  readonly #facts: Facts;

  constructor(template: Template, { parameters, facts = {} }: Given) {
    this.#template = template;
    this.#facts = facts;
    for (const name of Object.keys(parameters)) {
      if (template.Parameters[name] === undefined) throw new Error(`no parameter ${name}`);
    }
    this.#values = new Map(
      Object.entries(template.Parameters).map(([name, parameter]) => [
        name,
        givenOrDefault(name, parameter, parameters[name]),
      ]),
    );
  }

  resolve(node: Json): Json {
    const value = this.#value(node);
    if (value === NOTHING) throw new Error('AWS::NoValue outside of a list or object');
    return value;
  }

  #value(node: Json): Json | typeof NOTHING {
    if (Array.isArray(node)) return (node as readonly Json[]).map((item) => this.#value(item)).filter(isJson);
    if (node === null || typeof node !== 'object') return node;
    const entries = Object.entries(node as JsonRecord);
    const [name, argument] = entries.length === 1 ? (entries[0] ?? []) : [];
    if (name === 'Ref') return this.#ref(String(argument));
    if (name?.startsWith('Fn::') === true) return this.#call(name, argument ?? null);
    const members = entries.map(([key, value]) => [key, this.#value(value)] as const);
    return Object.fromEntries(members.filter((member): member is readonly [string, Json] => isJson(member[1])));
  }

  #ref(name: string): Json | typeof NOTHING {
    if (name === 'AWS::NoValue') return NOTHING;
    const value = this.#values.get(name) ?? this.#facts[name];
    if (value === undefined) throw new Error(`Ref ${name}`);
    return value;
  }

  #call(name: string, argument: Json): Json | typeof NOTHING {
    const list = Array.isArray(argument) ? (argument as readonly Json[]) : [];
    switch (name) {
      case 'Fn::If':
        return this.#value((this.#condition(String(list[0])) ? list[1] : list[2]) ?? null);
      case 'Fn::Not':
        return this.resolve(list[0] ?? null) !== true;
      case 'Fn::Equals':
        return JSON.stringify(this.resolve(list[0] ?? null)) === JSON.stringify(this.resolve(list[1] ?? null));
      case 'Fn::Join':
        return (this.resolve(list[1] ?? null) as readonly string[]).join(String(list[0]));
      case 'Fn::GetAtt':
        return this.#ref(list.join('.'));
      case 'Fn::Sub':
        return String(argument).replace(/\$\{([^}]+)\}/g, (_whole, inner: string) => String(this.#ref(inner)));
      default:
        throw new Error(name);
    }
  }

  #condition(name: string): boolean {
    const condition = this.#template.Conditions?.[name];
    if (condition === undefined) throw new Error(`Condition ${name}`);
    return this.resolve(condition) === true;
  }
}

const isJson = (value: Json | typeof NOTHING): value is Json => value !== NOTHING;

function givenOrDefault(name: string, parameter: Parameter, given: string | undefined): string | readonly string[] {
  const text = given ?? parameter.Default;
  if (text === undefined) throw new Error(`parameter ${name} is missing`);
  const values = parameter.Type === 'CommaDelimitedList' ? String(text).split(',') : [String(text)];
  // CloudFormation holds the whole value against the pattern, and each element of a list.
  const pattern = new RegExp(`^(?:${parameter.AllowedPattern ?? '[^]*'})$`);
  for (const value of values) {
    if (!pattern.test(value)) throw new Error(`parameter ${name}: '${value}' does not match ${pattern.source}`);
  }
  return parameter.Type === 'CommaDelimitedList' ? values : String(text);
}
