/** Which declaration each name means. Scopes are those of ECMAScript; `var`, which the sources do not use, is a `let`. */
import { boundBy, childrenOf, isFunction, type Node } from './ast.ts';

export interface Binding {
  readonly name: string;
  /** Of values that are declared as one. */
  readonly annotation: Node | undefined;
  /** The function that the name stands for, where that is certain. */
  readonly function: Node | undefined;
  /** Whose parameter it is, and the how-manieth. */
  readonly parameter: { readonly of: Node; readonly index: number } | undefined;
  /** From another file, or a class. */
  readonly isForeign: boolean;
  /** Where it is imported from. */
  readonly module: string | undefined;
}

export interface Names {
  /** Undefined for globals. */
  bindingOf(identifier: Node): Binding | undefined;
  readonly parents: ReadonlyMap<Node, Node>;
}

type Scope = Map<string, Binding>;

const plain = { annotation: undefined, function: undefined, parameter: undefined, isForeign: false, module: undefined };

export function namesOf(program: Node): Names {
  const bindings = new Map<Node, Binding>();
  const parents = new Map<Node, Node>();

  function visit(node: Node, scopes: readonly Scope[]): void {
    const inner = opens(node) ? [...scopes, declaredIn(node)] : scopes;
    if (node.type === 'Identifier') {
      const found = scopes.findLast((scope) => scope.has(node.name ?? ''))?.get(node.name ?? '');
      if (found !== undefined) bindings.set(node, found);
    }
    for (const child of childrenOf(node)) {
      parents.set(child, node);
      // Keys and names of members are no names of values; `{ a }` has the value apart from the key.
      const isKey = child === node.property || child === node.key;
      if (!isKey || node.computed === true) visit(child, inner);
      else parents.set(child, node);
    }
  }

  visit(program, []);
  return { bindingOf: (identifier) => bindings.get(identifier), parents };
}

function opens(node: Node): boolean {
  return isFunction(node) || /^(?:Program|BlockStatement|For.*Statement|CatchClause|SwitchStatement)$/.test(node.type);
}

function declaredIn(node: Node): Scope {
  const scope: Scope = new Map();
  const declare = (id: Node, facts: Partial<Binding> = {}): void => {
    const name = id.name ?? '';
    scope.set(name, { ...plain, annotation: id.typeAnnotation ?? undefined, ...facts, name });
  };
  if (isFunction(node)) {
    if (node.type === 'FunctionExpression' && node.id) declare(node.id, { function: node });
    for (const [index, parameter] of (node.params ?? []).entries())
      for (const { id } of boundBy(parameter)) declare(id, { parameter: { of: node, index } });
  }
  for (const { id } of boundBy(node.type === 'CatchClause' ? node.param : undefined)) declare(id);
  const statements = node.type.startsWith('For')
    ? [node.init, node.left]
    : node.type === 'SwitchStatement'
      ? childrenOf(node).flatMap(childrenOf)
      : Array.isArray(node.body)
        ? (node.body as readonly Node[])
        : [];
  for (const statement of statements) if (statement) declareStatement(statement, declare);
  return scope;
}

function declareStatement(outer: Node, declare: (id: Node, facts?: Partial<Binding>) => void): void {
  const statement = outer.type.startsWith('Export') && outer.declaration ? outer.declaration : outer;
  if (statement.type === 'FunctionDeclaration' && statement.id) declare(statement.id, { function: statement });
  if (statement.type === 'ClassDeclaration' && statement.id) declare(statement.id, { isForeign: true });
  if (statement.type === 'ImportDeclaration')
    for (const { local } of statement.specifiers ?? [])
      if (local) declare(local, { isForeign: true, module: String(statement.source?.value) });
  if (statement.type !== 'VariableDeclaration') return;
  for (const declarator of childrenOf(statement)) {
    const { id, init } = declarator;
    const isCertain = statement.kind === 'const' && id?.type === 'Identifier' && init && isFunction(init);
    for (const bound of boundBy(id)) declare(bound.id, isCertain ? { function: init } : {});
  }
}
