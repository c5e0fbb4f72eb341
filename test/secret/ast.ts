/** The syntax tree that the rule reads: ESTree with TypeScript's nodes, as Vite's parser gives it. */
import { parseAst } from 'vitest/node';

/** The members of all kinds of node that the rule looks at. Which ones there are depends on `type`. */
export interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly name?: string;
  readonly value?: unknown;
  readonly kind?: string;
  readonly operator?: string;
  readonly computed?: boolean;
  readonly async?: boolean;
  readonly generator?: boolean;
  readonly accessibility?: string | null;
  readonly id?: Node | null;
  readonly key?: Node;
  readonly local?: Node;
  readonly object?: Node;
  readonly property?: Node;
  readonly callee?: Node;
  readonly tag?: Node;
  readonly quasi?: Node;
  readonly argument?: Node | null;
  readonly expression?: Node;
  readonly left?: Node;
  readonly right?: Node;
  readonly test?: Node | null;
  readonly consequent?: Node;
  readonly alternate?: Node | null;
  readonly discriminant?: Node;
  readonly init?: Node | null;
  readonly body?: Node | readonly Node[] | null;
  readonly param?: Node | null;
  readonly parameter?: Node;
  readonly declaration?: Node | null;
  readonly source?: Node | null;
  readonly typeAnnotation?: Node | null;
  readonly typeName?: Node;
  readonly typeArguments?: Node | null;
  readonly elementType?: Node;
  readonly params?: readonly Node[];
  readonly types?: readonly Node[];
  readonly arguments?: readonly Node[];
  readonly expressions?: readonly Node[];
  readonly elements?: readonly (Node | null)[];
  readonly properties?: readonly Node[];
  readonly specifiers?: readonly Node[];
}

/** @throws SyntaxError */
export function parse(text: string): Node {
  return parseAst(text, { lang: 'ts' }) as unknown as Node;
}

/** Types say nothing of values; annotations are read where a name is declared. */
const TYPES = new Set(['typeAnnotation', 'typeParameters', 'typeArguments', 'returnType', 'superTypeArguments']);

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as Node).type === 'string';
}

export function childrenOf(node: Node): readonly Node[] {
  return Object.entries(node).flatMap(([key, value]) =>
    TYPES.has(key) ? [] : Array.isArray(value) ? value.filter(isNode) : isNode(value) ? [value] : [],
  );
}

/** Wrappers that leave a value as it is. */
const TRANSPARENT = new Set([
  'TSAsExpression',
  'TSNonNullExpression',
  'TSSatisfiesExpression',
  'TSTypeAssertion',
  'TSInstantiationExpression',
  'ParenthesizedExpression',
  'ChainExpression',
]);

export function unwrap(node: Node): Node {
  let inner = node;
  while (TRANSPARENT.has(inner.type) && inner.expression !== undefined) inner = inner.expression;
  return inner;
}

export function isFunction({ type }: Node): boolean {
  return type === 'FunctionDeclaration' || type === 'FunctionExpression' || type === 'ArrowFunctionExpression';
}

/** `a.b.#c` as text, as far as it consists of names; other parts are empty. */
export function dotted(expression: Node): string {
  const node = unwrap(expression);
  if (node.type === 'Identifier') return node.name ?? '';
  if (node.type === 'ThisExpression') return 'this';
  if (node.type === 'MemberExpression' && node.object !== undefined)
    return `${dotted(node.object)}.${memberName(node)}`;
  return '';
}

/** Name of a member access or of a member's key; empty when it is computed. */
export function memberName({ property, key, computed }: Node): string {
  const name = property ?? key;
  if (name === undefined) return '';
  if (name.type === 'PrivateIdentifier') return `#${name.name}`;
  if (name.type === 'Literal') return String(name.value);
  return computed === true ? '' : (name.name ?? '');
}

/** Identifiers that a declaration's pattern binds, with the names of properties that are taken apart on the way. */
export function boundBy(pattern: Node | null | undefined): readonly { readonly id: Node; readonly from: string }[] {
  if (pattern === null || pattern === undefined) return [];
  const each = (nodes: readonly (Node | null)[] | undefined) => (nodes ?? []).flatMap((node) => boundBy(node));
  switch (pattern.type) {
    case 'Identifier':
      return [{ id: pattern, from: '' }];
    case 'ObjectPattern':
      return each(pattern.properties);
    case 'Property':
      return boundBy(pattern.value as Node).map(({ id, from }) => ({ id, from: from || memberName(pattern) }));
    case 'ArrayPattern':
      return each(pattern.elements);
    case 'RestElement':
      return boundBy(pattern.argument);
    case 'AssignmentPattern':
      return boundBy(pattern.left);
    case 'TSParameterProperty':
      return boundBy(pattern.parameter);
    default:
      return [];
  }
}
