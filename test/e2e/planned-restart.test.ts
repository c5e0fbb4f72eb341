/** Wallets go to another enclave as planned, by release, with real processes. After a crash: succession.test.ts. */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import type { StackHost } from '../stack/host.ts';
import { type Stack, type StackEnclave, startStack, untilReady } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { noteCode } from '../support/codes-seen.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { until } from '../support/temporary.ts';
import {
  EnclaveClients,
  expectAudited,
  idOf,
  later,
  type Operators,
  resumeStatement,
  solWindow,
} from './succession-kit.ts';

describe('a planned restart', () => {
  let stack: Stack;
  let kit: HttpKit;
  let operators: Operators;
  let second: StackEnclave;
  let secondHost: StackHost;
  let secondKit: HttpKit;
  let [from, to]: string[] = [];
  let [moving, windowed, frozen, staying]: HttpWallet[] = [];
  const clients = new EnclaveClients();
  const boots = () => [from, to] as [string, string];
  const some = () => [moving, windowed, frozen, staying] as [HttpWallet, HttpWallet, HttpWallet, HttpWallet];

  beforeAll(async () => {
    stack = await startStack({ witnesses: 'none' });
    kit = httpKit(stack);
    operators = operatorsOf(stack);
    moving = await kit.openWallet();
    windowed = await kit.openWallet(solWindow('2500'));
    frozen = await kit.openWallet();
    staying = await kit.openWallet();
    for (const wallet of some().slice(0, 3)) expect((await kit.sign(wallet)).status).toBe(200);
    second = await stack.startEnclave('enclave-2');
    secondHost = await stack.startHost('host-2', second);
    secondKit = httpKit(secondHost);
    await untilReady(secondHost.url);
    from = await operators.bootOf(stack);
    to = await operators.bootOf(secondHost);
  });
  afterAll(async () => {
    clients.close();
    await stack?.stop();
  });

  const applyOrder = (name: string) =>
    qvJson(
      'release',
      'apply',
      operators.file(name),
      '--admin',
      stack.adminSocket,
      '--out',
      operators.file(`${name}.releases`),
    );
  const takeReleases = (name: string) =>
    qvJson('release', 'take', operators.file(`${name}.releases`), '--admin', secondHost.adminSocket);

  it('is ordered only for a successor that proves itself', async () => {
    const [from, to] = boots();
    const wrong = await operators.order('none', from, to, stack.url);
    expect(wrong).toMatchObject({ ok: false, error: { code: 'succession_mismatch', path: 'successor', value: from } });
    expect(await operators.order('none', from, from, secondHost.url)).toMatchObject({
      error: { code: 'usage_invalid' },
    });
    const past = await operators.order('none', from, to, secondHost.url, '--not-after', '2026-01-01T00:00:00Z');
    expect(past).toMatchObject({ ok: false, error: { code: 'succession_expired' } });
    const [moving, windowed] = some();
    const named = [moving, windowed].flatMap(({ address }) => ['--wallet', address]);
    expect(await operators.order('order', from, to, secondHost.url, ...named)).toMatchObject({ ok: true });
  });

  it('goes on signing, windows included, where the wallets went', async () => {
    expect(await applyOrder('order')).toMatchObject({ ok: true, released: 2, before: 0, published: true });
    // Whatever was interrupted: the same again, and nothing twice.
    const file = readFileSync(operators.file('order.releases'));
    expect(await applyOrder('order')).toMatchObject({ ok: true, released: 0, before: 2 });
    writeFileSync(operators.file('order.releases'), file.subarray(0, file.length - 40));
    expect(await applyOrder('order')).toMatchObject({ ok: true, released: 1, before: 1 });
    const [moving, windowed, , staying] = some();
    await expectProblem(await kit.sign(moving, later()), 'wallet_held_elsewhere');
    expect(await takeReleases('order')).toMatchObject({ ok: true, taken: 2, already: 0 });
    expect(await takeReleases('order')).toMatchObject({ ok: true, failures: [] });
    expect((await secondKit.sign(moving, later())).status).toBe(200);
    expect((await secondKit.sign(windowed, later())).status).toBe(200);
    const denied = await expectProblem(await secondKit.sign(windowed, later()), 'policy_denied');
    expect(denied).toMatchObject({ rule: 'sol.window', value: '3000' });
    expect(await takeReleases('order')).toMatchObject({ ok: true, taken: 0, already: 2 });
    await expectProblem(await kit.sign(moving, later()), 'wallet_held_elsewhere');
    expect((await kit.sign(staying)).status).toBe(200);
    await expectAudited(operators);
  });

  it('does not take what was released to somebody else, or is in the file of another order', async () => {
    const [from, to] = boots();
    const back = await qvJson('release', 'take', operators.file('order.releases'), '--admin', stack.adminSocket);
    expect(back).toMatchObject({ ok: false, failures: Array(2).fill({ code: 'succession_mismatch' }) });
    const [, , frozen] = some();
    await operators.order('other', from, to, secondHost.url, '--wallet', frozen.address);
    const mixed = await qvJson(
      ...['release', 'apply', operators.file('other'), '--admin', secondHost.adminSocket],
      ...['--out', operators.file('other.releases')],
    );
    expect(mixed).toMatchObject({ ok: false, failures: [{ code: 'succession_mismatch', path: 'order.predecessor' }] });
    noteCode('succession_mismatch');
  });

  it('brings freezes of every scope along, under their own ids', async () => {
    const [from, to] = boots();
    const [, , frozen, staying] = some();
    const control = clients.to(stack.enclaveAddresses.control);
    const scopes = [`wallet:${frozen.address}`, `requester:${staying.requester.address}`, 'fleet'];
    for (const scope of scopes) await control.request('freeze', { scope, reason: 'test' });
    const held = await clients.to(stack.enclaveAddresses.data).request('freezesGet', {});
    const successor = clients.to(second.addresses.data);
    const freezes = async () => (await successor.request('freezesGet', {})).freezes;
    // The second host reads of them in the database and orders each once, in place of whatever its enclave holds for
    // that scope. Before the wallets come: an order that came after them would replace the ids that are looked for.
    await until('the second host has ordered them', async () => (await freezes()).length === scopes.length, 15_000);
    const ordered = await freezes();
    // All that it still holds.
    expect(await operators.order('rest', from, to, secondHost.url)).toMatchObject({ ok: true });
    expect(await applyOrder('rest')).toMatchObject({ ok: true, released: 4, elsewhere: 0 });
    expect(await takeReleases('rest')).toMatchObject({ ok: true, failures: [] });
    const both = [...held.freezes, ...ordered].map(idOf).sort();
    expect((await freezes()).map(idOf).sort()).toEqual(both);
    await expectProblem(await secondKit.sign(frozen, later()), 'frozen');
    // The owner ends his own, each by itself, the one that came by the id it got where it began.
    for (const freeze of (await freezes()).filter(({ scope }) => scope === scopes[0])) {
      const signature = frozen.owner.sign(resumeStatement(stack, to, freeze));
      await successor.request('resume', { ...freeze, signatures: [{ key: frozen.owner.address, signature }] });
    }
    expect((await freezes()).map(idOf).sort()).toEqual(both.filter((id) => !id.startsWith('wallet:')));
    await expectAudited(operators);
  });
});
