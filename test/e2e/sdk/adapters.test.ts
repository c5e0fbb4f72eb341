/**
 * The adapters for kit and web3.js against a whole appliance, and each library's word on what comes back: they share no
 * code with the SDK, the enclave or each other.
 */
import { createKitSigner } from '@quantumvault/host/client/kit.ts';
import { createWeb3Wallet, type Web3Wallet } from '@quantumvault/host/client/web3.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import * as kit from '@solana/kit';
import {
  Message,
  PublicKey,
  SystemProgram,
  Transaction,
  TransactionInstruction,
  TransactionMessage,
  VersionedTransaction,
} from '@solana/web3.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LIMIT_LAMPORTS } from '../../stack/scenario.ts';
import { throwawayKey } from '../../stack/throwaway.ts';
import { expectCode } from '../../support/codes.ts';
import { type Appliance, startAppliance } from './appliance.ts';

let appliance: Appliance;
let signer: kit.TransactionPartialSigner;
let wallet: Web3Wallet;
/** Paths of the requests that the adapters' client sends. */
const asked: string[] = [];

beforeAll(async () => {
  appliance = await startAppliance();
  const counting: typeof fetch = (input, init) => {
    asked.push(new URL(String(input)).pathname);
    return fetch(input, init);
  };
  const options = { client: appliance.connect({ fetch: counting }), requester: appliance.requester.signer };
  signer = createKitSigner({ ...options, wallet: kit.address(appliance.wallet) });
  wallet = createWeb3Wallet({ ...options, publicKey: new PublicKey(appliance.wallet) });
  await options.client.connect();
});
afterAll(() => appliance?.stack.stop());

const randomBlockhash = (): string => new PublicKey(crypto.getRandomValues(new Uint8Array(32))).toBase58();

/** Requests sent while `action` ran. */
async function requestsOf<T>(action: () => Promise<T>): Promise<[T, readonly string[]]> {
  const before = asked.length;
  const result = await action();
  return [result, asked.slice(before)];
}

