/** Each of the ways in which naive code lets a key out is found by the search: without this, zeros would say little. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleEnclave } from '@quantumvault/enclave/bundle.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Appliance } from './appliance.ts';
import { Examination, type Look } from './examination.ts';

/** As test/memory/enclave/leaky.ts names them, with the forms of which the search has to see one. */
const SEEN_AS: Readonly<Record<string, readonly string[]>> = {
  nothing: [],
  'a hex string': ['hex'],
  'an upper-case hex string': ['upper-case hex'],
  'a base64 string': ['base64'],
  'a base64url string of more': ['base64url', 'base64'],
  'a base58 string': ['base58'],
  'a two-byte string': ['hex, UTF-16'],
  'a string of bytes': ['raw'],
  'a JSON array': ['numbers'],
  'a printed buffer': ['hex with spaces'],
  'a big number': ['reversed'],
  'a buffer that nobody wiped': ['raw'],
  'half of it': ['raw'],
  'a key object': ['raw'],
  'small arrays that were wiped after a collection': ['raw'],
  'a buffer that was freed': ['raw'],
};
const LEAKS = Object.keys(SEEN_AS);

let folder: string;
let appliance: Appliance;
let look: Look;
/** By the wallet whose execution key was leaked. */
let leakOf: Map<string, string>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qv-leaky-'));
  const entry = (...path: readonly string[]): string => join(import.meta.dirname, ...path);
  const bundle = await bundleEnclave({
    vaultEntry: entry('enclave', 'leaky.ts'),
    agentEntry: entry('..', 'stack', 'enclave', 'kms-agent.ts'),
    outDir: join(folder, 'image'),
  });
  appliance = await Appliance.start({ bundle });
  // The row key has been leaked before any of them, in one of the ways.
  for (let index = 0; index <= LEAKS.length; index++) await appliance.createWallet();
  const examination = new Examination(appliance);
  look = await examination.look('enclave');
  const said = readFileSync(join(appliance.stack.dir, 'enclave.log'), 'latin1').matchAll(
    /^leak ([0-9a-f]{64}) (.*)$/gm,
  );
  const nameOf = new Map([...said].map(([, hash = '', name = '']) => [hash, name]));
  leakOf = new Map(
    examination.ledger.secretsOf('execution key').map(({ of, bytes }) => {
      return [of, nameOf.get(createHash('sha256').update(bytes).digest('hex')) ?? ''];
    }),
  );
}, 120_000);
afterAll(async () => {
  await appliance?.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('a leak that was planted is found', () => {
  it('all of them were planted', () => expect(new Set(leakOf.values())).toEqual(new Set(LEAKS)));

  it.each(LEAKS)('%s', (name) => {
    const wallets = [...leakOf].filter(([, leak]) => leak === name).map(([wallet]) => wallet);
    const expected = SEEN_AS[name] ?? [];
    expect(wallets.length).toBeGreaterThan(0);
    for (const wallet of wallets) {
      const places = look.occurrences.filter(({ secret }) => secret.kind === 'execution key' && secret.of === wallet);
      const forms = places.filter(({ isGuarded }) => !isGuarded).flatMap((place) => place.forms);
      if (expected.length === 0) expect(forms).toEqual([]);
      else expect(forms.filter((form) => expected.includes(form))).not.toEqual([]);
    }
  });

  it('and nothing else is', () => {
    const others = look.occurrences.filter(
      ({ secret }) => !['execution key', 'boot key', 'import key'].includes(secret.kind),
    );
    expect(others.map(({ secret }) => secret.kind)).toEqual([]);
  });
});
