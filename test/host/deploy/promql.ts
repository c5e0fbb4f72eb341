/** What a PromQL query asks for, by Prometheus's own grammar. */
import { parser } from '@prometheus-io/lezer-promql';

export interface Selector {
  readonly metric: string;
  readonly matchers: readonly Matcher[];
}

export interface Matcher {
  readonly label: string;
  readonly operator: '=' | '!=' | '=~' | '!~';
  readonly value: string;
}

export interface Query {
  readonly selectors: readonly Selector[];
  /** Labels of by, without, on, ignoring and group_left. */
  readonly groupings: readonly string[];
}

type Node = ReturnType<typeof parser.parse>['topNode'];

/** @throws Error naming the place where the query is no PromQL, or is more than this test understands */
export function parseQuery(text: string): Query {
  const tree = parser.parse(text);
  const selectors: Selector[] = [];
  const groupings: string[] = [];
  const textOf = (node: Node): string => text.slice(node.from, node.to);
  tree.iterate({
    enter: ({ type, node, from }) => {
      if (type.isError) throw new Error(`no PromQL at character ${from}: ${text}`);
      if (type.name === 'VectorSelector') selectors.push(selectorOf(node, textOf));
      if (type.name === 'GroupingLabels') groupings.push(...node.getChildren('LabelName').map(textOf));
      if (type.name === 'QuotedLabelMatcher') throw new Error(`a quoted label: ${text}`);
    },
  });
  return { selectors, groupings };
}

function selectorOf(node: Node, textOf: (node: Node) => string): Selector {
  const identifier = node.getChild('Identifier');
  if (identifier === null) throw new Error(`a selector without a metric: ${textOf(node)}`);
  const matchers = node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? [];
  return {
    metric: textOf(identifier),
    matchers: matchers.map((matcher) => {
      const [label, operator, value] = ['LabelName', 'MatchOp', 'StringLiteral'].map((name) => matcher.getChild(name));
      if (!label || !operator || !value) throw new Error(`no matcher: ${textOf(matcher)}`);
      return {
        label: textOf(label),
        operator: textOf(operator) as Matcher['operator'],
        value: JSON.parse(textOf(value)) as string,
      };
    }),
  };
}
