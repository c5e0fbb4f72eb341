/** Wallets outlive their enclave: by lease after a crash, by release when it is planned, with real processes. */

import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { type BootId, timeMs } from '@quantumvault/shared/brands.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import {
  type HeldFreeze,
  type Lease,
  leaseCodec,
  renderResumeStatement,
} from '@quantumvault/shared/evidence/succession.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import type { StackHost } from '../stack/host.ts';
import { type Stack, type StackEnclave, startStack, untilReady } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { noteCode } from '../support/codes-seen.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { until } from '../support/temporary.ts';
import { party } from '../support/wallet-kit.ts';

type Operators = ReturnType<typeof operatorsOf>;

const solWindow = (max: string) => (document: Record<string, unknown>) => ({
  ...document,
  sol: { ...(document['sol'] as object), window: { seconds: 3600, max } },
});

/** After a take-over requests have to be younger than all that the predecessor may have seen. */
const later = (seconds = 3) => ({ timestamp: Math.floor(Date.now() / 1000) + seconds });

async function newBoot(stack: Stack, operators: Operators, before: string): Promise<string> {
  await until('the next boot', async () => (await operators.bootOf(stack).catch(() => before)) !== before, 15_000);
  // Only with credentials it takes wallets over.
  const phase = async () => (await adminCall(stack.adminSocket, 'status', {})).enclave?.phase;
  await until('it has its credentials', async () => ['serving', 'frozen'].includes((await phase()) ?? ''), 15_000);
  return operators.bootOf(stack);
}

const versionOf = (stack: Stack, wallet: HttpWallet): number => {
  const database = new DatabaseSync(stack.databaseFile, { timeout: 2_000 });
  try {
    return Number(
      database.prepare('SELECT state_version FROM wallets WHERE wallet = ?').get(wallet.address)?.['state_version'],
    );
  } finally {
    database.close();
  }
};

async function expectAudited(operators: Operators): Promise<void> {
  expect(await operators.audit()).toMatchObject({ ok: true, findings: [] });
}

