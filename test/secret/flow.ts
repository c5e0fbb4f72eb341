/**
 * Follows secrets through one file, without regard to order: assignments, patterns, fields, the functions of the file,
 * and functions that secrets are lent to. What is unknown may not have them. It does not follow what a native function
 * writes into a buffer, nor anything into another file.
 */
import { boundBy, childrenOf, dotted, isFunction, memberName, type Node, unwrap } from './ast.ts';
import { type Binding, type Names, namesOf } from './scopes.ts';
import {
  GIVES_BACK,
  GIVES_EACH,
  GIVES_HOLDER,
  GIVES_SAME,
  HOLDERS,
  LENDS,
  namesIn,
  PUBLIC_MEMBERS,
  SOURCES,
} from './table.ts';

/** 0: no secret. 1: an object that holds its bytes privately, or several such. 2: private bytes, or what has them in it. */
export type Degree = 0 | 1 | 2;
const most = (...degrees: readonly Degree[]): Degree => Math.max(0, ...degrees) as Degree;

const COLLECTIONS = /^(?:Map|ReadonlyMap|Set|ReadonlySet|Array|ReadonlyArray|Promise|Iterable)$/;

export class Flow {
  readonly names: Names;
  readonly #program: Node;
  readonly #secretNames: ReadonlySet<string>;
  readonly #bindings = new Map<Binding, Degree>();
  readonly #fields = new Map<string, Degree>();
  readonly #returns = new Map<Node, Degree>();
  readonly #methods = new Map<string, Node[]>();
  /** Functions to which their callers lend private bytes. */
  readonly #borrowers = new Set<Node>();
  /** Parameters that are called with secrets: the degree of each argument. */
  readonly #lends = new Map<Binding, Degree[]>();
  #changed = false;

  /** @param file path from the root of the repository */
  constructor(program: Node, file: string) {
    this.#program = program;
    this.names = namesOf(program);
    this.#secretNames = namesIn(file);
    this.#each(program, (node) => this.#declare(node));
    do {
      this.#changed = false;
      this.#each(program, (node) => this.#step(node));
    } while (this.#changed);
  }

  #each(node: Node, visit: (node: Node) => void): void {
    visit(node);
    for (const child of childrenOf(node)) this.#each(child, visit);
  }

  each(visit: (node: Node) => void): void {
    this.#each(this.#program, visit);
  }

  isBorrower(node: Node): boolean {
    return this.#borrowers.has(node);
  }