describe('kit', () => {
  const lifetime = () => ({ blockhash: kit.blockhash(randomBlockhash()), lastValidBlockHeight: 1n });

  function instruction(lamports: bigint, from: kit.TransactionPartialSigner = signer): kit.Instruction {
    const data = new Uint8Array(12);
    new DataView(data.buffer).setUint32(0, 2, true);
    new DataView(data.buffer).setBigUint64(4, lamports, true);
    const accounts = [
      { address: from.address, role: kit.AccountRole.WRITABLE_SIGNER, signer: from },
      { address: kit.address(appliance.destination), role: kit.AccountRole.WRITABLE },
    ];
    return { programAddress: kit.address('11111111111111111111111111111111'), accounts, data };
  }

  const message = (version: 'legacy' | 0, lamports: bigint, payer = signer) =>
    kit.pipe(
      kit.createTransactionMessage({ version }),
      (empty) => kit.setTransactionMessageFeePayerSigner(payer, empty),
      (paid) => kit.setTransactionMessageLifetimeUsingBlockhash(lifetime(), paid),
      (living) => kit.appendTransactionMessageInstruction(instruction(lamports), living),
    );

  const compiled = (lamports: bigint) =>
    kit.compileTransaction(message(0, lamports)) as kit.Transaction &
      kit.TransactionWithinSizeLimit &
      kit.TransactionWithLifetime;

  async function isValid(signature: kit.SignatureBytes, bytes: kit.ReadonlyUint8Array, by: string): Promise<boolean> {
    const key = await kit.getPublicKeyFromAddress(kit.address(by));
    return await kit.verifySignature(key, signature, bytes);
  }

  test('calls it a partial signer, and no other kind', () => {
    expect(kit.isTransactionPartialSigner(signer)).toBe(true);
    expect(kit.isTransactionModifyingSigner(signer) || kit.isTransactionSendingSigner(signer)).toBe(false);
    expect(kit.isMessagePartialSigner(signer)).toBe(false);
  });

  test.each(['legacy', 0] as const)('signs a message of version %s with it, and so says web3.js', async (version) => {
    const signed = await kit.signTransactionMessageWithSigners(message(version, 1_000n));
    kit.assertIsFullySignedTransaction(signed);
    const signature = signed.signatures[signer.address] as kit.SignatureBytes;
    expect(await isValid(signature, signed.messageBytes, appliance.wallet)).toBe(true);
    const wire = Uint8Array.from(kit.getTransactionEncoder().encode(signed));
    const read = VersionedTransaction.deserialize(wire);
    expect(read.signatures).toEqual([Uint8Array.from(signature)]);
    expect(read.serialize()).toEqual(wire);
    if (version === 'legacy') expect(Transaction.from(wire).verifySignatures()).toBe(true);
  });

  test('version 1 as well', async () => {
    const { messageBytes } = kit.compileTransaction(
      kit.pipe(
        kit.createTransactionMessage({ version: 1 }),
        (empty) => kit.setTransactionMessageFeePayerSigner(signer, empty),
        (paid) => kit.setTransactionMessageLifetimeUsingBlockhash(lifetime(), paid),
        (living) => kit.appendTransactionMessageInstruction(instruction(1_000n), living),
      ),
    );
    const [dictionary] = await signer.signTransactions([{ ...compiled(1n), messageBytes }]);
    const signature = dictionary?.[signer.address] as kit.SignatureBytes;
    expect(await isValid(signature, messageBytes, appliance.wallet)).toBe(true);
  });

  test('none, one and several: each dictionary in its place, by one request at most', async () => {
    expect(await requestsOf(() => signer.signTransactions([]))).toEqual([[], []]);
    const [, single] = await requestsOf(() => signer.signTransactions([compiled(5n)]));
    expect(single).toEqual(['/v1/sign']);
    const transactions = [compiled(7n), compiled(6n), compiled(7n)];
    const [dictionaries, several] = await requestsOf(() => signer.signTransactions(transactions));
    expect(several).toEqual(['/v1/sign/batch']);
    expect(dictionaries).toHaveLength(3);
    for (const [index, dictionary] of dictionaries.entries()) {
      expect(Object.keys(dictionary)).toEqual([appliance.wallet]);
      const signature = dictionary[signer.address] as kit.SignatureBytes;
      const bytes = transactions[index]?.messageBytes as kit.ReadonlyUint8Array;
      expect(await isValid(signature, bytes, appliance.wallet)).toBe(true);
    }
  });

  test('an aborted signal signs nothing, and its reason arrives', async () => {
    const abortSignal = AbortSignal.abort(new Error('enough'));
    const [, requests] = await requestsOf(() =>
      expect(signer.signTransactions([compiled(5n)], { abortSignal })).rejects.toThrow('enough'),
    );
    expect(requests).toEqual([]);
  });

  test('another fee payer, or another signer besides, is refused before anything is sent', async () => {
    const other = await kit.generateKeyPairSigner();
    const foreign = { ...compiled(5n), ...kit.compileTransaction(message(0, 5n, other)) };
    const two = kit.compileTransaction(
      kit.appendTransactionMessageInstruction(instruction(5n, other), message(0, 5n)),
    ) as typeof foreign;
    const [, requests] = await requestsOf(async () => {
      const payer = await expectCode(signer.signTransactions([foreign]), 'transaction_signer_mismatch');
      expect(payer.facts.path).toBe('feePayer');
      const more = await expectCode(signer.signTransactions([compiled(5n), two]), 'transaction_signer_mismatch');
      expect(more.facts.path).toBe('signers');
    });
    expect(requests).toEqual([]);
  });

  test('more than one batch takes is refused whole', async () => {
    const many = Array.from({ length: LIMITS.batchTransactions + 1 }, () => compiled(5n));
    const [, requests] = await requestsOf(async () => {
      const error = await expectCode(signer.signTransactions(many), 'field_malformed');
      expect(error.facts).toEqual({ path: 'transactions', value: '33 of them' });
    });
    expect(requests).toEqual([]);
  });

  test('a denial comes through as the SDK’s', async () => {
    const denied = kit.signTransactionMessageWithSigners(message(0, LIMIT_LAMPORTS + 1n));
    const error = await expectCode(denied, 'policy_denied');
    expect(error.facts).toEqual({ path: 'sol.maxPerTransaction', value: String(LIMIT_LAMPORTS + 1n) });
  });

  test('an id that follows from the messages gives the same signature again, and counts once', async () => {
    const ids: string[] = [];
    const repeatable = createKitSigner({
      client: appliance.connect(),
      requester: appliance.requester.signer,
      wallet: signer.address,
      requestId: (messages) => {
        const id = messages.map((bytes) => kit.getBase16Decoder().decode(bytes.slice(-16))).join('-');
        ids.push(id);
        return id;
      },
    });
    const transaction = compiled(9n);
    const first = await repeatable.signTransactions([transaction]);
    expect(await repeatable.signTransactions([transaction])).toEqual(first);
    expect(ids[1]).toBe(ids[0]);
    const receipt = await fetch(`${appliance.stack.url}/v1/receipts/${ids[0]}`);
    expect(receipt.status).toBe(200);
  });

  test('a wallet that is no address', async () => {
    const client = appliance.connect();
    const requester = appliance.requester.signer;
    await expectCode(() => createKitSigner({ client, requester, wallet: 'x' as kit.Address }), 'base58_malformed');
  });
});

