/** qv log fetch: a whole copy, only what is new, and nothing that contradicts the checkpoint or the copy. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { openLogs } from '@quantumvault/host/cli/log-source.ts';
import type { BootId } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { encodeEntries } from '@quantumvault/shared/tlog/tile-data.ts';
import { tilePath, tilesOf } from '@quantumvault/shared/tlog/tiles.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import { type BuiltLog, Deployment } from '../../support/log-builder.ts';
import { bootsJson, filesOf, LogServer, writeFiles } from '../../support/log-server.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';

let temporary: Awaited<ReturnType<typeof temporaryFolder>>;
let server: LogServer;
let deployment: Deployment;
let first: BuiltLog;
let second: BuiltLog;
let counter = 0;
let folder: string;

const fetchTo = (to: string): Promise<JsonAnswer> => qvJson('log', 'fetch', server.url, '--dir', to);
const files = (from: string): string[] =>
  (readdirSync(from, { recursive: true }) as string[]).filter((name) => statSync(join(from, name)).isFile()).sort();

beforeAll(async () => {
  temporary = await temporaryFolder();
  server = await new LogServer().start();
  deployment = new Deployment();
  first = await deployment.start();
  const wallet = first.wallet();
  while (first.size < 300) wallet.sign();
  second = await deployment.start({ follows: first.predecessor() });
  second.wallet();
});
afterAll(async () => {
  await server?.stop();
  await temporary?.remove();
});
beforeEach(() => {
  folder = join(temporary.path, `copy-${counter++}`);
  server.reset(filesOf(deployment.serve()));
});

describe('a copy', () => {
  test('has everything, in the published layout, hash tiles too', async () => {
    expect(await fetchTo(folder)).toMatchObject({
      ok: true,
      logs: [
        { boot: first.boot, from: '0', to: '300' },
        { boot: second.boot, from: '0', to: '4' },
      ],
      policies: 2,
      policiesMissing: 0,
      withdrawn: [],
    });
    const expected = [...filesOf(deployment.serve()).keys()];
    for (const log of [first, second])
      expected.push(...[...tilesOf(BigInt(log.size))].map((tile) => `${log.boot}/${tilePath(tile)}`));
    expect(files(folder)).toEqual([...new Set(expected)].sort());
    for (const [path, bytes] of filesOf(deployment.serve()))
      if (path !== 'boots') expect(readFileSync(join(folder, path)).equals(bytes)).toBe(true);
    const tile = readFileSync(join(folder, first.boot, 'tile/1/000.p/1'));
    expect(tile.length).toBe(32);
  });

  test('is a source like its host', async () => {
    await fetchTo(folder);
    const [here, there] = [await openLogs(folder), await openLogs(server.url)];
    expect(await here.boots()).toEqual(await there.boots());
    for (const width of [256])
      expect(await here.entries(first.boot, 0n, width)).toEqual(await there.entries(first.boot, 0n, width));
  });

  test('goes on where it stopped: complete tiles are not asked for again', async () => {
    await fetchTo(folder);
    const log = await deployment.start();
    const wallet = log.wallet();
    while (log.size < 200) wallet.sign();
    server.reset(filesOf(deployment.serve()));
    await fetchTo(folder);
    expect(server.requests.filter((path) => path.startsWith(first.boot))).toEqual([`${first.boot}/checkpoint`]);
    while (log.size < 600) wallet.sign();
    server.reset(filesOf(deployment.serve()));
    expect(await fetchTo(folder)).toMatchObject({ ok: true, bundlesFetched: 3 });
    // Narrower versions are gone once wider ones are there.
    expect(files(join(folder, log.boot))).not.toContain('tile/entries/000.p/200');
    server.requests.length = 0;
    expect(await fetchTo(folder)).toMatchObject({ ok: true, bundlesFetched: 0 });
    deployment.logs.pop();
  });

  test('an interrupted one continues with what it has', async () => {
    const bundle = `${first.boot}/tile/entries/001.p/44`;
    server.handlers.set(bundle, (_request, response) => response.writeHead(500).end('{'));
    expect(await fetchTo(folder)).toMatchObject({ ok: false, error: { code: 'response_malformed' } });
    expect(existsSync(join(folder, first.boot, 'checkpoint'))).toBe(false);
    server.reset(filesOf(deployment.serve()));
    expect(await fetchTo(folder)).toMatchObject({ ok: true });
    expect(server.requests).not.toContain(`${first.boot}/tile/entries/000`);
  });

  test('of one log without a list', async () => {
    const single = new Map(
      [...server.files].flatMap(([path, bytes]) =>
        path.startsWith(`${first.boot}/`) ? [[path.slice(first.boot.length + 1), bytes] as const] : [],
      ),
    );
    server.reset(single);
    expect(await fetchTo(folder)).toMatchObject({ ok: true, logs: [{ boot: first.boot, to: '300' }] });
    expect(await (await openLogs(folder)).boots()).toEqual([first.boot]);
  });

  test('people read what was copied', async () => {
    const { exit, stdout, stderr } = await qv('log', 'fetch', server.url, '--dir', folder);
    expect([exit, stderr]).toEqual([0, '']);
    expect(stdout).toContain('✓ Copied');
    expect(stdout).toContain('300 leaves');
  });

  test('one connection or few: they are kept', async () => {
    const before = server.connections;
    await fetchTo(folder);
    expect(server.connections - before).toBeLessThan(8);
  });
});

describe('a host that contradicts itself or the copy', () => {
  const served = () => deployment.serve();
  const logOf = (boot: BootId, all = served()) => {
    const log = all.logs.get(boot);
    if (log === undefined) throw new Error('no such log');
    return { all, log };
  };

  test('a leaf edited under the same checkpoint: nothing is published here, and an honest host is copied next', async () => {
    const { all, log } = logOf(first.boot);
    log.entries[5] = utf8('edited');
    server.reset(filesOf(all));
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'log_root_mismatch', path: first.boot } });
    expect(existsSync(join(folder, first.boot, 'checkpoint'))).toBe(false);
    expect(existsSync(join(folder, 'boots'))).toBe(false);
    server.reset(filesOf(served()));
    expect(await fetchTo(folder)).toMatchObject({ ok: true });
  });

  test('rewound', async () => {
    await fetchTo(folder);
    const { all, log } = logOf(first.boot);
    log.note = first.checkpoint({ size: 299 });
    server.reset(filesOf(all));
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'log_rewound' } });
  });

  test('forked at the same size, and forked further on', async () => {
    await fetchTo(folder);
    const kept = readFileSync(join(folder, first.boot, 'checkpoint'));
    const { all, log } = logOf(first.boot);
    log.entries[299] = utf8('another');
    log.note = first.checkpoint({ entries: log.entries });
    server.reset(filesOf(all));
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'log_forked' } });
    log.entries.push(utf8('more'));
    log.note = first.checkpoint({ entries: log.entries });
    server.reset(filesOf(all));
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'log_forked' } });
    expect(readFileSync(join(folder, first.boot, 'checkpoint')).equals(kept)).toBe(true);
    server.reset(filesOf(served()));
    expect(await fetchTo(folder)).toMatchObject({ ok: true });
  });

  test('forked in what is complete here', async () => {
    await fetchTo(folder);
    const { all, log } = logOf(first.boot);
    log.entries[3] = utf8('another');
    log.entries.push(utf8('more'));
    log.note = first.checkpoint({ entries: log.entries });
    server.reset(filesOf(all));
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'log_root_mismatch' } });
  });

  test('a boot no longer listed: named, kept, exit 1', async () => {
    await fetchTo(folder);
    server.files.set('boots', bootsJson([{ boot: second.boot, size: 4n }]));
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, code: 'log_unknown', withdrawn: [first.boot] });
    expect(await (await openLogs(folder)).boots()).toEqual([first.boot, second.boot]);
  });

  test('a checkpoint of another boot, or unsigned', async () => {
    server.files.set(`${first.boot}/checkpoint`, second.checkpoint());
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'log_origin_mismatch' } });
    const forged = new TextDecoder().decode(first.checkpoint()).replace('\n300\n', '\n299\n');
    server.files.set(`${first.boot}/checkpoint`, utf8(forged));
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'log_note_signature_invalid' } });
  });

  test('a policy that is another', async () => {
    const name = [...server.files.keys()].find((path) => path.startsWith('policies/')) ?? '';
    server.files.set(name, utf8('other'));
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'response_malformed' } });
  });

  test('bundles of another width, with more behind them, or cut', async () => {
    const path = `${second.boot}/tile/entries/000.p/4`;
    for (const bytes of [
      encodeEntries(second.entries.slice(0, 3)),
      encodeEntries([...second.entries, utf8('x')]),
      encodeEntries(second.entries).subarray(1),
    ]) {
      server.files.set(path, bytes);
      expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'response_malformed' } });
    }
  });
});

describe('a host that attacks', () => {
  test('an endless list, bundle or refusal ends at the limit', async () => {
    for (const [path, status] of [
      ['boots', 200],
      [`${second.boot}/tile/entries/000.p/4`, 200],
      [`${first.boot}/checkpoint`, 404],
    ] as const) {
      server.reset(filesOf(deployment.serve()));
      server.handlers.set(path, (_request, response) => {
        response.writeHead(status);
        const more = (): void => {
          while (!response.destroyed && response.write(Buffer.alloc(64 * 1024)));
          if (!response.destroyed) response.once('drain', more);
        };
        more();
      });
      expect(await fetchTo(folder)).toMatchObject({
        exit: 1,
        error: { code: 'response_malformed', value: 'too large' },
      });
    }
  });

  test('a redirect is not followed', async () => {
    server.handlers.set('boots', (_request, response) => response.writeHead(302, { location: '/elsewhere' }).end());
    expect(await fetchTo(folder)).toMatchObject({ exit: 4, error: { code: 'host_unreachable' } });
    expect(server.requests).not.toContain('/elsewhere');
  });

  test.each([
    ['a path for a boot', '{"boots":[{"boot":"../../../../etc/passwd","size":"1"}]}'],
    ['a boot twice', JSON.stringify({ boots: Array(2).fill({ boot: '1'.repeat(32), size: '1' }) })],
    ['a size that is a number', `{"boots":[{"boot":"${'1'.repeat(32)}","size":1}]}`],
    ['a size with a sign', `{"boots":[{"boot":"${'1'.repeat(32)}","size":"-1"}]}`],
    ['another field', `{"boots":[{"boot":"${'1'.repeat(32)}","size":"1","x":1}]}`],
    ['a list', '[]'],
    ['no JSON', '<html>'],
    ['too many', JSON.stringify({ boots: Array(10_001).fill(0) })],
  ])('%s', async (_, text) => {
    server.files.set('boots', utf8(text));
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'response_malformed' } });
  });

  test('a size beyond all bounds stops at the first missing bundle', async () => {
    server.files.set(`${second.boot}/checkpoint`, second.checkpoint({ claimedSize: 2n ** 62n }));
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'log_unknown' } });
  });

  test('no log at all', async () => {
    server.reset(new Map());
    expect(await fetchTo(folder)).toMatchObject({ exit: 1, error: { code: 'log_unknown' } });
    await expectCode(openLogs(temporary.path), 'log_unknown');
  });
});

describe('folders', () => {
  test('a partial bundle is cut from a wider one, or from the complete one', async () => {
    mkdirSync(folder);
    const all = filesOf(deployment.serve());
    writeFiles(folder, all);
    const source = await openLogs(folder);
    expect(await source.entries(first.boot, 0n, 7)).toEqual(encodeEntries(first.entries.slice(0, 7)));
    expect(await source.entries(first.boot, 1n, 3)).toEqual(encodeEntries(first.entries.slice(256, 259)));
    await expectCode(source.entries(first.boot, 1n, 45), 'log_unknown');
    writeFileSync(join(folder, first.boot, 'tile/entries/000'), Uint8Array.of(0, 9, 1));
    // What is no bundle is for the audit to judge.
    expect(await source.entries(first.boot, 0n, 7)).toEqual(Uint8Array.of(0, 9, 1));
  });

  test('links, pipes and folders in the place of files are not followed', async () => {
    mkdirSync(folder);
    writeFiles(folder, filesOf(deployment.serve()));
    const source = await openLogs(folder);
    const note = join(folder, first.boot, 'checkpoint');
    const secret = join(temporary.path, 'secret');
    writeFileSync(secret, 'secret');
    rmSync(note);
    symlinkSync(secret, note);
    await expectCode(source.checkpoint(first.boot), 'input_unreadable');
    rmSync(note);
    execFileSync('mkfifo', [note]);
    await expectCode(source.checkpoint(first.boot), 'input_unreadable');
    rmSync(note);
    mkdirSync(note);
    await expectCode(source.checkpoint(first.boot), 'input_unreadable');
    const elsewhere = join(temporary.path, 'elsewhere');
    mkdirSync(join(elsewhere, 'tile/entries'), { recursive: true });
    writeFileSync(join(elsewhere, 'tile/entries/000'), 'x');
    rmSync(join(folder, first.boot), { recursive: true });
    symlinkSync(elsewhere, join(folder, first.boot));
    await expectCode(source.entries(first.boot, 0n, 256), 'input_unreadable');
    await expectCode(source.entries(first.boot, 0n, 7), 'input_unreadable');
  });

  test('too large for what it is', async () => {
    mkdirSync(folder);
    writeFiles(folder, filesOf(deployment.serve()));
    writeFileSync(join(folder, first.boot, 'checkpoint'), Buffer.alloc(200 * 1024));
    await expectCode((await openLogs(folder)).checkpoint(first.boot), 'body_too_large');
  });

  test('a place that cannot be written, or leads elsewhere', async () => {
    writeFileSync(join(temporary.path, 'file'), '');
    expect(await fetchTo(join(temporary.path, 'file', 'here'))).toMatchObject({
      exit: 2,
      error: { code: 'output_unwritable' },
    });
    mkdirSync(folder);
    const elsewhere = join(temporary.path, 'other-place');
    mkdirSync(elsewhere);
    symlinkSync(elsewhere, join(folder, first.boot));
    expect(await fetchTo(folder)).toMatchObject({ exit: 2, error: { code: 'input_unreadable' } });
    expect(readdirSync(elsewhere)).toEqual([]);
  });

  test.each([
    [['log', 'fetch'], 'usage_invalid'],
    [['log', 'fetch', 'http://127.0.0.1:1'], 'usage_invalid'],
    [['log', 'fetch', 'http://127.0.0.1:1/?x=1', '--dir', 'x'], 'usage_invalid'],
    [['log', 'fetch', '/does/not/exist', '--dir', 'x'], 'input_unreadable'],
    [['log', 'fetch', '/etc/passwd', '--dir', 'x'], 'input_unreadable'],
  ])('%j: %s', async (argv, code) => {
    expect(await qvJson(...argv)).toMatchObject({ exit: 2, error: { code } });
  });
});
