/** qv panic and qv init totp: the owner's and the support staff's sides of POST /v1/freeze. */
import { execFile } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type Keyboard, readSecret } from '@quantumvault/host/cli/secret-input.ts';
import { connectionTo, panic } from '@quantumvault/host/client/client.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { OperatorsFile } from '@quantumvault/host/remote-freeze/operators-file.ts';
import { formatPanicCode } from '@quantumvault/host/remote-freeze/panic-code.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import { noteCode } from '../../support/codes-seen.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { Harness } from '../harness.ts';
import { codeAt } from '../remote-freeze/kit.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';

const QV = join(import.meta.dirname, '..', '..', '..', 'host', 'src', 'cli', 'qv.ts');

/** As a process of its own, with something on its standard input. */
function call(input: string, ...argv: readonly string[]): Promise<JsonAnswer> {
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, [QV, 'panic', ...argv, '--json'], (error, stdout, stderr) => {
      if (stderr !== '') return reject(new Error(stderr));
      const answer = JSON.parse(stdout) as JsonAnswer;
      expect(error?.code ?? 0).toBe(answer.exit);
      resolve(answer);
    });
    child.stdin?.end(input);
  });
}

describe('qv panic', () => {
  let host: Harness;
  let panicCode: string;
  beforeAll(async () => {
    host = await new Harness().start();
    await host.createWallet();
    const response = await host.send('PUT', `/v1/wallets/${host.wallet}/policy`, host.enabling());
    panicCode = ((await response.json()) as { panicCode: string }).panicCode;
  });
  afterAll(() => host.stop());

  test('freezes the wallet with the code on standard input', async () => {
    const answer = await call(`${panicCode}\n`, '--url', host.host.url, '--reason', 'phone stolen', '-');
    expect(answer).toMatchObject({ ok: true, scope: `wallet:${host.wallet}`, allHold: true, host: { held: true } });
    expect(JSON.stringify(answer)).not.toContain(panicCode);
    expect(host.rows('freezes')).toMatchObject([{ reason: 'panic code: phone stolen' }]);
  });

  test('says what does not hold, and is no success then', async () => {
    await host.enclave.close(host.path('control.sock'));
    host.enclave.handlers.freeze = () => 'hang';
    const answer = await call(panicCode, '--url', host.host.url, '-');
    expect(answer).toMatchObject({ ok: false, exit: 1, code: 'freeze_not_held', host: { held: true } });
    expect(answer['enclaves']).toMatchObject([{ held: false }]);
    delete host.enclave.handlers.freeze;
    await host.enclave.listen(host.path('control.sock'));
  });

  test('a typing error is found before anybody is asked; a wrong code is refused', async () => {
    const typed = await call('0000-0000-0000-0000-0000-0001-6JJ', '--url', 'http://127.0.0.1:1', '-');
    expect(typed).toMatchObject({ exit: 2, error: { code: 'field_malformed', path: 'panicCode' } });
    const wrong = await call(formatPanicCode(new Uint8Array(16)), '--url', host.host.url, '-');
    expect(wrong).toMatchObject({ exit: 1, error: { code: 'freeze_credentials_invalid' } });
    noteCode('freeze_credentials_invalid');
  });

  test('the SDK does the same', async () => {
    const answer = await panic(connectionTo(host.host.url), { panicCode: panicCode.toLowerCase() });
    expect(answer).toEqual({
      scope: `wallet:${host.wallet}`,
      host: { held: true, at: expect.any(String) },
      enclaves: [{ held: true, at: expect.any(String) }],
      database: { held: true, at: expect.any(String) },
    });
    const lying = (body: unknown) => async () => new Response(JSON.stringify(body));
    for (const body of [{}, { ...answer, host: {} }, { ...answer, enclaves: [{ held: false, code: '\u001b[2J' }] }]) {
      const connection = connectionTo(host.host.url, { fetch: lying(body) });
      await expectCode(panic(connection, { panicCode }), 'response_malformed');
    }
  });

  test('takes no code from the command line, and asks nobody without a terminal', async () => {
    const inArguments = await qvJson('panic', '--url', 'http://127.0.0.1:1', panicCode);
    expect(inArguments).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
    expect(JSON.stringify(inArguments)).not.toContain(panicCode);
    const nobody = await call('', '--url', 'http://127.0.0.1:1');
    expect(nobody).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
    expect(await qvJson('panic', '--url', 'nonsense', '-')).toMatchObject({ exit: 2 });
    expect(await qvJson('panic', '-')).toMatchObject({ exit: 2 });
  });
});

