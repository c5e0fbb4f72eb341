/**
 * The rule: secrets are not turned into text, logged, serialised, enumerated, copied to V8's heap, compared in a time
 * that tells, kept, or handed to what is not known to treat them well. What has to break it says why, in a comment
 * `secret-rule: <reason>` on its line or the one before.
 */
import { childrenOf, dotted, isFunction, memberName, type Node, parse, unwrap } from './ast.ts';
import { Flow } from './flow.ts';
import { GIVES_EACH, GIVES_SAME, LENDS, MAY_TAKE, misuseOf, ROOM_WORK, ROOMS, STAYS } from './table.ts';

export interface Finding {
  /** From 1. */
  readonly line: number;
  readonly what: string;
}

export interface Exception {
  readonly line: number;
  readonly reason: string;
}

export interface Verdict {
  readonly findings: readonly Finding[];
  readonly exceptions: readonly Exception[];
}

const EXCEPTION = /\/\/ secret-rule: ?(.*)$/;

/**
 * @param file path from the root of the repository: names count by file
 * @throws SyntaxError
 */
export function check(file: string, text: string): Verdict {
  const all = new Map<string, Finding>();
  const lineOf = (offset: number): number => text.slice(0, offset).split('\n').length;
  const flow = new Flow(parse(text), file);
  const isRoom = ROOMS.test(file);
  const report = (node: Node, what: string): void => {
    if (isRoom && (ROOM_WORK.has(what) || isNeighbour(flow, node, what))) return;
    const line = lineOf(node.start);
    all.set(`${line} ${what}`, { line, what });
  };
  flow.each((node) => judge(flow, node, report));

  const exceptions = [...text.split('\n').entries()].flatMap(([index, content]) => {
    const reason = EXCEPTION.exec(content)?.[1];
    return reason === undefined ? [] : [{ line: index + 1, reason }];
  });
  const covers = ({ line }: Exception, finding: Finding): boolean => [line, line + 1].includes(finding.line);
  const findings = [...all.values()].filter((finding) => !exceptions.some((exception) => covers(exception, finding)));
  for (const exception of exceptions) {
    const { line, reason } = exception;
    if (reason.length < 10) findings.push({ line, what: 'exception without a reason' });
    if (![...all.values()].some((finding) => covers(exception, finding)))
      findings.push({ line, what: 'exception for nothing' });
  }
  return { findings: findings.sort((a, b) => a.line - b.line), exceptions };
}

/** Whether what is handed over stays among the files of a room: in a method of the bytes, or something of theirs. */
function isNeighbour(flow: Flow, node: Node, what: string): boolean {
  if (!what.endsWith(UNKNOWN)) return false;
  const call = node.type === 'CallExpression' ? node : flow.names.parents.get(node);
  let root: Node | undefined = call?.callee;
  while (root !== undefined && root.type !== 'Identifier')
    root = root.type === 'ChainExpression' ? root.expression : (root.object ?? root.callee);
  const binding = root && flow.names.bindingOf(root);
  return binding !== undefined && (!binding.isForeign || (binding.module ?? './').startsWith('./'));
}

type Report = (node: Node, what: string) => void;
const KEPT = 'kept where others see it';
const WRITTEN = 'written to where it is not followed';
const HIDDEN = 'lent under another name';
const UNKNOWN = ', of which nothing is known';

