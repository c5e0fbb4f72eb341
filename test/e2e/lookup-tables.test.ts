/** Lookup tables: what an index means, the owner's signed policy says, and nobody else (design 7). */
import { type Address, addressBytes } from '@quantumvault/shared/brands.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { parsePolicy, policyBytes } from '@quantumvault/shared/policy/policy.ts';
import {
  AddressLookupTableAccount,
  PublicKey,
  SystemProgram,
  TransactionMessage,
  VersionedTransaction,
} from '@solana/web3.js';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { enabling, party } from '../support/wallet-kit.ts';

let host: MaliciousHost;
let wallet: KitWallet;
const table = party().address;
const other = party().address;
const stranger = party().address;

/** A version 0 transfer whose destination is loaded from `key`, where the network would find `addresses`. */
function loaded(key: Address, addresses: readonly Address[], destination: Address): Record<string, string> {
  const lookup = new AddressLookupTableAccount({
    key: new PublicKey(key),
    state: {
      deactivationSlot: (1n << 64n) - 1n,
      lastExtendedSlot: 0,
      lastExtendedSlotStartIndex: 0,
      addresses: addresses.map((address) => new PublicKey(address)),
    },
  });
  const message = new TransactionMessage({
    payerKey: new PublicKey(wallet.address),
    recentBlockhash: new PublicKey(nacl.randomBytes(32)).toBase58(),
    instructions: [
      SystemProgram.transfer({
        fromPubkey: new PublicKey(wallet.address),
        toPubkey: new PublicKey(destination),
        lamports: 1_000n,
      }),
    ],
  }).compileToV0Message([lookup]);
  expect(message.addressTableLookups).toHaveLength(1);
  return { transaction: toBase64(new VersionedTransaction(message).serialize()) };
}

const sign = (body: Record<string, string>) => host.data.request('sign', host.request(wallet, { body }));

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
  const created = await host.createWallet();
  const document = {
    ...host.documentFor(created),
    transaction: {
      versions: ['0'],
      lookupTables: { [table]: [stranger, created.destination] },
      durableNonce: false,
      maxInstructions: 8,
    },
  };
  const request = enabling(created.owner, created.blobs, { deployment: host.backend.deployment, document });
  const enabled = await host.data.request('policyEnable', request);
  wallet = { ...created, policy: { bytes: request.policy, mac: enabled.mac } };
});
afterAll(() => host?.stop());

describe('an address loaded from a table', () => {
  it('is the one that the policy pinned', async () => {
    const body = loaded(table, [stranger, wallet.destination], wallet.destination);
    const reply = await sign(body);
    const message = VersionedTransaction.deserialize(Buffer.from(body['transaction'] ?? '', 'base64')).message;
    const signature = reply.signature ?? new Uint8Array(64);
    expect(nacl.sign.detached.verify(message.serialize(), signature, addressBytes(wallet.address))).toBe(true);
  });

  it('is not what somebody says of the table: index 0 stays a stranger', async () => {
    // Compiled as if the allowed destination stood at index 0; the bytes say only "table, index 0".
    await expectCode(sign(loaded(table, [wallet.destination], wallet.destination)), 'policy_denied');
  });

  it('is refused beyond the pinned snapshot, and from a table that is not pinned', async () => {
    const longer = [stranger, wallet.destination, party().address, wallet.destination];
    const beyond = loaded(table, [...longer.slice(0, 3), stranger, wallet.destination].slice(1), wallet.destination);
    await expectCode(sign(beyond), 'policy_denied');
    await expectCode(sign(loaded(other, [wallet.destination], wallet.destination)), 'policy_denied');
  });

  it('does not change because the host edits the pinned table', async () => {
    const document = {
      ...host.documentFor(wallet),
      transaction: {
        versions: ['0'],
        lookupTables: { [table]: [wallet.destination, wallet.destination] },
        durableNonce: false,
        maxInstructions: 8,
      },
    };
    const bytes = policyBytes(parsePolicy(document));
    const body = loaded(table, [wallet.destination], wallet.destination);
    const request = host.request({ ...wallet, policy: { bytes, mac: wallet.policy.mac } }, { body });
    await expectCode(host.data.request('sign', request), 'policy_not_current');
  });
});
