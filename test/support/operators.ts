/** The operators of a local stack at work: the commands of qv by which wallets move, and two of the three keys. */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { operatorSignedJson } from '@quantumvault/host/admin/succession-json.ts';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { addressOf, signature } from '@quantumvault/shared/brands.ts';
import { type Lease, leaseCodec, type SignedBy } from '@quantumvault/shared/evidence/succession.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
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
  const asked = stack.witnesses.flatMap(({ key, url }) => ['--ask-witness', `${key.split('+')[0]}=${url}`]);
  const key = (operator: number): string => join(stack.dir, 'operators', `${operator}.pem`);
  const journal = (operator: number): string => file(`journal-${operator}`);

  /** The boot that a host's enclave is in now. */
  async function bootOf({ adminSocket }: Pick<Site, 'adminSocket'>): Promise<string> {
    const { enclave } = await adminCall(adminSocket, 'status', {});
    if (enclave?.boot == null) throw new Error('no boot yet');
    return enclave.boot;
  }

  /** By the log of the stack's host, or by a copy. */
  const requestBy = (
    log: string,
    out: string,
    from: string,
    to: Site,
    ...more: readonly string[]
  ): Promise<JsonAnswer> =>
    qvJson(
      ...['lease', 'request', '--url', to.url, '--log', log, '--from', from, '--out', file(out)],
      ...[...deployment, ...images, ...witnesses, ...threshold, ...asked, ...more],
    );

  const request = (out: string, from: string, to: Site, ...more: readonly string[]): Promise<JsonAnswer> =>
    requestBy(stack.url, out, from, to, ...more);

  const signLease = (lease: string, operator: number, ...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson(
      ...['lease', 'sign', file(lease), '--operator-key', key(operator), '--journal', journal(operator)],
      ...(more.length > 0 ? more : ['--terminated', 'i-0a1b2c3d4e5f60718 is terminated']),
    );

  const apply = (lease: string, to: Pick<Site, 'adminSocket'>, ...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson('lease', 'apply', file(lease), '--admin', to.adminSocket, ...more);

  /** All steps of a lease, by two operators. */
  async function lease(out: string, from: string, to: Site, ...more: readonly string[]): Promise<JsonAnswer> {
    for (const step of [() => request(out, from, to, ...more), () => signLease(out, 1), () => signLease(out, 2)]) {
      const answer = await step();
      if (!answer.ok) throw new Error(JSON.stringify(answer));
    }
    return apply(out, to);
  }

  /** Of two operators, over whatever it is. */
  function signaturesOf(bytes: Uint8Array): SignedBy[] {
    return [1, 2].map((operator) => {
      const signer = createPrivateKey(readFileSync(key(operator)));
      const spki = createPublicKey(signer).export({ format: 'der', type: 'spki' });
      return { key: addressOf(Uint8Array.from(spki.subarray(-32))), signature: signature(sign(null, bytes, signer)) };
    });
  }

  /** A lease that two operators signed without any check. */
  function forge(name: string, forged: Lease): void {
    const bytes = encodeAs(leaseCodec, forged);
    const leases = [operatorSignedJson({ bytes, signatures: signaturesOf(bytes) })];
    writeFileSync(file(name), JSON.stringify({ format: 'qv/lease-file/v1', leases }));
  }

  const order = (out: string, from: string, to: string, url: string, ...more: readonly string[]): Promise<JsonAnswer> =>
    qvJson(
      ...['release', 'order', '--from', from, '--to', to, '--url', url, '--out', file(out)],
      ...['--operator-key', key(1), ...deployment, ...images, ...more],
    );

  const audit = (): Promise<JsonAnswer> => qvJson('verify', 'log', stack.url, ...images, ...witnesses, ...threshold);

  return {
    file,
    key,
    forge,
    signaturesOf,
    journal,
    images,
    deployment,
    bootOf,
    request,
    requestBy,
    sign: signLease,
    apply,
    lease,
    order,
    audit,
  };
}