function judge(flow: Flow, node: Node, report: Report): void {
  switch (node.type) {
    case 'TemplateLiteral':
      for (const part of node.expressions ?? []) if (flow.degreeOf(part) > 0) report(part, 'turned into text');
      break;
    case 'BinaryExpression':
      judgeBinary(flow, node, report);
      break;
    case 'MemberExpression':
      // Under another name nobody would know what it is that lends.
      if (LENDS.has(memberName(node)) && flow.degreeOf(node.object) === 1 && !isCalled(flow, node))
        report(node, HIDDEN);
      break;
    case 'UnaryExpression':
      if (/^[-+~]$/.test(node.operator ?? '') && flow.degreeOf(node.argument) > 0) report(node, 'computed with');
      break;
    case 'SwitchStatement':
      if (flow.degreeOf(node.discriminant) > 0) report(node, 'compared in a time that tells');
      break;
    case 'ForInStatement':
      if (flow.degreeOf(node.right) > 0) report(node, 'enumerated');
      break;
    case 'CallExpression':
    case 'NewExpression':
      judgeCall(flow, node, report);
      break;
    case 'AssignmentExpression':
      judgeAssignment(flow, node, report);
      break;
    case 'PropertyDefinition':
      if (!isPrivate(node) && flow.degreeOf(node.value as Node) === 2) report(node, KEPT);
      break;
    case 'ThrowStatement':
    case 'YieldExpression':
      if (flow.degreeOf(node.argument) > 0) report(node, 'handed out');
      break;
    case 'ReturnStatement':
      judgeReturn(flow, node, flow.functionOf(node), node.argument, report);
      break;
    case 'ArrowFunctionExpression':
      if ((node.body as Node).type !== 'BlockStatement')
        judgeReturn(flow, node.body as Node, node, node.body as Node, report);
      break;
    case 'ExportDefaultDeclaration':
      if (node.declaration && flow.degreeOf(node.declaration) === 2) report(node, 'handed out');
      break;
    case 'ExportNamedDeclaration':
      for (const declarator of node.declaration ? childrenOf(node.declaration) : [])
        if (flow.degreeOf(declarator.init) === 2) report(declarator, 'handed out');
      break;
  }
  if (isFunction(node) && flow.isBorrower(node) && (node.async === true || node.generator === true))
    report(node, 'lent to what has not ended');
}

function isCalled(flow: Flow, member: Node): boolean {
  let outer = flow.names.parents.get(member);
  while (outer !== undefined && unwrap(outer) !== outer) outer = flow.names.parents.get(outer);
  return outer?.type === 'CallExpression' && unwrap(outer.callee as Node) === member;
}

const isNothing = (node: Node | undefined): boolean =>
  node !== undefined && (dotted(node) === 'undefined' || (node.type === 'Literal' && node.value === null));

function judgeBinary(flow: Flow, node: Node, report: Report): void {
  const { left, right, operator = '' } = node;
  if (flow.degreeOf(left) === 0 && flow.degreeOf(right) === 0) return;
  // Whether there is a secret at all is none.
  if (/^[!=]==?$/.test(operator) && (isNothing(left) || isNothing(right))) return;
  if (operator === 'instanceof') return;
  report(
    node,
    operator === '+'
      ? 'turned into text'
      : /^(?:[!=]==?|[<>]=?)$/.test(operator)
        ? 'compared in a time that tells'
        : 'computed with',
  );
}

function judgeCall(flow: Flow, node: Node, report: Report): void {
  const callee = unwrap(node.callee as Node);
  const name = nameOf(callee);
  if (callee.type === 'MemberExpression') judgeMethod(flow, node, callee, report);
  for (const [index, argument] of (node.arguments ?? []).entries()) {
    const degree = flow.degreeOf(argument);
    if (degree === 0 || mayTake(flow, callee, name, index, argument)) continue;
    const misuse = misuseOf(name);
    if (misuse !== undefined) report(argument, misuse);
    else if (degree === 2) report(argument, `handed to ${name || 'a function'}${UNKNOWN}`);
  }
}

/** A method of a secret, and functions that it is lent to by name. */
function judgeMethod(flow: Flow, node: Node, callee: Node, report: Report): void {
  const method = memberName(callee);
  const degree = flow.degreeOf(callee.object);
  const isHere = flow.calledBy(callee).length > 0;
  if (degree === 2 && !STAYS.has(method) && !isHere && !mayTakeName(nameOf(callee)))
    report(node, misuseOf(`.${method}`) ?? `handed to .${method || '[…]'}()${UNKNOWN}`);
  if (degree === 1 && !GIVES_SAME.has(method) && !GIVES_EACH.has(method)) {
    const misuse = misuseOf(`.${method}`);
    // A secret's own comparison takes as long whatever it compares.
    if (misuse !== undefined && method !== 'equals') report(node, misuse);
  }
  const [borrower] = node.arguments ?? [];
  // Both write into the other one, which has to be followed from there on.
  if (method === 'copy' && degree === 2 && borrower !== undefined && !isOwn(flow, borrower)) report(node, WRITTEN);
  const isGiven = (node.arguments ?? []).some((argument) => flow.degreeOf(argument) === 2);
  if (method === 'set' && isGiven && !isOwn(flow, callee.object as Node)) report(node, WRITTEN);
  if (!LENDS.has(method) || borrower === undefined || node.arguments?.length !== 1) return;
  const given = unwrap(borrower);
  if (isFunction(given) || flow.calledBy(given).length > 0 || flow.calledParameter(given) !== undefined) return;
  const name = nameOf(given);
  if (!mayTakeName(name)) report(borrower, misuseOf(name) ?? `lent to ${name || 'a function'}${UNKNOWN}`);
}

