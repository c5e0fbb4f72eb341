/** W3C Trace Context, section by section: what is taken, what is as if it were not there. */
import { type TraceContext, traceContext, traceHeaders } from '@quantumvault/host/trace/traceparent.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';
const GOOD = `00-${TRACE}-${PARENT}-01`;

const begun = ({ parentId }: TraceContext): boolean => parentId === undefined;

describe('traceparent', () => {
  it('of version 00 is continued, with a part of our own', () => {
    const trace = traceContext({ traceparent: GOOD });
    expect(trace).toMatchObject({ traceId: TRACE, parentId: PARENT, flags: 1 });
    expect(trace.spanId).toMatch(/^[0-9a-f]{16}$/);
    expect(trace.spanId).not.toBe(PARENT);
    expect(traceHeaders(trace)).toEqual({ traceparent: `00-${TRACE}-${trace.spanId}-01` });
  });

  it('of a later version is read as far as version 00 goes, and passed on as that', () => {
    for (const more of ['', '-', '-what-the-future-holds']) {
      const trace = traceContext({ traceparent: `cc-${TRACE}-${PARENT}-01${more}` });
      expect(trace.traceId).toBe(TRACE);
      expect(traceHeaders(trace)['traceparent']).toMatch(/^00-/);
    }
  });

  it.each([
    ['none', undefined],
    ['empty', ''],
    ['two of them', [GOOD, GOOD]],
    ['two in one', `${GOOD}, ${GOOD}`],
    ['version ff', `ff-${TRACE}-${PARENT}-01`],
    ['version 00 with more behind', `${GOOD}-00`],
    ['a later version without its dash', `01-${TRACE}-${PARENT}-0100`],
    ['upper case', GOOD.toUpperCase()],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-${PARENT}-01`],
    ['a parent id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['a short trace id', `00-${TRACE.slice(1)}-${PARENT}-01`],
    ['a long parent id', `00-${TRACE}-${PARENT}0-01`],
    ['no flags', `00-${TRACE}-${PARENT}`],
    ['blanks around', ` ${GOOD} `],
    ['a line break behind', `${GOOD}\n`],
    ['no hex', `00-${TRACE}-${PARENT}-0g`],
  ])('%s begins a new trace', (_, traceparent) => {
    const trace = traceContext({ traceparent, tracestate: 'a=1' });
    expect(begun(trace)).toBe(true);
    expect(trace.traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(trace.traceId).not.toBe(TRACE);
    // Its tracestate belonged to what was not taken (section 3.3).
    expect(trace.state).toBeUndefined();
  });

  it('passes on the flags it knows and no others', () => {
    expect(traceContext({ traceparent: `00-${TRACE}-${PARENT}-ff` }).flags).toBe(3);
    expect(traceContext({ traceparent: `00-${TRACE}-${PARENT}-00` }).flags).toBe(0);
  });

  it('never makes an id of zeros', () => {
    let calls = 0;
    const random = (bytes: number): Uint8Array => new Uint8Array(bytes).fill(calls++ % 2);
    const trace = traceContext({}, random);
    expect(trace.spanId).toBe('01'.repeat(8));
    expect(trace.traceId).toBe('01'.repeat(16));
  });

  it('whatever is sent, what is passed on is well-formed', () => {
    const likely = fc.stringMatching(/^[0-9a-fA-F]{0,3}-[0-9a-f]{30,34}-[0-9a-f]{14,18}-[0-9a-f]{1,3}.{0,3}$/);
    fc.assert(
      fc.property(fc.oneof(fc.string(), likely), fc.string({ maxLength: 600 }), (traceparent, tracestate) => {
        const headers = traceHeaders(traceContext({ traceparent, tracestate }));
        expect(headers['traceparent']).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]$/);
        expect(headers['tracestate'] ?? 'a=b').toMatch(/^[\x20-\x7e]{3,512}$/);
      }),
    );
  });
});

describe('tracestate', () => {
  const passedOn = (tracestate: string | string[]) => traceContext({ traceparent: GOOD, tracestate }).state;

  it.each([
    ['congo=t61rcWkgMzE', undefined],
    ['rojo=00f067aa0ba902b7,congo=t61rcWkgMzE', undefined],
    ['fw529a3039@dt=FfAAAA-', undefined],
    ['a=with blanks inside', undefined],
    ['a=1 , b=2,,\tc=3', 'a=1,b=2,c=3'],
    [`a=${'v'.repeat(256)}`, undefined],
  ])('%s is passed on', (state, as) => {
    expect(passedOn(state)).toBe(as ?? state);
  });

  it.each([
    ['no key', '=1'],
    ['no value', 'a='],
    ['no equals sign', 'a'],
    ['a key in upper case', 'A=1'],
    ['a key that begins with a digit', '1a=1'],
    ['a key twice', 'a=1,a=2'],
    ['an equals sign in a value', 'a=1=2'],
    ['a value that is too long', `a=${'v'.repeat(257)}`],
    ['something that is not ASCII', 'a=é'],
    ['a control character', 'a=\u0001'],
    ['33 members', Array.from({ length: 33 }, (_, index) => `k${index}=1`).join(',')],
    ['more than 512 characters', `a=${'v'.repeat(250)},b=${'v'.repeat(250)},c=${'v'.repeat(20)}`],
    ['nothing', ' , '],
  ])('with %s is left out whole', (_, state) => {
    expect(passedOn(state)).toBeUndefined();
  });
});
