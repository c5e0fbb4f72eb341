/** Where keys are read from: descriptors, private files; how much; and what is refused before a byte is read. */
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { type OwnedSeed, type ReadSeedOptions, readSeed } from '@quantumvault/host/cli/import/read-key.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../../../support/codes.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { masterSeedOf, mnemonicOf, nodesOf, pairOf } from './oracle.ts';

const seed = Buffer.alloc(32, 0xd3);
const { pair, address } = pairOf(seed);
const keypair = JSON.stringify([...pair]);
const mnemonic = mnemonicOf(Buffer.alloc(24, 0x81));
const fromMnemonic = (passphrase = '', path: readonly number[] = [44, 501, 0, 0]) =>
  pairOf(nodesOf(masterSeedOf(mnemonic, passphrase), path).at(-1)?.key ?? seed).address;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

let files = 0;
function file(content: string | Uint8Array, mode = 0o600): string {
  const path = join(folder.path, `file-${files++}`);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

/** Reads and wipes; the address. */
async function addressFrom(options: ReadSeedOptions): Promise<string> {
  const owned = await readSeed(options);
  owned.wipe();
  return owned.address;
}

async function withDescriptor<T>(path: string, flags: number, use: (descriptor: number) => Promise<T>): Promise<T> {
  const descriptor = openSync(path, flags);
  try {
    return await use(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

describe('a private file', () => {
  it('is read in each form', async () => {
    for (const content of [keypair, `${keypair}\n`, pair, seed, toBase58(pair), `${toBase58(pair)}\n`])
      expect(await addressFrom({ key: { file: file(content) } })).toBe(address);
    expect(await addressFrom({ key: { file: file(`${mnemonic}\n`) } })).toBe(fromMnemonic());
    expect(await addressFrom({ key: { file: file(keypair, 0o400) } })).toBe(address);
    const link = join(folder.path, 'link');
    symlinkSync(file(keypair), link);
    expect(await addressFrom({ key: { file: link } })).toBe(address);
  });

  it.each([0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o666])('with mode %o is none', async (mode) => {
    const path = file(keypair, mode);
    const { facts } = await expectCode(readSeed({ key: { file: path } }), 'key_file_unsafe');
    expect(facts).toEqual({ path, value: 'other users may read or write it' });
  });

  it.runIf(process.geteuid?.() === 0)('of another user is none', async () => {
    const path = file(keypair);
    chownSync(path, 12_345, 12_345);
    const { facts } = await expectCode(readSeed({ key: { file: path } }), 'key_file_unsafe');
    expect(facts.value).toBe('owned by another user');
  });

  it('is a regular file', async () => {
    const directory = join(folder.path, 'directory');
    mkdirSync(directory);
    const pipe = join(folder.path, 'pipe');
    execFileSync('mkfifo', ['-m', '600', pipe]);
    const missing = join(folder.path, 'missing');
    const noFile = 'not a regular file; a pipe is read as a descriptor';
    for (const [path, value] of [
      [directory, noFile],
      [pipe, noFile],
      ['/dev/zero', noFile],
      [missing, 'ENOENT'],
    ] as const) {
      const { facts } = await expectCode(readSeed({ key: { file: path } }), 'input_unreadable');
      expect(facts).toEqual({ path, value });
    }
  });
});

describe('a descriptor', () => {
  it('may be an open file', async () => {
    await withDescriptor(file(keypair), constants.O_RDONLY, async (descriptor) => {
      expect(await addressFrom({ key: { descriptor } })).toBe(address);
      // Read once: a second time it is at its end.
      await expectCode(readSeed({ key: { descriptor } }), 'key_malformed');
    });
  });

  it('may be a pipe that delivers byte by byte, and does not block', async () => {
    const path = join(folder.path, 'slow');
    execFileSync('mkfifo', [path]);
    // A reader has to be there before a writer that does not wait.
    await withDescriptor(path, constants.O_RDONLY | constants.O_NONBLOCK, async (descriptor) => {
      const writer = spawn('sh', [
        '-c',
        'for i in "$@"; do printf %s "$i"; sleep 0.01; done > "$0"',
        path,
        ...(mnemonic.match(/.{1,9}/g) ?? []),
      ]);
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await addressFrom({ key: { descriptor } })).toBe(fromMnemonic());
      writer.kill();
    });
  });

  it("is none of Node's own, which somebody may name by mistake: reading those would never end", async () => {
    const links = readdirSync('/proc/self/fd').flatMap((name) => {
      try {
        return [[Number(name), readlinkSync(`/proc/self/fd/${name}`)] as const];
      } catch {
        // The one of the listing itself.
        return [];
      }
    });
    const own = links.filter(
      ([at, link]) => link.startsWith('pipe:') && links.some(([b, l]) => b !== at && l === link),
    );
    expect(own.length).toBeGreaterThan(0);
    for (const [descriptor] of own) {
      const { facts } = await expectCode(readSeed({ key: { descriptor } }), 'input_unreadable');
      expect(facts).toEqual({ path: `descriptor ${descriptor}`, value: 'not open' });
    }
  });

  it('has to be open, readable, and no terminal or device', async () => {
    for (const descriptor of [999, 1_023]) {
      const { facts } = await expectCode(readSeed({ key: { descriptor } }), 'input_unreadable');
      expect(facts).toEqual({ path: `descriptor ${descriptor}`, value: 'not open' });
    }
    await withDescriptor('/dev/zero', constants.O_RDONLY, async (descriptor) => {
      const { facts } = await expectCode(readSeed({ key: { descriptor } }), 'input_unreadable');
      expect(facts.value).toBe('neither file, pipe nor socket');
    });
    await withDescriptor(file(''), constants.O_WRONLY, async (descriptor) => {
      expect((await expectCode(readSeed({ key: { descriptor } }), 'input_unreadable')).facts.value).toBe('EBADF');
    });
  });
});

describe('how much is read', () => {
  it('is bounded', async () => {
    const spaces = ' '.repeat(LIMITS.importKeyBytes - keypair.length);
    expect(await addressFrom({ key: { file: file(keypair + spaces) } })).toBe(address);
    for (const content of [`${keypair}${spaces} `, 'zqxj'.repeat(100_000)])
      await expectCode(readSeed({ key: { file: file(content) } }), 'body_too_large');
    const key = { file: file(mnemonic) };
    const longest = 'p'.repeat(LIMITS.importPassphraseBytes);
    expect(await addressFrom({ key, passphrase: { file: file(longest) } })).toBe(fromMnemonic(longest));
    await expectCode(readSeed({ key, passphrase: { file: file(`${longest}p`) } }), 'body_too_large');
  });

  it('is at least something', async () => {
    for (const content of ['', '\n', ' \t\r\n'])
      await expectCode(readSeed({ key: { file: file(content) } }), 'key_malformed');
  });
});

describe('a passphrase', () => {
  const key = () => ({ file: file(mnemonic) });

  it.each([
    ['TREZOR', 'TREZOR'],
    ['TREZOR\n', 'TREZOR'],
    ['TREZOR\r\n', 'TREZOR'],
    [' with spaces ', ' with spaces '],
    ['', ''],
    ['\n', ''],
  ])('%j is %j', async (content, passphrase) => {
    expect(await addressFrom({ key: key(), passphrase: { file: file(content) } })).toBe(fromMnemonic(passphrase));
  });

  it('has one line', async () => {
    for (const content of ['TREZOR\n\n', 'a\nb', 'naïve'])
      await expectCode(readSeed({ key: key(), passphrase: { file: file(content) } }), 'passphrase_malformed');
  });

  it('or a path goes with a mnemonic alone', async () => {
    for (const more of [{ passphrase: { file: file('zqxjz') } }, { path: "m/44'/501'" }]) {
      const { facts } = await expectCode(readSeed({ key: { file: file(keypair) }, ...more }), 'usage_invalid');
      expect(facts.value).toBe('a passphrase or a path goes with a mnemonic, and this is none');
    }
  });
});

describe('the wallet that it has to be the key of', () => {
  it('is compared', async () => {
    expect(await addressFrom({ key: { file: file(keypair) }, wallet: address })).toBe(address);
    const other = pairOf(Buffer.alloc(32, 1)).address;
    const wrong = await expectCode(readSeed({ key: { file: file(keypair) }, wallet: other }), 'key_wallet_mismatch');
    expect(wrong.facts.value).toBe(`what was read is the key of ${address}`);
    const path = await expectCode(readSeed({ key: { file: file(mnemonic) }, wallet: other }), 'key_wallet_mismatch');
    expect(path.facts.value).toBe(
      `what was read is the key of ${fromMnemonic()}; the path or the passphrase may be another one`,
    );
  });

  it('is not taken for its key', async () => {
    for (const [options, value] of [
      [{ wallet: address }, 'this is the address of the wallet, not its key'],
      [{}, 'base58 of 32 bytes may be an address: say which wallet, or that the form is base58'],
    ] as const) {
      const { facts } = await expectCode(readSeed({ key: { file: file(address) }, ...options }), 'key_malformed');
      expect(facts.value).toBe(value);
    }
    expect(await addressFrom({ key: { file: file(toBase58(seed)) }, wallet: address })).toBe(address);
    expect(await addressFrom({ key: { file: file(toBase58(seed)) }, form: 'base58' })).toBe(address);
  });
});

describe('what is read', () => {
  const owned = (): Promise<OwnedSeed> => readSeed({ key: { file: file(keypair) } });

  it('is lent, as 32 bytes of guarded memory, until it is wiped', async () => {
    const own = await owned();
    expect(own.use((bytes) => [bytes.length, Buffer.from(bytes).equals(seed)])).toEqual([32, true]);
    expect(own.use((bytes) => own.use((again) => again.buffer === bytes.buffer))).toBe(true);
    own.wipe();
    own.wipe();
    await expectCode(() => own.use(() => 0), 'secret_exposed');
    expect(own.address).toBe(address);
  });

  it('does not come back from where it was lent to, and does not show', async () => {
    const own = await owned();
    await expectCode(() => own.use((bytes) => bytes), 'secret_exposed');
    await expectCode(() => own.use((bytes) => bytes.subarray(3)), 'secret_exposed');
    await expectCode(() => own.use(async (bytes) => bytes.length), 'secret_exposed');
    for (const shown of [inspect(own, { depth: 9, showHidden: true }), JSON.stringify(own), String(own)])
      expect(shown).not.toMatch(/211|d3d3|d3, d3/);
    own.wipe();
  });
});