describe('a secret that is typed', () => {
  let modes: boolean[];
  let keyboard: PassThrough & Keyboard;
  let screen: PassThrough;
  beforeEach(() => {
    modes = [];
    screen = new PassThrough();
    keyboard = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (mode: boolean) => modes.push(mode) });
  });
  const read = () => readSecret('Code: ', false, screen, keyboard);

  test('is not echoed, can be corrected, and leaves the terminal as it was', async () => {
    const typed = read();
    for (const chunk of ['ABX', '\u007f', 'C-', 'D', '\r', 'more']) keyboard.write(chunk);
    expect(await typed).toBe('ABC-D');
    expect(modes).toEqual([true, false]);
    screen.end();
    expect(await text(screen)).toBe('Code: \n');
  });

  test.each([['\u0003'], ['']])('ends with %j as an interruption', async (key) => {
    const typed = read();
    if (key === '') keyboard.end();
    else keyboard.write(`AB${key}`);
    await expectCode(typed, 'input_unreadable');
    expect(modes).toEqual([true, false]);
  });
});

describe('qv init totp', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let file: string;
  beforeEach(async () => {
    folder = await temporaryFolder();
    file = join(folder.path, 'operators.json');
  });
  afterEach(() => folder.remove());
  const init = (login: string) => qvJson('init', 'totp', '--login', login, '--file', file);
  const secretIn = (uri: unknown) => new URL(String(uri)).searchParams.get('secret') ?? '';

  test('makes the file, for its owner alone, and a login that works', async () => {
    const first = await init('ann');
    expect(first).toMatchObject({ ok: true, login: 'ann', file });
    expect(String(first['uri'])).toMatch(/^otpauth:\/\/totp\/QuantumVault:ann\?/);
    const second = await init('bob@example.org');
    expect(secretIn(second['uri'])).not.toBe(secretIn(first['uri']));
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder.path)).toEqual(['operators.json']);
    const operators = new OperatorsFile(file, silentLog);
    for (const [login, answer] of [['ann', first] as const, ['bob@example.org', second] as const]) {
      const secret = fromBase32(secretIn(answer['uri']));
      expect(secret).toHaveLength(20);
      const now = 1_800_000_000_000;
      expect(operators.stepOf(login, codeAt(secret, now), timeMs(now))).toBe(now / 30_000);
    }
    operators.close();
  });

  test('shows the URI to people, too', async () => {
    const { exit, stdout } = await qv('init', 'totp', '--login', 'ann', '--file', file);
    expect(exit).toBe(0);
    expect(stdout).toContain('otpauth://totp/QuantumVault:ann?');
  });

  test('never replaces a login, nor a file that it cannot read or that others may', async () => {
    await init('ann');
    const before = readFileSync(file, 'utf8');
    expect(await init('ann')).toMatchObject({ exit: 1, error: { code: 'already_initialised' } });
    expect(await init('a b')).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
    chmodSync(file, 0o644);
    expect(await init('bob')).toMatchObject({ exit: 2, error: { code: 'config_invalid' } });
    expect(readFileSync(file, 'utf8')).toBe(before);
    chmodSync(file, 0o600);
    writeFileSync(file, '{"logins": [');
    expect(await init('bob')).toMatchObject({ exit: 2, error: { code: 'config_invalid' } });
    expect(readFileSync(file, 'utf8')).toBe('{"logins": [');
  });

  test('does not break a link, and needs a folder', async () => {
    symlinkSync(join(folder.path, 'elsewhere'), file);
    expect(await init('ann')).toMatchObject({ error: { code: 'output_unwritable' } });
    const nowhere = await qvJson('init', 'totp', '--login', 'ann', '--file', join(folder.path, 'no', 'file'));
    expect(nowhere).toMatchObject({ error: { code: 'output_unwritable' } });
  });

  test('two at once lose no login without a word', async () => {
    const answers = await Promise.all([init('ann'), init('bob')]);
    const { logins } = JSON.parse(readFileSync(file, 'utf8')) as { logins: { name: string }[] };
    const added = answers.filter(({ ok }) => ok).map((answer) => answer['login']);
    expect(logins.map(({ name }) => name)).toEqual(added);
    for (const { ok, error } of answers) if (!ok) expect(error?.code).toBe('store_conflict');
    expect(readdirSync(folder.path)).toEqual(['operators.json']);
  });
});

function fromBase32(secret: string): Uint8Array {
  const bits = [...secret].map((one) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(one).toString(2).padStart(5, '0'));
  return Uint8Array.from(bits.join('').match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2));
}
