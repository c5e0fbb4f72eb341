/**
 * A planned move to another instance (host/deploy/README.md): two hosts with a database each, between which nothing goes
 * but backups and the file of releases. No window is full afterwards, no decision is missing.
 */
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type JsonAnswer, qvJson } from '../host/cli/call.ts';
import { type StackHost, startHost } from '../stack/host.ts';
import { type Stack, type StackEnclave, startStack, untilReady } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { type HttpWallet, httpKit } from '../support/http-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { later, type Operators, solWindow } from './succession-kit.ts';

let stack: Stack;
let operators: Operators;
let enclave: StackEnclave;
let other: StackHost;
let [windowed, plain]: HttpWallet[] = [];
const database = () => join(stack.dir, 'other-instance', 'qv.db');
const backups = () => join(stack.dir, 'backups');

const backUp = (): Promise<JsonAnswer> => qvJson('backup', '--config', stack.hostConfigFile, '--to', backups());
const restore = (): Promise<JsonAnswer> =>
  qvJson('restore', '--from', backups(), '--to', other.configFile, ...operators.images);

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none' });
  operators = operatorsOf(stack);
  const kit = httpKit(stack);
  windowed = await kit.openWallet(solWindow('2500'));
  plain = await kit.openWallet();
  for (const wallet of [windowed, plain]) expect((await kit.sign(wallet)).status).toBe(200);
});
afterAll(() => stack?.stop());

describe('a planned move to another instance', { timeout: 120_000 }, () => {
  it('starts there with a backup, and the new enclave proves itself', async () => {
    mkdirSync(join(stack.dir, 'other-instance'));
    enclave = await stack.startEnclave('enclave-other');
    // Its configuration is there before its database is.
    const { addresses } = enclave;
    other = await startHost(stack, { name: 'host-other', addresses, databaseFile: database() });
    await other.process.stop();
    renameSync(database(), `${database()}.empty`);
    expect(await backUp()).toMatchObject({ ok: true, wallets: 2 });
    expect(await restore()).toMatchObject({ ok: true, restored: true });
    await other.restart();
    await untilReady(other.url, 60_000);
    const boots = [await operators.bootOf(stack), await operators.bootOf(other)] as const;
    expect(await operators.order('order', ...boots, other.url)).toMatchObject({ ok: true });
  });

  it('between the last backup and the take nobody signs, and then everything goes on', async () => {
    const [first, second] = [windowed, plain] as [HttpWallet, HttpWallet];
    // Since the first backup.
    expect((await httpKit(stack).sign(first)).status).toBe(200);
    const apply = await qvJson(
      ...['release', 'apply', operators.file('order'), '--admin', stack.adminSocket],
      ...['--out', operators.file('releases')],
    );
    expect(apply).toMatchObject({ ok: true, released: 2, published: true });
    await stack.host.stop();
    expect(await backUp()).toMatchObject({ ok: true });
    await other.process.stop();
    for (const suffix of ['', '-wal', '-shm'])
      try {
        renameSync(database() + suffix, `${database()}.first${suffix}`);
      } catch {
        // SQLite removes the latter two when it ends well.
      }
    expect(await restore()).toMatchObject({ ok: true, restored: true });
    await other.restart();
    await untilReady(other.url, 60_000);
    const take = () => qvJson('release', 'take', operators.file('releases'), '--admin', other.adminSocket);
    expect(await take()).toMatchObject({ ok: true, taken: 2, failures: [] });
    // Whoever interrupts it gives it again.
    expect(await take()).toMatchObject({ ok: true, failures: [] });
    const kit = httpKit(other);
    const denied = await expectProblem(await kit.sign(first, later()), 'policy_denied');
    expect(denied).toMatchObject({ rule: 'sol.window', value: '3000' });
    expect((await kit.sign(second, later())).status).toBe(200);
  });

  it('the log there has both boots to the end', async () => {
    const report = await qvJson('verify', 'log', other.url, ...operators.images);
    expect(report).toMatchObject({ ok: true, findings: [], kinds: { boot: 2, release: 4, signed: 4 } });
  });
});
