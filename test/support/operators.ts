/** The operators of a local stack at work: the commands of qv by which wallets move, and two of the three keys. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { type JsonAnswer, qvJson } from '../host/cli/call.ts';
import { measurements } from '../stack/scenario.ts';
import type { Stack } from '../stack/stack.ts';

/** A host as operators know it. */
export interface Site {
  readonly url: string;
  readonly adminSocket: string;
}

export function operatorsOf(stack: Stack) {
  const file = (name: string): string => join(stack.dir, name);
  writeFileSync(file('pcrs.json'), JSON.stringify(measurements(stack.pcrs)));
  writeFileSync(file('root.pem'), stack.nsmRootPem);
  const images = ['--pcrs', file('pcrs.json'), '--unsafe-trusted-root', file('root.pem')];
  const witnesses = stack.witnesses.flatMap(({ key }) => ['--witness', key]);
  const threshold = witnesses.length === 0 ? [] : ['--witness-threshold', '2'];
  const deployment = ['--deployment', stack.deployment];
  const key = (operator: number): string => join(stack.dir, 'operators', `${operator}.pem`);
  const journal = (operator: number): string => file(`journal-${operator}`);

  /** The boot that a host's enclave is in now. */
  async function bootOf({ adminSocket }: Pick<Site, 'adminSocket'>): Promise<string> {
    const { enclave } = await adminCall(adminSocket, 'status', {});
    if (enclave?.boot == null) throw new Error('no boot yet');
    return enclave.boot;
  }

  const request = (out: string, from: string, to: Site, ...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson(
      ...['lease', 'request', '--url', to.url, '--log', stack.url, '--from', from, '--out', file(out)],
      ...[...deployment, ...images, ...witnesses, ...threshold, ...more],
    );

  const sign = (lease: string, operator: number, ...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson(
      ...['lease', 'sign', file(lease), '--operator-key', key(operator), '--journal', journal(operator)],
      ...(more.length > 0 ? more : ['--terminated', 'i-0a1b2c3d4e5f60718 is terminated']),
    );

  const apply = (lease: string, to: Pick<Site, 'adminSocket'>, ...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson('lease', 'apply', file(lease), '--admin', to.adminSocket, ...more);

  /** All steps of a lease, by two operators. */
  async function lease(out: string, from: string, to: Site, ...more: readonly string[]): Promise<JsonAnswer> {
    for (const step of [() => request(out, from, to, ...more), () => sign(out, 1), () => sign(out, 2)]) {
      const answer = await step();
      if (!answer.ok) throw new Error(JSON.stringify(answer));
    }
    return apply(out, to);
  }

  const order = (out: string, from: string, to: string, url: string, ...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson(
      ...['release', 'order', '--from', from, '--to', to, '--url', url, '--out', file(out)],
      ...['--operator-key', key(1), ...deployment, ...images, ...more],
    );

  const audit = (): Promise<JsonAnswer> => qvJson('verify', 'log', stack.url, ...images, ...witnesses, ...threshold);

  return { file, key, journal, images, deployment, bootOf, request, sign, apply, lease, order, audit };
}
