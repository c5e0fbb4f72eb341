/** The README's list of checks and the checks in the sources are the same, and each was missed by a test. */
import { readFileSync } from 'node:fs';
import { STEPS } from '@quantumvault/shared/attestation/checklist.ts';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { describe, expect, test } from 'vitest';
import { namedChecks, withoutCheck } from './checks.ts';

const folder = new URL('../../../shared/src/attestation/', import.meta.url);
const readme = readFileSync(new URL('README.md', folder), 'utf8');
/** The rows of checks; the formatter pads cells. */
const rows = readme
  .split('\n')
  .filter((line) => /^\| `[a-z0-9-]+` +\| \w+\.ts +\|/.test(line))
  .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|')))
  .map(([, name = '', file, why, missedBy]) => ({ name: name.replaceAll('`', ''), file, why, missedBy }));

test('every named check has a row that says why and which test misses it', () => {
  expect(rows.map(({ name, why, file }) => ({ name, why, file }))).toEqual(namedChecks());
  expect(rows.filter(({ missedBy = '' }) => missedBy === '' || missedBy === 'NONE')).toEqual([]);
});

test('names are unique', () => {
  const names = namedChecks().map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});

describe('removing a check', () => {
  test('takes one statement away and nothing else', () => {
    for (const { name, file } of namedChecks()) {
      const source = readFileSync(new URL(file, folder), 'utf8');
      const removed = source.length - withoutCheck(source, name).length;
      expect(removed, name).toBeGreaterThan(20);
      expect(removed, name).toBeLessThan(330);
    }
  });
});

test('every step of the checklist and every code is explained', () => {
  for (const name of Object.keys(STEPS)) expect(readme).toContain(`\`${name}\``);
  for (const code of Object.keys(ERRORS).filter((key) => key.startsWith('attestation_')))
    expect(readme).toContain(`\`${code}\``);
});
