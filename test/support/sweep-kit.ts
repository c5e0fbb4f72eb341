/** `qv wallet sweep` against a local stack and a Solana of our own: wallets with things in them, and calls of qv. */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type Address, address, addressBytes } from '@quantumvault/shared/brands.ts';
import { expect } from 'vitest';
import { type JsonAnswer, qvJson } from '../host/cli/call.ts';
import type { Stack } from '../stack/stack.ts';
import { noteCode } from './codes-seen.ts';
import type { FakeSolana } from './fake-solana.ts';
import { type HttpWallet, httpKit } from './http-kit.ts';
import { outsideKey } from './import-kit.ts';
import { operatorsOf } from './operators.ts';
import { creation, party } from './wallet-kit.ts';

const QV = join(import.meta.dirname, '..', '..', 'host', 'src', 'cli', 'qv.ts');

export type SweepKit = ReturnType<typeof sweepKit>;

export function sweepKit(stack: Stack, solana: FakeSolana) {
  const kit = httpKit(stack);
  const operators = operatorsOf(stack);
  const owner = outsideKey();
  const requester = party();
  const ownerFile = operators.file('sweep-owner.json');
  writeFileSync(ownerFile, JSON.stringify([...owner.seed, ...addressBytes(owner.address)]), { mode: 0o600 });

  /** A wallet of the owner whose key is in a file, with an enabled policy, and a destination that does not exist yet. */
  async function openWallet(change = (document: Record<string, unknown>) => document): Promise<HttpWallet> {
    const own = { ...(await walletWithoutPolicy()), destination: party().address };
    const body = kit.enablingBody(change(kit.documentFor(own)), owner, undefined);
    expect((await kit.http(`/v1/wallets/${own.address}/policy`, 'PUT', body)).status).toBe(200);
    return own;
  }

  async function walletWithoutPolicy() {
    const created = await kit.create(creation(stack.deployment, owner, [requester]));
    const { wallet } = (await created.json()) as { wallet: string };
    return { address: address(wallet), owner, requester };
  }

  const whose = (wallet: Address): readonly string[] => ['--wallet', wallet, '--owner-key', ownerFile];

  function argumentsOf({ address: wallet, destination }: Pick<HttpWallet, 'address' | 'destination'>): string[] {
    return [
      ...['wallet', 'sweep', '--url', stack.url, ...operators.deployment, ...operators.images],
      ...[...whose(wallet), '--to', destination],
    ];
  }

  /** In this process. */
  const sweep = (wallet: HttpWallet, ...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson(...argumentsOf(wallet), '--rpc', solana.url, '--yes', ...more);

  /** In one of its own, which a test may kill. */
  function start(wallet: HttpWallet, ...more: readonly string[]): { child: ChildProcess; answer: Promise<JsonAnswer> } {
    const argv = [QV, ...argumentsOf(wallet), '--rpc', solana.url, '--yes', '--json', ...more];
    const child = spawn(process.execPath, argv, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { PATH: process.env['PATH'], NODE_NO_WARNINGS: '1', NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] },
    });
    const answer = text(child.stdout).then((out) => {
      const said = JSON.parse(out) as JsonAnswer;
      if (said.error !== undefined) noteCode(said.error.code);
      return said;
    });
    return { child, answer };
  }

  const facts = async (wallet: Address) =>
    (await (await fetch(`${stack.url}/v1/wallets/${wallet}`)).json()) as Record<string, unknown>;

  return {
    kit,
    operators,
    owner,
    requester,
    ownerFile,
    openWallet,
    walletWithoutPolicy,
    argumentsOf,
    sweep,
    start,
    facts,
  };
}
