/** The fuzzer is worth something: each deliberately broken decoder is found within the short test's budget. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { MUTANTS } from './mutants.ts';

interface Result {
  readonly mutant: string;
  readonly found: string | null;
}

let results: readonly Result[] = [];

beforeAll(() => {
  // In a process of its own: the loader's hooks do not reach through Vitest's.
  const output = execFileSync(process.execPath, [join(import.meta.dirname, 'mutation.ts')], { encoding: 'utf8' });
  results = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Result);
}, 300_000);

describe('a decoder with', () => {
  it.each(MUTANTS)('$name is found by $target', ({ name }) => {
    expect(results.find(({ mutant }) => mutant === name)?.found).toEqual(expect.any(String));
  });
});