describe('a crash without witnesses', () => {
  let stack: Stack;
  let kit: HttpKit;
  let operators: Operators;
  let [plain, windowed, other]: HttpWallet[] = [];
  let predecessor: string;
  let successor: string;
  const wallets = () => [plain, windowed, other] as [HttpWallet, HttpWallet, HttpWallet];

  beforeAll(async () => {
    stack = await startStack({ witnesses: 'none' });
    kit = httpKit(stack);
    operators = operatorsOf(stack);
    plain = await kit.openWallet();
    windowed = await kit.openWallet(solWindow('10000'));
    other = await kit.openWallet();
    for (const wallet of wallets()) expect((await kit.sign(wallet)).status).toBe(200);
    predecessor = await operators.bootOf(stack);
    await expectAudited(operators);
    await stack.restartEnclave();
    successor = await newBoot(stack, operators, predecessor);
    await untilReady(stack.url);
  });
  afterAll(() => stack?.stop());

  it('leaves wallets that nobody signs for', async () => {
    await expectProblem(await kit.sign(wallets()[0], later()), 'wallet_held_elsewhere');
  });

  it('is asked about by an audit of the whole log and a live attestation of the successor', async () => {
    const answer = await operators.request('lease', predecessor, stack);
    expect(answer).toMatchObject({ ok: true, predecessor, successor, leases: [{ freezes: [], signatures: [] }] });
    const [lease] = answer['leases'] as { wallets: { wallet: string; version: string }[] }[];
    expect(lease?.wallets.map(({ wallet }) => wallet).sort()).toEqual(
      wallets()
        .map(({ address }) => address)
        .sort(),
    );
    expect(lease?.wallets.every(({ version }) => version === '3')).toBe(true);
    expect(await operators.request('none', successor, stack)).toMatchObject({
      ok: false,
      error: { code: 'succession_mismatch', path: 'predecessor' },
    });
    const stranger = await operators.request('none', party().address, stack);
    expect(stranger).toMatchObject({ ok: false, error: { code: 'log_unknown' } });
    const unknown = await operators.request('none', predecessor, stack, '--wallet', party().address);
    expect(unknown).toMatchObject({ ok: false, error: { code: 'wallet_unknown' } });
  });

  it('gets no lease for an image that is not expected', async () => {
    writeFileSync(operators.file('other.json'), JSON.stringify({ PCR0: 'ab'.repeat(48) }));
    const answer = await qvJson(
      ...['lease', 'request', '--url', stack.url, '--log', stack.url, '--from', predecessor, ...operators.deployment],
      ...['--out', operators.file('none'), '--pcrs', operators.file('other.json')],
      ...['--unsafe-trusted-root', operators.file('root.pem')],
    );
    expect(answer).toMatchObject({ ok: false, error: { code: 'attestation_pcrs_not_allowed' } });
  });

  it('is signed only by an operator who says that the instance is gone', async () => {
    const before = readFileSync(operators.file('lease'));
    const shown = await operators.sign('lease', 1, ...operators.images);
    expect(shown).toMatchObject({ ok: false, exit: 2, signed: false, leases: [{ signatures: [] }] });
    expect(readFileSync(operators.file('lease'))).toEqual(before);
    expect(await operators.sign('lease', 1, '--terminated', ' ')).toMatchObject({ error: { code: 'usage_invalid' } });
    expect(await operators.sign('lease', 1)).toMatchObject({ ok: true, signed: true });
    expect(statSync(operators.journal(1)).mode & 0o777).toBe(0o600);
    expect(readFileSync(operators.journal(1), 'utf8')).toContain('is terminated');
  });

  it('counts for nothing with one operator, however often he signs', async () => {
    expect(await operators.sign('lease', 1)).toMatchObject({ leases: [{ signatures: [{ holds: true }] }] });
    const file = JSON.parse(readFileSync(operators.file('lease'), 'utf8'));
    const [lease] = file.leases;
    writeFileSync(
      operators.file('twice'),
      JSON.stringify({ ...file, leases: [{ ...lease, signatures: [...lease.signatures, ...lease.signatures] }] }),
    );
    for (const name of ['lease', 'twice']) {
      const answer = await operators.apply(name, stack);
      expect(answer).toMatchObject({ ok: false, taken: 0, failures: Array(3).fill({ code: 'operators_too_few' }) });
      noteCode('operators_too_few');
    }
  });

  it('counts for nothing in another deployment, for another boot, or after its time', async () => {
    expect(await operators.request('foreign', predecessor, stack, '--deployment', 'elsewhere')).toMatchObject({
      error: { code: 'usage_invalid' },
    });
    const [plain] = wallets();
    const facts = {
      deployment: stack.deployment,
      predecessor: predecessor as BootId,
      successor: successor as BootId,
      wallets: [{ wallet: plain.address, version: 3n }],
      freezes: [],
      checkpoint: utf8('no note'),
      notAfter: timeMs(Date.now() + 60_000),
      sumsProven: false,
    };
    const refused: [Partial<Lease>, string, string?][] = [
      [{ deployment: 'elsewhere' }, 'succession_mismatch', 'lease.deployment'],
      [{ successor: party().address as string as BootId }, 'succession_mismatch', 'lease.successor'],
      [{ notAfter: timeMs(Date.now() - 1000) }, 'succession_expired'],
      [{}, 'log_note_malformed'],
    ];
    for (const [change, code, path] of refused) {
      operators.forge('forged', { ...facts, ...change });
      const answer = await operators.apply('forged', stack);
      expect(answer).toMatchObject({ ok: false, failures: [{ code, ...(path && { path }) }] });
      noteCode(code);
    }
  });

  it('is over once two have signed: a policy without windows signs, windows are full', async () => {
    const log = [...operators.images, '--log', stack.url];
    // Somebody lowered a version on the way from one operator to the next.
    const file = readFileSync(operators.file('lease'), 'utf8');
    const [lease] = (JSON.parse(file) as { leases: { bytes: string }[] }).leases;
    const said = decodeAs(leaseCodec, new Uint8Array(Buffer.from(lease?.bytes ?? '', 'base64')), 'lease');
    operators.forge('older', { ...said, wallets: said.wallets.map(({ wallet }) => ({ wallet, version: 2n })) });
    expect(await operators.sign('older', 2, '--terminated', 'gone', ...log)).toMatchObject({
      ok: false,
      error: { code: 'evidence_mismatch' },
    });
    const verified = await operators.sign(
      'lease',
      2,
      '--terminated',
      'seen in the console',
      '--url',
      stack.url,
      ...log,
    );
    expect(verified['warnings']).toHaveLength(1);
    expect(verified).toMatchObject({ ok: true, leases: [{ signatures: [{ holds: true }, { holds: true }] }] });
    expect(await operators.apply('lease', stack)).toMatchObject({ ok: true, taken: 3, already: 0, failures: [] });
    expect(await operators.apply('lease', stack)).toMatchObject({ ok: true, failures: [] });
    const [plain, windowed] = wallets();
    expect((await kit.sign(plain, later())).status).toBe(200);
    const denied = await expectProblem(await kit.sign(windowed, later()), 'policy_denied');
    expect(denied).toMatchObject({ rule: 'sol.window', value: 'full since a lease' });
    // One of them has signed meanwhile: it is held, and stays so.
    expect(await operators.apply('lease', stack)).toMatchObject({ ok: true, taken: 2, already: 1 });
    await expectAudited(operators);
  });

  it('that was none: the boot that lives is shown the lease, and signs no more', async () => {
    const [, , other] = wallets();
    const third = await stack.startEnclave('enclave-2');
    const host = await stack.startHost('host-2', third);
    await untilReady(host.url);
    expect((await kit.sign(other, later())).status).toBe(200);
    await operators.request('lease-living', successor, host, '--wallet', other.address);
    for (const operator of [1, 2]) expect(await operators.sign('lease-living', operator)).toMatchObject({ ok: true });
    // It goes on meanwhile, and what it did counts.
    expect((await kit.sign(other, later())).status).toBe(200);
    const version = versionOf(stack, other);
    const answer = await operators.apply('lease-living', host, '--predecessor-admin', stack.adminSocket);
    expect(answer).toMatchObject({ ok: true, taken: 1, shown: [{ given: 1 }] });
    expect(versionOf(stack, other)).toBe(version + 1);
    await expectProblem(await kit.sign(other, later()), 'wallet_held_elsewhere');
    expect((await httpKit(host).sign(other, later(10))).status).toBe(200);
    await expectAudited(operators);
    // Both give it up for good: the rest of this story has two wallets.
    await host.process.stop();
    await third.process.stop();
  });

  it('happens again: then they are leased from the boot that took them, and from no other', async () => {
    await stack.restartEnclave();
    await newBoot(stack, operators, successor);
    await kit.ready();
    expect(await operators.request('none', predecessor, stack)).toMatchObject({ error: { code: 'wallet_unknown' } });
    expect(await operators.lease('lease-2', successor, stack)).toMatchObject({ ok: true, taken: 2 });
    expect((await kit.sign(wallets()[0], later())).status).toBe(200);
    await expectAudited(operators);
  });
});

