/** Wallets outlive their enclave after a crash, by lease, with real processes. By release: planned-restart.test.ts. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { type BootId, timeMs } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { type Lease, leaseCodec } from '@quantumvault/shared/evidence/succession.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { noteCode } from '../support/codes-seen.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { party } from '../support/wallet-kit.ts';
import {
  EnclaveClients,
  expectAudited,
  idOf,
  later,
  newBoot,
  type Operators,
  resumeStatement,
  solWindow,
  versionOf,
} from './succession-kit.ts';

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
      [{ notAfter: timeMs(Date.now() - 5_000) }, 'succession_expired'],
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
  const clients = new EnclaveClients();
  beforeAll(async () => {
    stack = await startStack({ witnesses: 'none' });
  });
  afterAll(async () => {
    clients.close();
    await stack?.stop();
  });

  it('brings those of every scope along, and the operators end them one by one', async () => {
    const kit = httpKit(stack);
    const operators = operatorsOf(stack);
    const [stopped, other] = [await kit.openWallet(), await kit.openWallet()];
    const predecessor = await operators.bootOf(stack);
    const scopes = [`wallet:${stopped.address}`, `requester:${other.requester.address}`, 'fleet'];
    const control = clients.to(stack.enclaveAddresses.control);
    for (const scope of scopes) await control.request('freeze', { scope, reason: 'test' });
    const before = await clients.to(stack.enclaveAddresses.data).request('freezesGet', {});
    await expectAudited(operators);
    clients.close();
    await stack.restartEnclave();
    const boot = await newBoot(stack, operators, predecessor);
    const answer = await operators.lease('lease', predecessor, stack);
    expect(answer).toMatchObject({ ok: true, taken: 2, failures: [] });
    const data = clients.to(stack.enclaveAddresses.data);
    const after = (await data.request('freezesGet', {})).freezes;
    expect(after.map(idOf)).toEqual(expect.arrayContaining(before.freezes.map(idOf)));
    // The host had passed the fleet's on before, as an order of its own: each has to be ended by itself.
    for (const held of after) {
      const statement = resumeStatement(stack, boot, held);
      const signatures =
        held.scope === scopes[0]
          ? [{ key: stopped.owner.address, signature: stopped.owner.sign(statement) }]
          : operators.signaturesOf(statement);
      await data.request('resume', { ...held, signatures });
    }
    expect((await data.request('freezesGet', {})).count).toBe(0);
    await expectAudited(operators);
  });
});
