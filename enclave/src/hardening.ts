/**
 * What a process of the enclave takes away from itself once its code is there and before anything of the host is read:
 * every way to more code, and every way to change what built-in objects do. Whoever finds a fault in what follows finds
 * it in a process that has nothing left to load.
 *
 * What only the kernel can take away is in the addon (shared/native/qv_process.c); what Node is started with, in
 * node-flags.ts.
 */
import Module from 'node:module';

/** Reached by the name of a global. The rest is reached from these, or named by REACHED_BY_SYNTAX. */
const ROOTS = [
  ...['Object', 'Function', 'Array', 'String', 'Number', 'Boolean', 'Symbol', 'BigInt', 'Date', 'RegExp', 'Promise'],
  ...['Map', 'Set', 'WeakMap', 'WeakSet', 'WeakRef', 'FinalizationRegistry', 'Proxy', 'Reflect', 'JSON', 'Math'],
  ...['Error', 'AggregateError', 'EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError', 'URIError'],
  ...['ArrayBuffer', 'SharedArrayBuffer', 'DataView', 'Uint8Array', 'Int8Array', 'Uint8ClampedArray', 'Uint16Array'],
  ...['Int16Array', 'Uint32Array', 'Int32Array', 'BigUint64Array', 'BigInt64Array', 'Float32Array', 'Float64Array'],
  ...['Atomics', 'Intl', 'Iterator', 'TextEncoder', 'TextDecoder', 'URL', 'URLSearchParams'],
] as const;

/** Intrinsics that no global names. */
const REACHED_BY_SYNTAX: readonly object[] = [
  async () => undefined,
  function* () {},
  async function* () {},
  [][Symbol.iterator](),
  new Map()[Symbol.iterator](),
  new Set()[Symbol.iterator](),
  ''[Symbol.iterator](),
  ''.matchAll(/x/g),
].map((value) => Object.getPrototypeOf(value) as object);

/** Of these, programs assign `name` and `message` to instances, which an inherited frozen value would forbid. */
const ERRORS = ['Error', 'AggregateError', 'EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError'];

/**
 * Freezes the language's built-in objects, their prototypes, and Buffer's: nothing that is read later can change what
 * `toString`, `then` or an index that is not there mean (prototype pollution). Attempts throw, as all code is strict.
 */
export function freezeIntrinsics(): void {
  const globals = globalThis as unknown as Record<string, unknown>;
  for (const name of ERRORS) assignable((globals[name] as ErrorConstructor).prototype);
  const seen = new Set<object>();
  const waiting: unknown[] = [...ROOTS.map((name) => globals[name]), ...REACHED_BY_SYNTAX, Buffer];
  for (let value = waiting.pop(); value !== undefined || waiting.length > 0; value = waiting.pop()) {
    if (!isObject(value) || value === globalThis || seen.has(value)) continue;
    seen.add(value);
    waiting.push(Object.getPrototypeOf(value));
    for (const key of Reflect.ownKeys(value)) {
      const { value: inner, get, set } = Object.getOwnPropertyDescriptor(value, key) ?? {};
      waiting.push(inner, get, set);
    }
  }
  for (const each of seen) if (!ArrayBuffer.isView(each)) Object.freeze(each);
}

const isObject = (value: unknown): value is object =>
  (typeof value === 'object' && value !== null) || typeof value === 'function';

/** Assigning to an instance makes a property of the instance, although the prototype is frozen. */
function assignable(prototype: object): void {
  for (const key of ['name', 'message']) {
    const value: unknown = Object.getOwnPropertyDescriptor(prototype, key)?.value;
    Object.defineProperty(prototype, key, {
      configurable: false,
      enumerable: false,
      get: () => value,
      set(this: object, given: unknown) {
        if (this === prototype) throw new TypeError(`${key} is frozen`);
        Object.defineProperty(this, key, { configurable: true, enumerable: true, writable: true, value: given });
      },
    });
  }
}

/** Of `process`: more native code, other programs in this one's place, debuggers, dumps of the heap. */
const PROCESS_DOORS = [
  ...['dlopen', 'binding', '_linkedBinding', 'getBuiltinModule', 'execve', 'loadEnvFile', '_debugProcess', '_debugEnd'],
];

/**
 * From here on this process loads no code: no module, no addon, no WebAssembly; strings never become code in any case
 * (--disallow-code-generation-from-strings). What is loaded already stays.
 */
export function sealModules(): void {
  const refuse = (): never => {
    throw new Error('no code is loaded after the start');
  };
  // What import() asks; no property of Module leads there.
  Module.registerHooks({ resolve: refuse, load: refuse });
  const module = Module as unknown as { readonly prototype: object };
  const nothing = Object.freeze(Object.create(null) as object);
  const doors: readonly (readonly [object, string, unknown])[] = [
    ...['_load', '_resolveFilename', 'runMain', 'register', 'registerHooks'].map(
      (key) => [module, key, refuse] as const,
    ),
    ...['_extensions', '_cache'].map((key) => [module, key, nothing] as const),
    ...['_compile', 'load', 'require'].map((key) => [module.prototype, key, refuse] as const),
    ...PROCESS_DOORS.map((key) => [process, key, refuse] as const),
    ...['report', 'mainModule'].map((key) => [process, key, undefined] as const),
  ];
  for (const [target, key, value] of doors) {
    Object.defineProperty(target, key, { configurable: false, enumerable: false, writable: false, value });
  }
  Object.freeze(module);
  Object.freeze(module.prototype);
  Reflect.deleteProperty(globalThis, 'WebAssembly');
}
