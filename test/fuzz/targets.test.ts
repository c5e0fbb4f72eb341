/** Every reader of bytes or text from outside has a target, or a reason here why it has none. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { describe, expect, it } from 'vitest';
import { TARGETS } from './targets/index.ts';
import { WHERE } from './targets/where.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const READER = /^export (?:async )?(?:function\*?|const) ((?:parse|decode|read|unpack|scan|open)[A-Z]\w*)/gm;

/** What is there is read from the operator's own machine, or from nobody; files that come from others have targets. */
const WITHOUT_HOSTILE_INPUT = ['host/src/cli/', 'host/src/openapi/', 'host/src/client/package/'] as const;

/** Functions that are named like readers. */
const WITHOUT_TARGET: Readonly<Record<string, string>> = {
  'enclave/src/claim.ts#readClaim': 'of a decoded request; bodies and policies have targets',
  'enclave/src/signal.ts#readSignal': 'of a decoded request',
  'host/src/private-file.ts#readPrivateFile': 'looks at who owns a file, not at what is in it',
  'host/src/row-key.ts#openStep': 'decodes nothing whose MAC under the row key does not hold',
  'host/src/store/sqlite-store.ts#openSqliteStore': 'SQLite reads',
  'host/src/witness/directory.ts#openDirectory': 'a witness’s own folder',
  'shared/src/eif/source.ts#readPieces': 'reads at offsets that others have checked',
  'shared/src/evidence/audit/checkpoints.ts#openNote': 'openCheckpoint does, and has a target',
  'shared/src/evidence/audit/input.ts#readInput': 'expectations of the auditor; the file among them has a target',
  'shared/src/evidence/audit/schedule.ts#readAll': 'the order in which logs are read',
  'shared/src/tlog/proof.ts#readFrontier': 'hashes of tiles, which have a target',
};

function readers(): readonly string[] {
  return ['shared/src', 'enclave/src', 'host/src'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .flatMap((path) => {
        const file = `${folder}/${path}`;
        if (WITHOUT_HOSTILE_INPUT.some((place) => file.startsWith(place))) return [];
        return [...readFileSync(join(ROOT, file), 'utf8').matchAll(READER)].map(([, name]) => `${file}#${name}`);
      }),
  );
}

const covered = new Set(TARGETS.flatMap(({ covers }) => covers));

describe('readers', () => {
  it.each(readers())('%s has a target or a reason', (reader) => {
    expect(covered.has(reader) || Object.hasOwn(WITHOUT_TARGET, reader)).toBe(true);
  });

  it('with a reason exist, and have no target', () => {
    const all = readers();
    expect(Object.keys(WITHOUT_TARGET).filter((reader) => !all.includes(reader) || covered.has(reader))).toEqual([]);
  });
});

describe('targets', () => {
  it('have names of their own', () => {
    expect(new Set(TARGETS.map(({ name }) => name)).size).toBe(TARGETS.length);
  });

  it('are where it is said', async () => {
    expect(Object.keys(WHERE).sort()).toEqual(TARGETS.map(({ name }) => name).sort());
    for (const [name, file] of Object.entries(WHERE)) {
      const exported = Object.values((await import(`./targets/${file}.ts`)) as Record<string, { name?: string }>);
      expect(exported.some((target) => target.name === name)).toBe(true);
    }
  });

  it.each(TARGETS)('$name: what it covers is there, and its codes are in the table', ({ covers, codes }) => {
    for (const place of covers) {
      const [file = '', name] = place.split('#');
      expect(existsSync(join(ROOT, file)), file).toBe(true);
      if (name !== undefined) expect(readFileSync(join(ROOT, file), 'utf8')).toMatch(new RegExp(`\\b${name}\\b`));
    }
    for (const code of codes) expect(Object.hasOwn(ERRORS, code), code).toBe(true);
  });
});
