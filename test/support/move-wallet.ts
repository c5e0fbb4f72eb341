/** A wallet from one enclave of a malicious host to another, by an operator's release. */
import type { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { type BootId, timeMs } from '@quantumvault/shared/brands.ts';
import { releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { KitWallet, MaliciousHost } from './malicious-host.ts';
import { operators, signedBy } from './operator-keys.ts';

const bootOf = async (client: EnclaveClient): Promise<BootId> => {
  const { boot } = await client.request('status', {});
  if (boot === undefined) throw new Error('not booted');
  return boot;
};

/** The wallet as its new holder's host has it. */
export async function moveWallet(
  { backend }: MaliciousHost,
  wallet: KitWallet,
  from: EnclaveClient,
  to: EnclaveClient,
): Promise<KitWallet> {
  const order = encodeAs(releaseOrderCodec, {
    deployment: backend.deployment,
    predecessor: await bootOf(from),
    successor: await bootOf(to),
    notAfter: timeMs(Date.now() + 3_600_000),
  });
  const signatures = signedBy(order, ...operators(backend.dir).slice(0, 1));
  const given = await from.request('release', { order: { bytes: order, signatures }, wallet: wallet.address });
  const blobs = { ...wallet.blobs, sealedState: given.state.blob };
  const request = { wallet: wallet.address, owner: wallet.owner.address, blobs, release: given.release };
  const taken = await to.request('take', request);
  return { ...wallet, blobs: { ...blobs, sealedState: taken.state.blob } };
}
