/** Nothing leaves after a freeze: 200 times, while 64 connections ask for signatures. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import { freezeLoad } from './freeze-load.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ witnesses: 'none', logLevel: 'error' });
});
afterAll(() => stack?.stop());

it('under full load no signature is released whose leaf comes after a freeze’s, and none that is asked for then', async () => {
  const { freezes, signatures, released, late } = await freezeLoad(stack, 200);
  expect(freezes).toBe(200);
  // It was a load.
  expect(signatures).toBeGreaterThan(freezes);
  expect(released).toEqual([]);
  expect(late).toEqual([]);
}, 300_000);