describe('a crash with witnesses', () => {
  let stack: Stack;
  let kit: HttpKit;
  let operators: Operators;
  let windowed: HttpWallet;

  beforeAll(async () => {
    stack = await startStack();
    kit = httpKit(stack);
    operators = operatorsOf(stack);
    windowed = await kit.openWallet(solWindow('3500'));
  });
  afterAll(() => stack?.stop());

  it('keeps the sums of windows, which the witnessed log proves', async () => {
    expect((await kit.sign(windowed)).status).toBe(200);
    const copy = operators.file('copy');
    expect(await qvJson('log', 'fetch', stack.url, '--dir', copy)).toMatchObject({ ok: true });
    expect((await kit.sign(windowed)).status).toBe(200);
    const predecessor = await operators.bootOf(stack);
    await stack.restartEnclave();
    await newBoot(stack, operators, predecessor);
    await kit.ready();
    // An older log with all its cosignatures: the witnesses have seen more, and say so.
    const older = await operators.requestBy(copy, 'lease-older', predecessor, stack);
    expect(older).toMatchObject({ ok: true, witnesses: { isLast: false, confirmed: [], needed: 2 } });
    expect(older['leases']).toMatchObject([{ sumsProven: false }]);
    // The newest is the last they know of; without asking nobody knows, and a name has to be one of a witness.
    const newest = await operators.request('lease-newest', predecessor, stack);
    expect(newest).toMatchObject({ ok: true, witnesses: { isLast: true }, leases: [{ sumsProven: true }] });
    expect(
      await operators.request('x', predecessor, stack, '--ask-witness', 'nobody=http://127.0.0.1:1'),
    ).toMatchObject({
      error: { code: 'usage_invalid' },
    });
    const signed = await operators.sign('lease-newest', 3, '--terminated', 'i-0a1b2c3d4e5f60718');
    expect((signed['warnings'] as string[]).some((warning) => warning.includes('--ask-witness'))).toBe(true);
    expect(await operators.lease('lease', predecessor, stack)).toMatchObject({ ok: true, taken: 1 });
    expect((await kit.sign(windowed, later())).status).toBe(200);
    const denied = await expectProblem(await kit.sign(windowed, later()), 'policy_denied');
    expect(denied).toMatchObject({ rule: 'sol.window', value: '4000' });
    await expectAudited(operators);
  });

  it('never bricks a wallet: its state is stored before the witnesses see the leaf', async () => {
    const wallet = await kit.openWallet();
    const predecessor = await operators.bootOf(stack);
    // So that the log knows of it.
    await expectAudited(operators);
    const before = versionOf(stack, wallet);
    for (const { process } of stack.witnesses) process.kill('SIGSTOP');
    const held = kit.sign(wallet).catch(() => undefined);
    await expect.poll(() => versionOf(stack, wallet), { timeout: 5_000 }).toBe(before + 1);
    stack.host.kill('SIGKILL');
    await stack.host.exited;
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    await held;
    for (const { process } of stack.witnesses) process.kill('SIGCONT');
    await stack.restartEnclave();
    await stack.restartHost();
    kit = httpKit(stack);
    await newBoot(stack, operators, predecessor);
    await kit.ready();
    expect(await operators.lease('lease-2', predecessor, stack)).toMatchObject({ ok: true, failures: [] });
    expect(versionOf(stack, wallet)).toBe(before + 2);
    expect((await kit.sign(wallet, later())).status).toBe(200);
    await expectAudited(operators);
  }, 60_000);
});

