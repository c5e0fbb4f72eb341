/**
 * What the modules of a bundle can reach beyond their own values: modules of Node and which of their members, members
 * of `process` and of the global object, globals that are no plain values, code made of strings or loaded.
 *
 * It reads the syntax tree of the bundle, so what runs, not the sources. A name counts where it is written; a value
 * that leaves the module whole (`process` handed to a function) is the capability `process *`. What it does not see are
 * members of plain values by a computed name. What could be reached so is `Function`, as somebody's `constructor`, and
 * Node is started with a flag that has it make no code of strings.
 */
import type { AnyNode } from 'acorn';
import { type Binding, visitScript } from './scope.ts';

/** By source file, or name of the package: capabilities, sorted. What has none is not in it. */
export type Capabilities = Map<string, string[]>;

/** Globals that compute, wait or hold bytes, and reach nothing. `Function` and `eval` are not among them. */
const PLAIN = new Set(
  `undefined NaN Infinity Object Array String Number BigInt Boolean Symbol Math JSON Date RegExp Map Set WeakMap WeakSet
  WeakRef FinalizationRegistry Promise Proxy Reflect Iterator Intl
  Error TypeError RangeError SyntaxError EvalError URIError ReferenceError AggregateError
  ArrayBuffer SharedArrayBuffer DataView Atomics Uint8Array Uint8ClampedArray Uint16Array Uint32Array Int8Array Int16Array
  Int32Array Float32Array Float64Array BigInt64Array BigUint64Array
  parseInt parseFloat isNaN isFinite encodeURIComponent decodeURIComponent encodeURI decodeURI escape unescape
  Buffer TextEncoder TextDecoder atob btoa URL URLSearchParams structuredClone performance
  setTimeout clearTimeout setInterval clearInterval setImmediate clearImmediate queueMicrotask
  AbortController AbortSignal Event EventTarget DOMException
  ReadableStream WritableStream TransformStream Blob File FormData Headers CompressionStream DecompressionStream`.split(
    /\s+/,
  ),
);

/** What holds further globals by name. */
const HOLDERS: Readonly<Record<string, true>> = { globalThis: true, global: true, process: true };

/**
 * @param text a bundle, strict code
 * @param inputs the files that the bundler says are in it
 * @throws Error when it is not strict code; SyntaxError
 */