function mayTake(flow: Flow, callee: Node, name: string, index: number, argument: Node): boolean {
  if (mayTakeName(name) || flow.calledParameter(callee) !== undefined) return true;
  // A view of the same memory is no copy.
  if (/^(?:Buffer\.from|DataView|\w+Array)$/.test(name) && index === 0 && /(?:^|\.)buffer$/.test(dotted(argument)))
    return true;
  if (name === 'Object.freeze') return true;
  const called = flow.calledBy(callee);
  if (called.some(({ params = [] }) => params[index] !== undefined || params.at(-1)?.type === 'RestElement'))
    return true;
  if (callee.type !== 'MemberExpression') return false;
  // Copying between buffers that are followed both; and a secret's own comparison with another one.
  const method = memberName(callee);
  return /^(?:set|copy)$/.test(method) || (method === 'equals' && flow.degreeOf(callee.object) === 1);
}

const mayTakeName = (name: string): boolean => MAY_TAKE.some((allowed) => allowed.test(name));

/** As `dotted`, with calls on the way: `createHmac().update`. */
function nameOf(expression: Node): string {
  const node = unwrap(expression);
  if (node.type === 'CallExpression') return `${nameOf(node.callee as Node)}()`;
  if (node.type === 'NewExpression') return `${nameOf(node.callee as Node)}()`;
  if (node.type === 'MemberExpression') return `${nameOf(node.object as Node)}.${memberName(node)}`;
  return dotted(node);
}

function judgeAssignment(flow: Flow, node: Node, report: Report): void {
  const [left, right] = [unwrap(node.left as Node), flow.degreeOf(node.right)];
  if (node.operator !== '=' && !/^(?:\?\?|\|\||&&)=$/.test(node.operator ?? '')) {
    if (right > 0 || flow.degreeOf(left) > 0)
      report(node, node.operator === '+=' ? 'turned into text' : 'computed with');
    return;
  }
  if (right === 2 && targetsOf(left).some((target) => !isOwn(flow, target))) report(node, KEPT);
}

/** Members that an assignment writes to, also inside of a pattern. */
function targetsOf(left: Node): readonly Node[] {
  if (left.type === 'MemberExpression') return [left];
  return /Pattern$|^Property$|^RestElement$/.test(left.type) ? childrenOf(left).flatMap(targetsOf) : [];
}

/** Whether what is written into is followed: a variable of this file, a private field, or something that was lent. */
function isOwn(flow: Flow, into: Node): boolean {
  let root = unwrap(into);
  while (root.type === 'MemberExpression' && root.object !== undefined) {
    if (memberName(root).startsWith('#')) return true;
    root = unwrap(root.object);
  }
  if (root.type === 'CallExpression') return flow.degreeOf(root) === 2;
  if (flow.isNamed(root)) return true;
  const binding = root.type === 'Identifier' ? flow.names.bindingOf(root) : undefined;
  if (binding === undefined || binding.isForeign) return false;
  return binding.parameter === undefined || flow.isBorrower(binding.parameter.of);
}

function isPrivate(node: Node): boolean {
  return memberName(node).startsWith('#') || node.accessibility === 'private';
}

function judgeReturn(
  flow: Flow,
  at: Node,
  from: Node | undefined,
  value: Node | null | undefined,
  report: Report,
): void {
  if (from === undefined || flow.degreeOf(value) !== 2) return;
  if (flow.isBorrower(from)) report(at, 'returned by what it was lent to');
  else if (!isKnownToCallers(flow, from)) report(at, 'handed out');
}

/** Whether all that call the function are in this file, and followed. */
function isKnownToCallers(flow: Flow, from: Node): boolean {
  const parent = flow.names.parents.get(from);
  if (parent === undefined) return false;
  if (parent.type === 'MethodDefinition') return isPrivate(parent) && parent.kind === 'method';
  const declaration =
    from.type === 'FunctionDeclaration'
      ? from
      : parent.type === 'VariableDeclarator'
        ? flow.names.parents.get(parent)
        : undefined;
  return declaration !== undefined && flow.names.parents.get(declaration)?.type !== 'ExportNamedDeclaration';
}