describe('a crash while freezes hold', () => {
  let stack: Stack;
  const clients: EnclaveClient[] = [];
  beforeAll(async () => {
    stack = await startStack({ witnesses: 'none' });
  });
  afterAll(async () => {
    for (const made of clients) made.close();
    await stack?.stop();
  });

  it('brings those of every scope along, and the operators end them one by one', async () => {
    const kit = httpKit(stack);
    const operators = operatorsOf(stack);
    const [stopped, other] = [await kit.openWallet(), await kit.openWallet()];
    const predecessor = await operators.bootOf(stack);
    const scopes = [`wallet:${stopped.address}`, `requester:${other.requester.address}`, 'fleet'];
    const control = clientOf(stack.enclaveAddresses.control);
    for (const scope of scopes) await control.request('freeze', { scope, reason: 'test' });
    const before = await clientOf(stack.enclaveAddresses.data).request('freezesGet', {});
    await expectAudited(operators);
    for (const made of clients.splice(0)) made.close();
    await stack.restartEnclave();
    const boot = (await newBoot(stack, operators, predecessor)) as BootId;
    const answer = await operators.lease('lease', predecessor, stack);
    expect(answer).toMatchObject({ ok: true, taken: 2, failures: [] });
    const data = clientOf(stack.enclaveAddresses.data);
    const after = (await data.request('freezesGet', {})).freezes;
    expect(after.map(idOf)).toEqual(expect.arrayContaining(before.freezes.map(idOf)));
    // The host had passed the fleet's on before, as an order of its own: each has to be ended by itself.
    for (const held of after) {
      const facts = { deployment: stack.deployment, boot, scope: held.scope, freezeId: toHex(held.freezeId) };
      const statement = utf8(renderResumeStatement(facts));
      const signatures =
        held.scope === scopes[0]
          ? [{ key: stopped.owner.address, signature: stopped.owner.sign(statement) }]
          : operators.signaturesOf(statement);
      await data.request('resume', { ...held, signatures });
    }
    expect((await data.request('freezesGet', {})).count).toBe(0);
    await expectAudited(operators);
  });

  const idOf = ({ scope, freezeId }: HeldFreeze): string => `${scope} ${toHex(freezeId)}`;
  function clientOf(address: string): EnclaveClient {
    const made = new EnclaveClient({
      address: parseTransportAddress(address),
      transport: unixTransport,
      log: silentLog,
    });
    made.connect();
    clients.push(made);
    return made;
  }
});

