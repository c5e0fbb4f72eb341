/** A witness's directory: made once, for one user, key and memory together or not at all. */
import { generateKeyPairSync } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { initDirectory, openDirectory } from '@quantumvault/host/witness/directory.ts';
import { WitnessStore } from '@quantumvault/host/witness/store.ts';
import { hash } from '@quantumvault/shared/brands.ts';
import { parseVerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { qv, qvJson } from '../cli/call.ts';
import { WITNESS_NAME } from './kit.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let dir: string;
beforeEach(async () => {
  folder = await temporaryFolder();
  dir = join(folder.path, 'a ?#%', 'witness');
});
afterEach(() => folder.remove());

const init = () => initDirectory(dir, WITNESS_NAME);
const open = () => {
  const { store } = openDirectory(dir);
  store.close();
};

describe('qv init witness', () => {
  it('makes it and prints the verifier key', async () => {
    const answer = await qvJson('init', 'witness', '--dir', dir, '--name', WITNESS_NAME);
    expect(answer).toMatchObject({ ok: true, dir, name: WITNESS_NAME });
    const key = parseVerifierKey(String(answer['key']));
    expect(key).toMatchObject({ name: WITNESS_NAME, type: 'cosignature' });
    const { store, cosigner } = openDirectory(dir);
    expect(cosigner.key).toEqual(key);
    store.close();
    const files = readdirSync(dir).sort();
    expect(files).toEqual(['witness.db', 'witness.pem']);
    for (const file of files) expect(statSync(join(dir, file)).mode & 0o777).toBe(0o600);
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    expect(readFileSync(join(dir, 'witness.pem'), 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----/);
  });

  it('never replaces anything', async () => {
    const { stdout } = await qv('init', 'witness', '--dir', dir, '--name', WITNESS_NAME);
    expect(stdout).toContain('witness.example/w1+');
    const before = readFileSync(join(dir, 'witness.pem'));
    expect(await qvJson('init', 'witness', '--dir', dir, '--name', 'other.example')).toMatchObject({
      exit: 1,
      error: { code: 'already_initialised' },
    });
    // One of the two is lost: what is left is no beginning.
    copyFileSync(join(dir, 'witness.db'), join(folder.path, 'kept.db'));
    rmSync(join(dir, 'witness.db'));
    await expectCode(init, 'already_initialised');
    expect(readdirSync(dir)).toEqual(['witness.pem']);
    expect(readFileSync(join(dir, 'witness.pem'))).toEqual(before);
    copyFileSync(join(folder.path, 'kept.db'), join(dir, 'witness.db'));
    rmSync(join(dir, 'witness.pem'));
    await expectCode(init, 'already_initialised');
    expect(readdirSync(dir)).toEqual(['witness.db']);
  });

  it.each(['', 'a b', 'a+b', '-a', 'ä', 'a\n', 'https://ä', 'x'.repeat(128)])('refuses the name %j', async (name) => {
    expect(await qvJson('init', 'witness', '--dir', dir, `--name=${name}`)).toMatchObject({
      exit: 2,
      error: { code: 'usage_invalid' },
    });
    await expectCode(() => initDirectory(dir, name), 'config_invalid');
    expect(readdirSync(folder.path)).toEqual([]);
  });

  it('says when it cannot write', async () => {
    writeFileSync(join(folder.path, 'file'), '');
    const error = await expectCode(() => initDirectory(join(folder.path, 'file', 'x'), WITNESS_NAME), 'config_invalid');
    expect(error.facts.value).toBe('ENOTDIR');
  });
});

describe('the key file', () => {
  const key = () => join(dir, 'witness.pem');

  it.each([0o640, 0o604, 0o660, 0o602, 0o601])('is refused with mode %o', async (mode) => {
    init();
    chmodSync(key(), mode);
    const error = await expectCode(open, 'config_invalid');
    expect(error.facts).toEqual({ path: key(), value: 'other users may read or write it' });
  });

  // Only root can give a file away.
  it.runIf(process.geteuid?.() === 0)('is refused when it is another user’s', async () => {
    init();
    chownSync(key(), 12_345, 0);
    expect((await expectCode(open, 'config_invalid')).facts.value).toBe('owned by another user');
  });

  it('is refused when it is a directory, a pipe or missing', async () => {
    init();
    rmSync(key());
    expect((await expectCode(open, 'config_invalid')).facts.value).toBe('ENOENT');
    mkdirSync(key());
    expect((await expectCode(open, 'config_invalid')).facts.value).toBe('not a regular file');
  });

  it('may be a link to one that is as private', () => {
    init();
    const elsewhere = join(folder.path, 'elsewhere.pem');
    writeFileSync(elsewhere, readFileSync(key()), { mode: 0o600 });
    rmSync(key());
    symlinkSync(elsewhere, key());
    open();
  });

  it('is refused when it is no Ed25519 key, or another than the memory’s', async () => {
    init();
    const replace = (pem: string | Buffer) => writeFileSync(key(), pem);
    const pemOf = (pair: ReturnType<typeof generateKeyPairSync>) =>
      pair.privateKey.export({ format: 'pem', type: 'pkcs8' });
    replace('nonsense');
    expect((await expectCode(open, 'config_invalid')).facts.value).toBe('not a private key in PEM');
    replace(pemOf(generateKeyPairSync('x25519') as ReturnType<typeof generateKeyPairSync>));
    expect((await expectCode(open, 'config_invalid')).facts.value).toBe('not an Ed25519 key');
    replace(pemOf(generateKeyPairSync('ed25519') as ReturnType<typeof generateKeyPairSync>));
    expect((await expectCode(open, 'config_invalid')).facts.value).toBe('the memory of another key');
  });
});

describe('the memory', () => {
  const memory = () => join(dir, 'witness.db');
  const sql = (statement: string) => {
    const database = new DatabaseSync(memory());
    try {
      database.exec(statement);
    } finally {
      database.close();
    }
  };

  it('is never made by starting', async () => {
    init();
    rmSync(memory());
    await expectCode(open, 'config_invalid');
    expect(readdirSync(dir)).toEqual(['witness.pem']);
    writeFileSync(memory(), '');
    await expectCode(open, 'config_invalid');
    writeFileSync(memory(), 'x'.repeat(10_000));
    await expectCode(open, 'config_invalid');
  });

  it('is refused when a newer release wrote it, or it names nobody', async () => {
    init();
    sql("UPDATE witness SET vkey = 'nobody'");
    await expectCode(open, 'config_invalid');
    sql('PRAGMA user_version = 2');
    expect((await expectCode(open, 'config_invalid')).facts.value).toBe('schema 2');
  });

  it('lets no log shrink, fork or go, whatever the code would do', () => {
    init();
    sql("INSERT INTO logs VALUES ('log', zeroblob(32), 5, zeroblob(32), NULL, 0)");
    for (const statement of [
      'UPDATE logs SET size = 4',
      `UPDATE logs SET root = x'${'01'.repeat(32)}'`,
      `UPDATE logs SET size = 6, key = x'${'01'.repeat(32)}'`,
      "UPDATE logs SET size = 6, origin = 'other'",
      'DELETE FROM logs',
    ])
      expect(() => sql(statement)).toThrow(/a log only grows|a log is never forgotten/);
    sql('UPDATE logs SET size = 6');
  });

  it('that does not answer means no cosignature, and the lock is not kept', async () => {
    init();
    const store = new WitnessStore(memory());
    const root = hash(new Uint8Array(32).fill(1));
    store.admit('log', new Uint8Array(32), 0);
    const other = new DatabaseSync(memory());
    other.exec('BEGIN IMMEDIATE');
    let asked = 0;
    const advance = () =>
      store.advance('log', () => {
        asked++;
        return { size: 3n, root, note: undefined };
      });
    await expectCode(advance, 'store_unavailable');
    expect(asked).toBe(0);
    other.exec('ROLLBACK');
    expect(() =>
      store.advance('log', () => {
        throw new Error('refused');
      }),
    ).toThrow('refused');
    // A shrinking one is stopped by the file itself.
    advance();
    await expectCode(() => store.advance('log', () => ({ size: 2n, root, note: undefined })), 'store_unavailable');
    other.exec('BEGIN IMMEDIATE');
    other.exec('ROLLBACK');
    other.close();
    await expectCode(() => store.advance('unknown', (last) => last), 'witness_log_unknown');
    store.close();
  });

  it('between looking and storing nobody else moves the log', async () => {
    init();
    const [mine, other] = [new WitnessStore(memory()), new WitnessStore(memory())];
    const state = (size: bigint, fill: number) => ({
      size,
      root: hash(new Uint8Array(32).fill(fill)),
      note: Uint8Array.of(fill),
    });
    mine.admit('log', new Uint8Array(32), 0);
    let refusal: Promise<unknown> | undefined;
    mine.advance('log', () => {
      refusal = expectCode(() => other.advance('log', () => state(6n, 2)), 'store_unavailable');
      return state(5n, 1);
    });
    await refusal;
    // What the other sees next is what was stored, not what it saw at any time before.
    other.advance('log', (last) => {
      expect(last).toEqual(state(5n, 1));
      return state(7n, 3);
    });
    mine.advance('log', (last) => {
      expect(last).toEqual(state(7n, 3));
      return last;
    });
    for (const store of [mine, other]) store.close();
  });
});
