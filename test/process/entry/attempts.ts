/**
 * What somebody who got to run code in a process would try next, without system calls of his own. Each attempt succeeds
 * in an ordinary process: a test says so.
 */
import { join } from 'node:path';

// What a CommonJS bundle has in scope.
declare const require: ((name: string) => unknown) & { readonly cache: unknown };
declare const module: { require(name: string): unknown; readonly constructor: never };

/** Not literals: a bundler would look them up. */
const VM = ['node', 'vm'].join(':');
const SELF = join(__dirname, 'more.cjs');
const ADDON = join(__dirname, 'sodium-native.node');

interface Loader {
  new (id: string): { _compile(code: string, file: string): unknown };
  _load(name: string): unknown;
  _extensions: Record<string, (module: unknown, file: string) => void>;
  createRequire(file: string): (name: string) => unknown;
  register(specifier: string): void;
}
const loader = (): Loader => module.constructor;
const inner = process as unknown as Record<string, (...values: unknown[]) => unknown>;
const pollute = (target: object, key: string): void => {
  (target as Record<string, unknown>)[key] = () => 'polluted';
  Reflect.deleteProperty(target, key);
};
/** Assigns the value that is there already, so that an ordinary process goes on. */
const replace = (target: object, key: string | symbol): void => {
  const object = target as Record<string | symbol, unknown>;
  const value = object[key];
  object[key] = value;
};

export const ATTEMPTS: Readonly<Record<string, () => unknown>> = {
  eval: () => Reflect.get(globalThis, 'eval')('1'),
  'new Function': () => new Function('return 1'),
  'constructor of an async function': () => (async () => undefined).constructor('return 1'),
  'constructor of a generator': () => function* () {}.constructor('yield 1'),
  WebAssembly: () =>
    (globalThis as unknown as { WebAssembly: { Module: new (b: Uint8Array) => unknown } }).WebAssembly.Module,
  'require of a module of Node': () => require(VM),
  'require of a file': () => require(SELF),
  'module.require': () => module.require(VM),
  'Module._load': () => loader()._load(VM),
  'Module.createRequire': () => loader().createRequire(SELF)(VM),
  'Module._compile': () => new (loader())('x')._compile('globalThis.compiled = 1', 'x.js'),
  'Module._extensions': () =>
    loader()._extensions['.js']?.(new (loader())('x'), SELF) ?? orFail(loader()._extensions['.js']),
  'import() of a module of Node': () => import(VM),
  'import() of a file': () => import(SELF),
  'process.getBuiltinModule': () => inner['getBuiltinModule']?.(VM),
  'process.dlopen': () => inner['dlopen']?.({ exports: {} }, ADDON),
  'process.binding': () => inner['binding']?.('natives'),
  'process.report': () => orFail(process.report?.getReport()),
  'putting process.dlopen back': () =>
    Object.defineProperty(process, 'dlopen', { value: inner['dlopen'], configurable: true, writable: true }),
  'putting Module._load back': () => replace(loader(), '_load'),
  'property of every object': () => pollute(Object.prototype, 'polluted'),
  'property by way of constructor.prototype': () => pollute(JSON.parse('{}').constructor.prototype, 'polluted'),
  '__proto__ of a value': () => pollute(Reflect.get({}, '__proto__'), 'polluted'),
  'Object.prototype.toString': () => replace(Object.prototype, 'toString'),
  'Object.prototype.hasOwnProperty': () => replace(Object.prototype, 'hasOwnProperty'),
  'Array.prototype.map': () => replace(Array.prototype, 'map'),
  'index of every array': () => pollute(Array.prototype, '7'),
  'iteration of arrays': () => replace(Object.getPrototypeOf([][Symbol.iterator]()), 'next'),
  'Function.prototype.call': () => replace(Function.prototype, 'call'),
  'Promise.prototype.then': () => replace(Promise.prototype, 'then'),
  'Map.prototype.get': () => replace(Map.prototype, 'get'),
  'Set.prototype.has': () => replace(Set.prototype, 'has'),
  'String.prototype.slice': () => replace(String.prototype, 'slice'),
  'RegExp.prototype.exec': () => replace(RegExp.prototype, 'exec'),
  'Uint8Array.prototype': () => pollute(Uint8Array.prototype, 'polluted'),
  'subarray of typed arrays': () => replace(Object.getPrototypeOf(Uint8Array.prototype), 'subarray'),
  'Buffer.prototype.equals': () => replace(Buffer.prototype, 'equals'),
  'Buffer.from': () => replace(Buffer, 'from'),
  'BigInt.prototype': () => pollute(BigInt.prototype, 'polluted'),
  'Error.prototype.message': () => replace(Error.prototype, 'message'),
  'TypeError.prototype.name': () => replace(TypeError.prototype, 'name'),
  'JSON.parse': () => replace(JSON, 'parse'),
  'Object.freeze': () => replace(Object, 'freeze'),
  'Reflect.ownKeys': () => replace(Reflect, 'ownKeys'),
  'Math.random': () => replace(Math, 'random'),
};

function orFail(value: unknown): unknown {
  if (value === undefined) throw new Error('not there');
  return value;
}

/** By attempt: what stopped it, or `succeeded`. */
export async function tryAll(): Promise<Record<string, string>> {
  const outcomes: Record<string, string> = {};
  for (const [name, attempt] of Object.entries(ATTEMPTS)) {
    try {
      await attempt();
      outcomes[name] = 'succeeded';
    } catch (error) {
      outcomes[name] = error instanceof Error ? error.name : 'stopped';
    }
  }
  return outcomes;
}
