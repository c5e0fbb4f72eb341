/**
 * Which binding each name in a script means: enough of ECMAScript's scoping to tell a global from everything else.
 * Strict code only, which the bundles are (`with`, and `var` made by `eval`, do not exist there).
 */
import { type AnyNode, type Node, parse } from 'acorn';

/** Something a script declares. Names that none of these has are globals. */
export interface Binding {
  /** What a `var`, `let` or `const` with a plain name is initialised with; several where it is declared again. */
  readonly inits: readonly Node[];
}

export interface Visitor {
  /** @param ancestors from the script down to the node's parent */
  enter?(node: AnyNode, ancestors: readonly AnyNode[]): void;
  /** A name that is read or written. `binding` is undefined for a global. */
  reference(name: string, binding: Binding | undefined, ancestors: readonly AnyNode[], node: AnyNode): void;
}

type Scope = Map<string, Binding>;
type Fields = Record<string, unknown>;

const isNode = (value: unknown): value is AnyNode =>
  typeof value === 'object' && value !== null && typeof (value as Fields)['type'] === 'string';
const isFunction = (node: AnyNode): boolean => /^(Arrow)?Function/.test(node.type);

/** Visits every node of the script, in order. @throws SyntaxError of the parser */
export function visitScript(text: string, visitor: Visitor): void {
  const program = parse(text, { ecmaVersion: 'latest', sourceType: 'script' }) as AnyNode;
  walk(program, [], [], visitor);
}

function walk(node: AnyNode, ancestors: readonly AnyNode[], scopes: readonly Scope[], visitor: Visitor): void {
  visitor.enter?.(node, ancestors);
  if (node.type === 'Identifier') {
    const scope = scopes.findLast((candidate) => candidate.has(node.name));
    visitor.reference(node.name, scope?.get(node.name), ancestors, node);
    return;
  }
  const inside = declared(node);
  const next = inside === undefined ? scopes : [...scopes, inside];
  for (const child of children(node)) walk(child, [...ancestors, node], next, visitor);
}

/** Child nodes, without names that are no references: members, keys, labels. */
function children(node: AnyNode): AnyNode[] {
  const skipped = new Set<unknown>();
  const fields = node as unknown as Fields;
  if (node.type === 'MemberExpression' && !node.computed) skipped.add(node.property);
  // A shorthand's key and value are one node, which is a reference.
  if (node.type === 'Property' && !node.computed && !node.shorthand) skipped.add(node.key);
  if ((node.type === 'MethodDefinition' || node.type === 'PropertyDefinition') && !node.computed) skipped.add(node.key);
  if (/^(LabeledStatement|BreakStatement|ContinueStatement)$/.test(node.type)) skipped.add(fields['label']);
  if (node.type === 'MetaProperty') return [];
  const found: AnyNode[] = [];
  for (const [key, value] of Object.entries(fields)) {
    if (node.type === 'Property' && node.shorthand && key === 'key') continue;
    for (const item of Array.isArray(value) ? value : [value]) {
      if (isNode(item) && !skipped.has(item)) found.push(item);
    }
  }
  return found;
}

/** What a node declares for everything inside it; undefined when it opens no scope. */
function declared(node: AnyNode): Scope | undefined {
  const scope: Scope = new Map();
  const add = (name: string, init?: Node | null): void => {
    scope.set(name, { inits: [...(scope.get(name)?.inits ?? []), ...(init ? [init] : [])] });
  };
  if (node.type === 'Program') {
    vars(node.body, add);
    lexicals(node.body, add);
  } else if (isFunction(node)) {
    const fn = node as AnyNode & { params: AnyNode[]; id?: AnyNode | null; body: AnyNode };
    if (fn.type === 'FunctionExpression' && isNode(fn.id)) pattern(fn.id, add);
    if (fn.type !== 'ArrowFunctionExpression') add('arguments');
    for (const param of fn.params) pattern(param, add);
    vars([fn.body], add);
  } else if (node.type === 'BlockStatement' || node.type === 'StaticBlock') {
    if (node.type === 'StaticBlock') vars(node.body, add);
    lexicals(node.body, add);
  } else if (node.type === 'SwitchStatement') {
    lexicals(
      node.cases.flatMap((one) => one.consequent),
      add,
    );
  } else if (node.type === 'ForStatement') {
    if (isNode(node.init)) lexicals([node.init], add);
  } else if (node.type === 'ForInStatement' || node.type === 'ForOfStatement') {
    lexicals([node.left], add);
  } else if (node.type === 'CatchClause') {
    if (isNode(node.param)) pattern(node.param, add);
  } else if (node.type === 'ClassExpression' && isNode(node.id)) pattern(node.id, add);
  else return undefined;
  return scope;
}

type Add = (name: string, init?: Node | null) => void;

/** `var` declarations, through blocks but not into functions. */
function vars(nodes: readonly AnyNode[], add: Add): void {
  for (const node of nodes) {
    if (isFunction(node) || node.type === 'StaticBlock') continue;
    if (node.type === 'VariableDeclaration' && node.kind === 'var') declarators(node, add);
    vars(
      Object.values(node as unknown as Fields)
        .flat()
        .filter(isNode),
      add,
    );
  }
}

/** `let`, `const`, classes and functions that stand directly in a list of statements. */
function lexicals(nodes: readonly AnyNode[], add: Add): void {
  for (const node of nodes) {
    if (node.type === 'VariableDeclaration' && node.kind !== 'var') declarators(node, add);
    if ((node.type === 'FunctionDeclaration' || node.type === 'ClassDeclaration') && isNode(node.id)) add(node.id.name);
  }
}

function declarators(node: AnyNode & { type: 'VariableDeclaration' }, add: Add): void {
  for (const { id, init } of node.declarations) {
    if (id.type === 'Identifier') add(id.name, init);
    else pattern(id as AnyNode, add);
  }
}

/** Names that a pattern binds. */
function pattern(node: AnyNode, add: Add): void {
  if (node.type === 'Identifier') add(node.name);
  else if (node.type === 'AssignmentPattern') pattern(node.left as AnyNode, add);
  else if (node.type === 'RestElement') pattern(node.argument as AnyNode, add);
  else if (node.type === 'ArrayPattern') {
    for (const element of node.elements) if (element !== null) pattern(element as AnyNode, add);
  } else if (node.type === 'ObjectPattern') {
    for (const property of node.properties) {
      pattern((property.type === 'RestElement' ? property.argument : property.value) as AnyNode, add);
    }
  }
}
