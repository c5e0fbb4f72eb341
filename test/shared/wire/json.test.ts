import { utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';

const parse = (text: string) => parseStrictJson(utf8(text));

describe('parseStrictJson', () => {
  it('reads what JSON.stringify wrote', () => {
    const json = fc.jsonValue({ maxDepth: 6, noUnicodeString: false }).filter((value) => {
      const text = JSON.stringify(value);
      return !text.includes('__proto__') && !/\\ud[89a-f]/i.test(text) && text.isWellFormed();
    });
    fc.assert(
      fc.property(json, (value) => {
        expect(parse(JSON.stringify(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it.each([
    ['a duplicate key', '{"a":1,"a":1}'],
    ['a duplicate key spelled with an escape', '{"a":1,"\\u0061":1}'],
    ['a duplicate key deep inside', '[{"x":[{"b":{},"b":[]}]}]'],
    ['a key that names the prototype', '{"__proto__":{"dryRun":true}}'],
    ['an escaped key that names the prototype', '{"\\u005f_proto__":1}'],
    ['a lone surrogate', '{"a":"\\ud800"}'],
    ['a byte-order mark', '\ufeff{}'],
    ['a trailing comma', '{"a":1,}'],
    ['a comment', '{"a":1}//'],
    ['two values', '{}{}'],
    ['nothing', ''],
    ['single quotes', "{'a':1}"],
    ['NaN', '{"a":NaN}'],
    ['a control character', '{"a":"\n"}'],
  ])('refuses %s', async (_, text) => {
    await expectCode(() => parse(text), 'json_malformed');
  });

  it('refuses bytes that are no UTF-8', async () => {
    await expectCode(() => parseStrictJson(Uint8Array.of(0x22, 0xff, 0x22)), 'json_malformed');
    await expectCode(() => parseStrictJson(Uint8Array.of(0x22, 0xc0, 0x80, 0x22)), 'json_malformed');
  });

  it('bounds depth, also when brackets stand inside strings', async () => {
    const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
    expect(() => parse(nested(LIMITS.jsonDepth))).not.toThrow();
    await expectCode(() => parse(nested(LIMITS.jsonDepth + 1)), 'json_malformed');
    await expectCode(() => parse(nested(10_000)), 'json_malformed');
    expect(parse(`"${'['.repeat(1000)}"`)).toBe('['.repeat(1000));
  });

  it('never throws anything but its own error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          parseStrictJson(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(QvError);
        }
      }),
    );
  });
});

describe('JsonFields', () => {
  it('names unknown, missing and wrong fields by their path', async () => {
    const fields = new JsonFields(parse('{"a":{"b":1,"c":"x"}}'));
    const inner = new JsonFields(fields.required('a'), 'a');
    expect((await expectCode(() => inner.text('b'), 'field_malformed')).facts.path).toBe('a.b');
    expect((await expectCode(() => inner.text('d'), 'field_malformed')).facts.path).toBe('a.d');
    expect((await expectCode(() => inner.integer('c', 5), 'field_malformed')).facts.path).toBe('a.c');
    inner.text('c');
    inner.end();
    expect((await expectCode(() => new JsonFields(parse('{"z":1}')).end(), 'field_malformed')).facts.path).toBe('z');
    await expectCode(() => new JsonFields(parse('[]')), 'field_malformed');
  });
});