  /** What an expression is worth keeping. */
  degreeOf(expression: Node | null | undefined): Degree {
    if (!expression) return 0;
    const node = unwrap(expression);
    switch (node.type) {
      case 'Identifier': {
        const binding = this.names.bindingOf(node);
        if (node.name === 'arguments' && this.#borrowers.has(this.functionOf(node) ?? node)) return 2;
        if (binding?.isForeign === true || binding?.function !== undefined) return 0;
        const known = binding === undefined ? 0 : (this.#bindings.get(binding) ?? 0);
        return known === 0 && this.#secretNames.has(node.name ?? '') ? 2 : known;
      }
      case 'MemberExpression':
        return this.#degreeOfMember(node);
      case 'CallExpression':
        return this.#degreeOfCall(node);
      case 'NewExpression':
        return HOLDERS.test(dotted(node.callee ?? node)) ? 1 : this.#givenBack(node);
      case 'ConditionalExpression':
        return most(this.degreeOf(node.consequent), this.degreeOf(node.alternate));
      case 'LogicalExpression':
        return most(this.degreeOf(node.left), this.degreeOf(node.right));
      case 'AssignmentExpression':
        return this.degreeOf(node.right);
      case 'SequenceExpression':
        return this.degreeOf(node.expressions?.at(-1));
      case 'ArrayExpression':
        return most(...(node.elements ?? []).map((element) => this.degreeOf(element)));
      case 'ObjectExpression':
        return most(...(node.properties ?? []).map((property) => this.degreeOf(property)));
      case 'Property':
        return this.degreeOf(node.value as Node);
      case 'AwaitExpression':
      case 'SpreadElement':
        return this.degreeOf(node.argument);
      default:
        return 0;
    }
  }

  #degreeOfMember(node: Node): Degree {
    const name = memberName(node);
    if (PUBLIC_MEMBERS.has(name)) return 0;
    // Tables of limits and the like have names of secrets as their keys.
    const named = this.#secretNames.has(name) && !/^[A-Z_]+$/.test(dotted(node.object ?? node)) ? 2 : 0;
    const field = name.startsWith('#') || node.object?.type === 'ThisExpression' ? (this.#fields.get(name) ?? 0) : 0;
    return most(named, field, this.degreeOf(node.object));
  }

  #degreeOfCall(node: Node): Degree {
    const callee = unwrap(node.callee ?? node);
    const name = dotted(callee);
    if (SOURCES.test(name)) return 2;
    if (GIVES_HOLDER.test(name)) return 1;
    const own = this.calledBy(callee).map((called) => this.#returns.get(called) ?? 0);
    const same =
      callee.type === 'MemberExpression' && GIVES_SAME.has(memberName(callee)) ? this.degreeOf(callee.object) : 0;
    return most(...own, same, this.#givenBack(node));
  }

  #givenBack({ callee, arguments: given = [] }: Node): Degree {
    if (!GIVES_BACK.test(dotted(callee as Node))) return 0;
    return most(...given.map((argument) => this.degreeOf(argument)));
  }

  /** The functions of this file that a callee may be: of methods all of that name. */
  calledBy(callee: Node): readonly Node[] {
    const node = unwrap(callee);
    if (isFunction(node)) return [node];
    if (node.type === 'Identifier') {
      const called = this.names.bindingOf(node)?.function;
      return called === undefined ? [] : [called];
    }
    return node.type === 'MemberExpression' ? (this.#methods.get(memberName(node)) ?? []) : [];
  }

  /** The parameter that is called, if it is one. */
  calledParameter(callee: Node): Binding | undefined {
    const binding = callee.type === 'Identifier' ? this.names.bindingOf(callee) : undefined;
    return binding?.parameter === undefined ? undefined : binding;
  }

  /** Whether the file's names say by themselves that it is private bytes. */
  isNamed({ type, name = '' }: Node): boolean {
    return type === 'Identifier' && this.#secretNames.has(name);
  }

  /** The innermost function around a node. */
  functionOf(node: Node): Node | undefined {
    let outer = this.names.parents.get(node);
    while (outer !== undefined && !isFunction(outer)) outer = this.names.parents.get(outer);
    return outer;
  }

  #declare(node: Node): void {
    if (node.type === 'MethodDefinition' && node.kind === 'method') {
      const name = memberName(node);
      this.#methods.set(name, [...(this.#methods.get(name) ?? []), node.value as Node]);
    }
    if (node.type === 'PropertyDefinition' && isSecretType(node.typeAnnotation)) this.#fields.set(memberName(node), 1);
    if (node.type !== 'Identifier') return;
    const binding = this.names.bindingOf(node);
    if (binding !== undefined && isSecretType(binding.annotation)) this.#raise(this.#bindings, binding, 1);
  }

  /** One step of the flow through one node. */
  #step(node: Node): void {
    switch (node.type) {
      case 'VariableDeclarator':
        this.#bind(node.id, this.degreeOf(node.init));
        break;
      case 'AssignmentPattern':
        this.#bind(node.left, this.degreeOf(node.right));
        break;
      case 'AssignmentExpression':
        this.#assign(node.left, this.degreeOf(node.right));
        break;
      case 'PropertyDefinition':
        this.#raise(this.#fields, memberName(node), this.degreeOf(node.value as Node));
        break;
      case 'ForOfStatement':
        this.#forEach(node.left as Node, this.degreeOf(node.right));
        break;
      case 'ReturnStatement':
        this.#return(this.functionOf(node), this.degreeOf(node.argument));
        break;
      case 'ArrowFunctionExpression':
        if ((node.body as Node).type !== 'BlockStatement') this.#return(node, this.degreeOf(node.body as Node));
        break;
      case 'CallExpression':
      case 'NewExpression':
        this.#call(node);
        break;
    }
  }

  #call({ callee: outer, arguments: given = [] }: Node): void {
    const callee = unwrap(outer as Node);
    const degrees = given.map((argument) => this.degreeOf(argument));
    const parameter = this.calledParameter(callee);
    if (parameter !== undefined && degrees.some((degree) => degree > 0)) {
      const known = this.#lends.get(parameter) ?? [];
      const joined = degrees.map((degree, index) => most(degree, known[index] ?? 0));
      if (joined.some((degree, index) => degree !== known[index])) this.#changed = true;
      this.#lends.set(parameter, joined);
    }
    for (const called of this.calledBy(callee)) {
      for (const [index, pattern] of (called.params ?? []).entries()) {
        // A rest parameter has whatever is left.
        const degree = pattern.type === 'RestElement' ? most(...degrees.slice(index)) : (degrees[index] ?? 0);
        this.#bind(pattern, degree);
        const [bound] = boundBy(pattern);
        const lent = bound && this.#lends.get(this.names.bindingOf(bound.id) as Binding);
        if (lent !== undefined && given[index] !== undefined) this.#lend(given[index], lent);
      }
    }
    if (callee.type !== 'MemberExpression') return;
    const [method, of] = [memberName(callee), this.degreeOf(callee.object)];
    if (LENDS.has(method) && given[0] !== undefined) this.#lend(given[0], [2]);
    if (GIVES_EACH.has(method) && of > 0 && given[0] !== undefined) this.#lend(given[0], [of]);
    // Both of them write into the other one.
    if (method === 'copy' && of === 2 && given[0] !== undefined) this.#assign(given[0], 2);
    if (method === 'set' && most(...degrees) === 2) this.#assign(callee.object, 2);
  }