describe('a planned restart', () => {
  let stack: Stack;
  let kit: HttpKit;
  let operators: Operators;
  let second: StackEnclave;
  let secondHost: StackHost;
  let secondKit: HttpKit;
  let [from, to]: string[] = [];
  let [moving, windowed, frozen, staying]: HttpWallet[] = [];
  const clients: EnclaveClient[] = [];
  const boots = () => [from, to] as [string, string];
  const some = () => [moving, windowed, frozen, staying] as [HttpWallet, HttpWallet, HttpWallet, HttpWallet];

  function client(address: string): EnclaveClient {
    const made = new EnclaveClient({
      address: parseTransportAddress(address),
      transport: unixTransport,
      log: silentLog,
    });
    made.connect();
    clients.push(made);
    return made;
  }

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
    for (const made of clients) made.close();
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
    const control = client(stack.enclaveAddresses.control);
    const scopes = [`wallet:${frozen.address}`, `requester:${staying.requester.address}`, 'fleet'];
    for (const scope of scopes) await control.request('freeze', { scope, reason: 'test' });
    const held = await client(stack.enclaveAddresses.data).request('freezesGet', {});
    // All that it still holds.
    expect(await operators.order('rest', from, to, secondHost.url)).toMatchObject({ ok: true });
    expect(await applyOrder('rest')).toMatchObject({ ok: true, released: 4, elsewhere: 0 });
    expect(await takeReleases('rest')).toMatchObject({ ok: true, failures: [] });
    const successor = client(second.addresses.data);
    const carried = await successor.request('freezesGet', {});
    const scopesOf = (freezes: readonly HeldFreeze[]) => freezes.map(({ scope }) => scope).sort();
    expect(scopesOf(carried.freezes)).toEqual(scopesOf(held.freezes));
    const { receipts } = await successor.request('leavesGet', { from: 0n });
    const ordered = receipts.map(({ leaf }) => decodeLeaf(leaf)).filter(({ kind }) => kind === 'frozen');
    const came = carried.freezes.filter(({ scope }) => !ordered.some((order) => order.scope === scope));
    expect(held.freezes).toEqual(expect.arrayContaining(came));
    await expectProblem(await secondKit.sign(frozen, later()), 'frozen');
    // The owner ends his own, by the id it got where it began; or by that of the second host's order, if that host has
    // read of it in the database meanwhile.
    const resume = async (): Promise<boolean> => {
      const { freezes } = await successor.request('freezesGet', {});
      const freeze = freezes.find(({ scope }) => scope === scopes[0]) as HeldFreeze;
      const facts = {
        deployment: stack.deployment,
        boot: to as BootId,
        scope: freeze.scope,
        freezeId: toHex(freeze.freezeId),
      };
      const signature = frozen.owner.sign(utf8(renderResumeStatement(facts)));
      const signatures = [{ key: frozen.owner.address, signature }];
      return successor.request('resume', { ...freeze, signatures }).then(
        () => true,
        (error) => {
          if (codeOf(error) !== 'freeze_unknown') throw error;
          return false;
        },
      );
    };
    await until('it is resumed', resume);
    expect((await successor.request('freezesGet', {})).count).toBe(2);
    await expectAudited(operators);
  });
});
