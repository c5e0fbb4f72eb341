/** Every target, short and always the same; everything that was ever found; and that the corpus is what its script makes. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FOLDER, readStored, SEED } from './engine/corpus.ts';
import { fuzz } from './engine/driver.ts';
import { examine } from './engine/oracle.ts';
import { TARGETS } from './targets/index.ts';

const SEED_NUMBER = 20261123;
/** For a machine that does much else. */
const PATIENCE_MILLISECONDS = 180_000;

describe.each(TARGETS)('$name', (target) => {
  beforeAll(() => target.open?.());
  afterAll(() => target.close?.());

  it('starts from what its seeds make', () => {
    const stored = readStored('corpus', target.name).filter(({ name }) => name.startsWith(SEED));
    const made = Object.entries(target.seeds()).map(([name, bytes]) => ({ name: `${SEED}${name}`, bytes }));
    expect(stored.map(({ name }) => name)).toEqual(made.map(({ name }) => name).sort());
    for (const { name, bytes } of made)
      expect(Buffer.compare(stored.find((each) => each.name === name)?.bytes ?? new Uint8Array(), bytes), name).toBe(0);
  });

  it(
    'holds for its corpus and for what was found',
    async () => {
      for (const { name, bytes } of [...readStored('corpus', target.name), ...readStored('findings', target.name)]) {
        const outcome = await examine(target, bytes, true);
        expect(outcome.kind === 'violation' ? outcome.what : 'holds', name).toBe('holds');
      }
    },
    PATIENCE_MILLISECONDS,
  );

  it(
    'holds for some thousand others',
    async () => {
      const corpus = readStored('corpus', target.name).map(({ bytes }) => bytes);
      const { open: _, close: __, ...opened } = target;
      const { findings, executions, accepted } = await fuzz(opened, {
        seed: SEED_NUMBER,
        executions: target.executions,
        corpus,
      });
      expect(findings.map(({ what, input }) => `${what}: ${Buffer.from(input).toString('base64')}`)).toEqual([]);
      expect(executions).toBe(target.executions);
      // What refuses everything tests nothing behind the first check.
      expect(accepted).toBeGreaterThan(0);
    },
    PATIENCE_MILLISECONDS,
  );
});

describe('corpus and findings', () => {
  it.each(['corpus', 'findings'] as const)('%s: each folder is a target’s', (kind) => {
    const folders = existsSync(join(FOLDER, kind)) ? readdirSync(join(FOLDER, kind)) : [];
    expect(folders.filter((name) => !TARGETS.some((target) => target.name === name))).toEqual([]);
  });
});
