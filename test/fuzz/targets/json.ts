/** Strict JSON, held against a reader of its own kind that does nothing clever. */
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { JsonFields, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import { accept, must, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';

/** RFC 8259 by hand: whether the text is JSON without a key twice, `__proto__`, lone surrogates or too many levels. */
function isStrict(text: string): boolean {
  let at = 0;
  const fail = (): never => {
    throw new SyntaxError(`at ${at}`);
  };
  const space = (): void => {
    while (' \t\n\r'.includes(text[at] ?? 'x')) at++;
  };
  const take = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0] ?? fail();
    at += found.length;
    return found;
  };
  const readString = (): string => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: RFC 8259 section 7: these have to be escaped
    const found = JSON.parse(take(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y)) as string;
    return found.isWellFormed() ? found : fail();
  };
  const readValue = (depth: number): void => {
    space();
    const first = text[at];
    if (first === '{' || first === '[') {
      if (depth >= LIMITS.jsonDepth) fail();
      at++;
      const keys = new Set<string>();
      space();
      if (text[at] === (first === '{' ? '}' : ']')) {
        at++;
      } else {
        for (;;) {
          space();
          if (first === '{') {
            const key = readString();
            if (key === '__proto__' || keys.has(key)) fail();
            keys.add(key);
            space();
            take(/:/y);
          }
          readValue(depth + 1);
          space();
          if (take(/[,}\]]/y) !== ',') {
            if (text[at - 1] !== (first === '{' ? '}' : ']')) fail();
            break;
          }
        }
      }
    } else if (first === '"') readString();
    else take(/true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y);
    space();
  };
  try {
    readValue(0);
    return at === text.length;
  } catch {
    return false;
  }
}

export const json: Target = {
  name: 'json',
  covers: ['shared/src/json.ts#parseStrictJson', 'shared/src/json.ts#JsonFields'],
  seeds: () => ({
    object: utf8('{"a":1,"b":[true,false,null],"c":{"d":"e:\\"{}[]\\u0041\\\\"},"":-1.5e3}'),
    spaced: utf8(' {\n\t"a" : [ ] , "b\\u003a" : { } }\r\n'),
    deep: utf8(`${'['.repeat(16)}${']'.repeat(16)}`),
    text: utf8('"a:b\\\\"'),
    proto: utf8('{"a":{"__proto__":{"x":1}}}'),
    escaped: utf8('{"\\u005f_proto__":1,"a":"\\ud83d\\ude00"}'),
    twice: utf8('{"a":1,"\\u0061":2}'),
    number: utf8('123456789012345678901234567890'),
  }),
  mutators: [jsonMutator(), textMutator],
  dictionary: [
    '"__proto__":',
    '"a":',
    '\\"',
    '\\\\',
    '\\u0022',
    ':',
    '{',
    '}',
    '[',
    ']',
    ',',
    '"',
    '\ufeff',
    '\ud83d\ude00',
    '\\ud800',
  ].map(utf8),
  maxBytes: 4_096,
  codes: ['json_malformed'],
  executions: 8_000,
  run(input) {
    let text: string | undefined;
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(input);
    } catch {}
    let value: JsonValue;
    try {
      value = parseStrictJson(input);
    } catch (error) {
      must(text === undefined || !isStrict(text), 'strict JSON is refused');
      throw error;
    }
    accept(value);
    must(text !== undefined && isStrict(text), 'JSON that is not strict is accepted');
    const printed = utf8(JSON.stringify(value));
    must(JSON.stringify(parseStrictJson(printed)) === JSON.stringify(value), 'it is another value when printed');
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      const fields = new JsonFields(value);
      for (const key of fields.keys()) must(fields.optional(key) !== undefined, 'a field that is not there');
      must(fields.optional('valueOf') === undefined || Object.hasOwn(value, 'valueOf'), 'a field of the prototype');
      fields.end();
    }
    return value;
  },
};