export function capabilitiesOf(text: string, inputs: readonly string[]): Capabilities {
  if (!text.startsWith('"use strict";')) throw new Error('the bundle is not strict code');
  const fileAt = filesOf(text, inputs);
  const found = new Map<string, Set<string>>();
  const note = (node: AnyNode, what: string | undefined): void => {
    if (what === undefined) return;
    const owner = ownerOf(fileAt(node.start));
    found.set(owner, (found.get(owner) ?? new Set()).add(what));
  };
  visitScript(text, {
    enter(node, ancestors) {
      if (node.type === 'ImportExpression') {
        note(node, `import(${node.source.type === 'Literal' ? String(node.source.value) : '*'})`);
      }
      if (node.type === 'MemberExpression' && memberName(node) === 'constructor') note(node, '.constructor');
      if (!isRequire(node)) return;
      note(node, `require ${moduleOf(node)}`);
      for (const what of uses(moduleOf(node), node, ancestors)) note(node, what);
    },
    reference(name, binding, ancestors, node) {
      const parent = ancestors.at(-1);
      if (isTypeof(parent)) return;
      if (binding !== undefined) {
        if (parent?.type === 'VariableDeclarator' && parent.id === node) return;
        for (const module of modulesIn(binding)) for (const what of uses(module, node, ancestors)) note(node, what);
      } else if (name === 'require') {
        if (parent === undefined || !isRequire(parent)) note(node, 'require *');
      } else if (name in HOLDERS) note(node, held(name, node, ancestors));
      else if (!PLAIN.has(name)) note(node, `global ${name}`);
    },
  });
  return new Map(
    [...found].map(([owner, set]) => [owner, [...set].sort()] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** The bundler writes `// <file>` at the beginning of a line before the code of each file. */
function filesOf(text: string, inputs: readonly string[]): (offset: number) => string {
  const starts = [...text.matchAll(/^\/\/ (.+)$/gm)]
    .filter((match) => inputs.includes(match[1] ?? ''))
    .map((match) => ({ from: match.index, file: match[1] ?? '' }));
  return (offset) => starts.findLast(({ from }) => from <= offset)?.file ?? 'the bundler';
}

/** A package by its name, a file of ours by its path. */
export function ownerOf(input: string): string {
  return /^node_modules\/(?:.*\/node_modules\/)?((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? input;
}

/** The literal name of a member, however it is written. */
function memberName(node: AnyNode & { type: 'MemberExpression' }): string | undefined {
  const { property, computed } = node;
  if (!computed) return property.type === 'Identifier' ? property.name : undefined;
  return property.type === 'Literal' ? String(property.value) : undefined;
}

const isRequire = (node: AnyNode): node is AnyNode & { type: 'CallExpression' } =>
  node.type === 'CallExpression' &&
  node.callee.type === 'Identifier' &&
  node.callee.name === 'require' &&
  node.arguments.length === 1 &&
  node.arguments[0]?.type === 'Literal';

function moduleOf(node: AnyNode & { type: 'CallExpression' }): string {
  const [argument] = node.arguments;
  const name = argument?.type === 'Literal' ? String(argument.value) : '*';
  return name.startsWith('.') || name.startsWith('node:') ? name : `node:${name}`;
}

/** What is taken of an object that holds globals; undefined when that is plain. */
function held(name: string, node: AnyNode, ancestors: readonly AnyNode[]): string | undefined {
  const parent = ancestors.at(-1);
  const member = parent?.type === 'MemberExpression' && parent.object === node ? memberName(parent) : undefined;
  if (member === undefined || parent === undefined) return `${name} *`;
  const above = ancestors.slice(0, -1);
  if (name === 'process') return `process.${member}`;
  if (isTypeof(above.at(-1)) || PLAIN.has(member)) return undefined;
  return member in HOLDERS ? held(member, parent, above) : `global ${member}`;
}

/** Asks whether there is such a thing, no more. */
const isTypeof = (node: AnyNode | undefined): boolean => node?.type === 'UnaryExpression' && node.operator === 'typeof';

/** Modules that a variable holds whole, when all that it is initialised with is the call that loads them. */
function modulesIn({ inits }: Binding): string[] {
  return inits.map((init) => bare(init as AnyNode)).flatMap((init) => (isRequire(init) ? [moduleOf(init)] : []));
}

/** What the bundler's `__toESM(…)` wraps. */
function bare(node: AnyNode): AnyNode {
  const isWrapper =
    node.type === 'CallExpression' && node.callee.type === 'Identifier' && node.callee.name === '__toESM';
  return isWrapper && node.arguments[0] !== undefined ? (node.arguments[0] as AnyNode) : node;
}

/** What is taken of a module at a place where it stands whole. Nothing where it is put into a variable, whose uses follow. */
function uses(module: string, node: AnyNode, ancestors: readonly AnyNode[]): string[] {
  const parent = ancestors.at(-1);
  const above = ancestors.slice(0, -1);
  if (parent === undefined || parent.type === 'ExpressionStatement') return [];
  if (bare(parent) === node && parent !== node) return uses(module, parent, above);
  if (parent.type === 'MemberExpression' && parent.object === node) {
    const name = memberName(parent);
    if (name === 'default') return uses(module, parent, above);
    return [name === undefined ? `${module} *` : `${module}.${name}`];
  }
  if (parent.type === 'VariableDeclarator' && parent.init === node) {
    if (parent.id.type === 'Identifier') return [];
    if (parent.id.type === 'ObjectPattern') {
      return parent.id.properties.map((property) =>
        property.type === 'Property' && !property.computed && property.key.type === 'Identifier'
          ? `${module}.${property.key.name}`
          : `${module} *`,
      );
    }
  }
  return [`${module} *`];
}

/** What differs between a bundle and what it may reach, one line each. @param allowed owner to capabilities */
export function capabilityFindings(
  found: Capabilities,
  allowed: Readonly<Record<string, readonly string[]>>,
): string[] {
  const owners = [...new Set([...found.keys(), ...Object.keys(allowed)])].sort();
  return owners.flatMap((owner) => {
    const has = found.get(owner) ?? [];
    const may = allowed[owner] ?? [];
    return [
      ...has.filter((what) => !may.includes(what)).map((what) => `${owner}: reaches ${what}, which is not allowed`),
      ...may.filter((what) => !has.includes(what)).map((what) => `${owner}: no longer reaches ${what}: take it off`),
    ];
  });
}
