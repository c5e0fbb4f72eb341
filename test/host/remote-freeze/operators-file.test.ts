import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLog, silentLog } from '@quantumvault/host/log.ts';
import { OperatorsFile, readOperators } from '@quantumvault/host/remote-freeze/operators-file.ts';
import { matchingStep } from '@quantumvault/host/remote-freeze/totp.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import type { Secret } from '@quantumvault/shared/secret.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import { temporaryFolder, until } from '../../support/temporary.ts';
import { base32, codeAt, wrongCode } from './kit.ts';

const NOW = 1_750_000_000_000;
const ANN = new Uint8Array(20).fill(1);
const BOB = new Uint8Array(20).fill(2);
const login = (name: string, secret: Uint8Array) => ({ name, secret: base32(secret) });

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let path: string;
let operators: OperatorsFile | undefined;
beforeEach(async () => {
  folder = await temporaryFolder();
  path = join(folder.path, 'operators.json');
});
afterEach(async () => {
  operators?.close();
  operators = undefined;
  await folder.remove();
});

/** By renaming over it, as such files are replaced. */
function put(value: unknown): void {
  writeFileSync(`${path}.new`, typeof value === 'string' ? value : JSON.stringify(value), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

describe('the operators file', () => {
  const wrong: [string, string, unknown][] = [
    ['no JSON', 'operatorsFile', '{'],
    ['no list', 'operatorsFile.logins', {}],
    ['more fields', 'operatorsFile.more', { logins: [], more: 1 }],
    ['more fields of a login', 'operatorsFile.logins[0].more', { logins: [{ ...login('ann', ANN), more: 1 }] }],
    ['no name', 'operatorsFile.logins[0].name', { logins: [{ secret: base32(ANN) }] }],
    ['a name with a colon', 'operatorsFile.logins[0].name', { logins: [login('ann: x', ANN)] }],
    ['one name twice', 'operatorsFile.logins[1].name', { logins: [login('ann', ANN), login('ann', BOB)] }],
    ['a short secret', 'operatorsFile.logins[0].secret', { logins: [login('ann', ANN.subarray(0, 15))] }],
    ['a secret in hex', 'operatorsFile.logins[0].secret', { logins: [{ name: 'ann', secret: '01'.repeat(20) }] }],
    ['too many', 'operatorsFile.logins', { logins: Array.from({ length: 257 }, (_, n) => login(`ann${n}`, ANN)) }],
    ['too much', 'operatorsFile', ' '.repeat(70_000)],
  ];
  it.each(wrong)('with %s is refused at %s, without a word of it', async (_, where, value) => {
    put(value);
    const error = await expectCode(() => readOperators(path), 'config_invalid');
    expect(error.facts.path).toBe(where);
    expect(`${error.facts.value} ${error.message}`).not.toContain(base32(ANN));
  });

  it('that others may read, that is no file or not there is refused', async () => {
    put({ logins: [] });
    chmodSync(path, 0o604);
    await expectCode(() => readOperators(path), 'config_invalid');
    rmSync(path);
    await expectCode(() => readOperators(path), 'config_invalid');
    mkdirSync(path);
    await expectCode(() => readOperators(path), 'config_invalid');
  });

  it('is read again when it changes, and the secrets before are wiped', async () => {
    const seen: Secret[] = [];
    put({ logins: [login('ann', ANN)] });
    operators = new OperatorsFile(path, silentLog, {
      pollMilliseconds: 5,
      match: (secret, code, at) => {
        seen.push(secret);
        return matchingStep(secret, code, at);
      },
    });
    const asks = (name: string, secret: Uint8Array) =>
      operators?.stepOf(name, codeAt(secret, NOW), timeMs(NOW)) !== undefined;
    expect(asks('ann', ANN)).toBe(true);
    put({ logins: [login('ann', BOB)] });
    await until('it is read', () => asks('ann', BOB));
    expect(asks('ann', ANN)).toBe(false);
    const wiped = (secret: Secret | undefined) => expectCode(() => secret?.use(() => 0), 'secret_exposed');
    await wiped(seen[0]);
    expect(seen.at(-1)?.use((bytes) => [...bytes])).toEqual([...BOB]);
    operators.close();
    await wiped(seen.at(-1));
  });

  it('that goes bad changes nothing, and is complained about once', async () => {
    const lines: string[] = [];
    const log = createLog('debug', { write: (line) => void lines.push(line) });
    put({ logins: [login('ann', ANN)] });
    operators = new OperatorsFile(path, log, { pollMilliseconds: 60_000 });
    put({ logins: [{ name: 'ann', secret: `${base32(BOB)}!` }] });
    for (let round = 0; round < 3; round++) operators.refresh();
    expect(operators.stepOf('ann', codeAt(ANN, NOW), timeMs(NOW))).toBeDefined();
    put({ logins: [] });
    operators.refresh();
    expect(operators.stepOf('ann', codeAt(ANN, NOW), timeMs(NOW))).toBeUndefined();
    expect(lines).toHaveLength(2);
    expect(lines.join()).not.toContain(base32(BOB));
  });

  it('a login that does not exist costs what a wrong code costs: the same calls with a secret of the same length', () => {
    const calls: { length: number; code: string; at: number }[] = [];
    put({ logins: [login('ann', ANN)] });
    operators = new OperatorsFile(path, silentLog, {
      match: (secret, code, at) => {
        calls.push({ length: secret.length, code, at });
        return matchingStep(secret, code, at);
      },
    });
    const code = wrongCode(ANN, NOW);
    expect(operators.stepOf('ann', code, timeMs(NOW))).toBeUndefined();
    expect(operators.stepOf('nobody', code, timeMs(NOW))).toBeUndefined();
    expect(operators.stepOf('__proto__', code, timeMs(NOW))).toBeUndefined();
    expect(calls).toEqual(Array(3).fill({ length: 20, code, at: NOW }));
  });

  it('a login that does not exist has no code, not even that of the secret in its place', () => {
    put({ logins: [] });
    operators = new OperatorsFile(path, silentLog, { match: () => 7 });
    expect(operators.stepOf('ann', '123456', timeMs(NOW))).toBeUndefined();
  });
});