  #lend(to: Node, degrees: readonly Degree[]): void {
    for (const called of this.calledBy(to)) {
      if (degrees.includes(2) && !this.#borrowers.has(called)) {
        this.#borrowers.add(called);
        this.#changed = true;
      }
      for (const [index, pattern] of (called.params ?? []).entries()) this.#bind(pattern, degrees[index] ?? 0);
    }
  }

  #bind(pattern: Node | null | undefined, degree: Degree): void {
    for (const { id, from } of boundBy(pattern)) {
      const binding = this.names.bindingOf(id);
      if (binding !== undefined && !PUBLIC_MEMBERS.has(from)) this.#raise(this.#bindings, binding, degree);
    }
  }

  #forEach(left: Node, degree: Degree): void {
    if (left.type !== 'VariableDeclaration') this.#assign(left, degree);
    else for (const declarator of childrenOf(left)) this.#bind(declarator.id, degree);
  }

  #assign(outer: Node | null | undefined, degree: Degree): void {
    if (!outer) return;
    // What is written into a part of something is in all of it.
    let target = unwrap(outer);
    while (target.type === 'MemberExpression' && target.object !== undefined) {
      const [name, of] = [memberName(target), unwrap(target.object)];
      if (name.startsWith('#') || of.type === 'ThisExpression') {
        this.#raise(this.#fields, name, degree);
        return;
      }
      target = of;
    }
    this.#bind(target, degree);
  }

  #return(from: Node | undefined, degree: Degree): void {
    if (from !== undefined) this.#raise(this.#returns, from, degree);
  }

  #raise<K>(map: Map<K, Degree>, key: K, degree: Degree): void {
    if (degree <= (map.get(key) ?? 0)) return;
    map.set(key, degree);
    this.#changed = true;
  }
}

/** A holder, or a collection or a choice with it. */
function isSecretType(annotation: Node | null | undefined): boolean {
  if (!annotation) return false;
  if (annotation.type === 'TSTypeReference') {
    const { name = '' } = annotation.typeName ?? annotation;
    const given = annotation.typeArguments?.params ?? [];
    return HOLDERS.test(name) || (COLLECTIONS.test(name) && given.some((type) => isSecretType(type)));
  }
  const inner = [annotation.typeAnnotation, annotation.elementType, ...(annotation.types ?? [])];
  return /^TS(?:TypeAnnotation|ArrayType|TypeOperator|UnionType)$/.test(annotation.type) && inner.some(isSecretType);
}