describe('web3.js', () => {
  const transferOf = (lamports: bigint) =>
    SystemProgram.transfer({
      fromPubkey: wallet.publicKey,
      toPubkey: new PublicKey(appliance.destination),
      lamports,
    });
  const legacy = (lamports: bigint): Transaction =>
    new Transaction({ feePayer: wallet.publicKey, recentBlockhash: randomBlockhash() }).add(transferOf(lamports));
  const versioned = (lamports: bigint, version: 'legacy' | 0 = 0): VersionedTransaction => {
    const message = new TransactionMessage({
      payerKey: wallet.publicKey,
      recentBlockhash: randomBlockhash(),
      instructions: [transferOf(lamports)],
    });
    return new VersionedTransaction(version === 0 ? message.compileToV0Message() : message.compileToLegacyMessage());
  };

  /** Kit's word: it reads the wire form, finds one signature, and verifies it with the runtime's Ed25519. */
  async function kitSaysSigned(wire: Uint8Array): Promise<boolean> {
    const transaction = kit.getTransactionDecoder().decode(wire);
    kit.assertIsFullySignedTransaction(transaction);
    const key = await kit.getPublicKeyFromAddress(kit.address(appliance.wallet));
    const signature = transaction.signatures[kit.address(appliance.wallet)] as kit.SignatureBytes;
    return await kit.verifySignature(key, signature, transaction.messageBytes);
  }

  test('a legacy transaction comes back as the same object, signed, and so says kit', async () => {
    const transaction = legacy(1_000n);
    const [signed, requests] = await requestsOf(() => wallet.signTransaction(transaction));
    expect(requests).toEqual(['/v1/sign']);
    expect(signed).toBe(transaction);
    expect(signed.verifySignatures()).toBe(true);
    // Throws unless every signature is there and right.
    expect(await kitSaysSigned(signed.serialize())).toBe(true);
  });

  test.each(['legacy', 0] as const)('a versioned transaction with a message of version %s', async (version) => {
    const signed = await wallet.signTransaction(versioned(1_000n, version));
    expect(await kitSaysSigned(signed.serialize())).toBe(true);
  });

  test('several of both kinds, in order, by one request', async () => {
    const transactions = [legacy(3n), versioned(4n), legacy(3n)];
    const [signed, requests] = await requestsOf(() => wallet.signAllTransactions(transactions));
    expect(requests).toEqual(['/v1/sign/batch']);
    expect(signed).toEqual(transactions);
    for (const transaction of signed) expect(await kitSaysSigned(transaction.serialize())).toBe(true);
    expect(await requestsOf(() => wallet.signAllTransactions([]))).toEqual([[], []]);
  });

  test('when one is denied, none is signed', async () => {
    const transactions = [legacy(3n), legacy(LIMIT_LAMPORTS + 1n)];
    const error = await expectCode(wallet.signAllTransactions(transactions), 'policy_denied');
    expect(error).toMatchObject({ index: 1, facts: { path: 'sol.maxPerTransaction' } });
    expect(transactions.map(({ signature }) => signature)).toEqual([null, null]);
  });

  test('another fee payer, none, and another signer besides are refused before anything is sent', async () => {
    const other = new PublicKey(throwawayKey().signer.address);
    const foreign = new Transaction({ feePayer: other, recentBlockhash: randomBlockhash() }).add(transferOf(1n));
    const without = new Transaction({ recentBlockhash: randomBlockhash() } as { recentBlockhash: string }).add(
      transferOf(1n),
    );
    const keys = [{ pubkey: other, isSigner: true, isWritable: false }];
    const two = legacy(1n).add(new TransactionInstruction({ keys, programId: SystemProgram.programId }));
    const [, requests] = await requestsOf(async () => {
      for (const [transaction, path] of [
        [foreign, 'feePayer'],
        [without, 'feePayer'],
        [two, 'signers'],
      ] as const) {
        const error = await expectCode(wallet.signTransaction(transaction), 'transaction_signer_mismatch');
        expect(error.facts.path).toBe(path);
      }
    });
    expect(requests).toEqual([]);
  });

  test('an aborted signal signs nothing', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(wallet.signTransaction(legacy(1n), { signal })).rejects.toThrow('enough');
  });

  test('is compiled from what was signed: web3.js reads the same message back', async () => {
    const signed = await wallet.signTransaction(legacy(2n));
    const read = Transaction.from(signed.serialize());
    expect(read.signature).toEqual(signed.signature);
    expect(Message.from(read.serializeMessage()).accountKeys[0]?.toBase58()).toBe(appliance.wallet);
  });
});
