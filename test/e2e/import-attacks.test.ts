/** Importing a key through a host that would rather import another, import it elsewhere, or import it twice. */
import type { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { addressBytes, bootIdOf, timeMs } from '@quantumvault/shared/brands.ts';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf, walletCertificateCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { verifyCertificate } from '@quantumvault/shared/evidence/verify.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { renderImportStatement } from '@quantumvault/shared/policy/statement.ts';
import type { NewWallet } from '@quantumvault/shared/protocol/message-parts.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import {
  type ImportInto,
  importInto,
  importing,
  type OutsideKey,
  outsideKey,
  sealedBox,
} from '../support/import-kit.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { operators, signedBy } from '../support/operator-keys.ts';
import { creation, type Party, party, secondsFromNow, transfer } from '../support/wallet-kit.ts';

type Import = RequestOf<'walletImport'>;

let host: MaliciousHost;
let into: ImportInto;

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
  into = await intoOf(host.data);
}, 60_000);
afterAll(() => host?.stop());

async function intoOf(data: EnclaveClient): Promise<ImportInto> {
  const { document } = await data.request('attest', { nonce: nacl.randomBytes(32) });
  return importInto(document);
}

const send = (request: Import, data = host.data): Promise<NewWallet> => data.request('walletImport', request);
const [owner, requester] = [party(), party()];

function request(key: OutsideKey, change: Partial<Import> = {}, by: Party = owner): Import {
  const { deployment } = host.backend;
  return importing({ deployment, owner: by, requesters: [requester.address], key, ...into }, change);
}

async function enabled(key: OutsideKey, created: NewWallet, by: Party = owner): Promise<KitWallet> {
  const destination = party().address;
  const wallet = { address: key.address, owner: by, requester, destination, created, blobs: created.blobs };
  return await host.enable(wallet, host.documentFor(wallet));
}

const statementHashOf = (wanted: Import) =>
  sha256(utf8(renderImportStatement({ ...wanted, importBeforeMs: wanted.importBefore })));

describe('an imported key', () => {
  it('signs as it did outside, under a policy, and its certificate and leaf say where it came from', async () => {
    const key = outsideKey();
    const wanted = request(key);
    const created = await send(wanted);
    const expected = {
      deployment: host.backend.deployment,
      boot: into.boot,
      wallet: key.address,
      owner: owner.address,
      requesters: [requester.address],
      nonce: wanted.nonce,
    };
    const verify = (imported?: true) =>
      verifyCertificate(
        created.certificate,
        created.receipt,
        { ...expected, ...(imported && { imported }) },
        (signature, message, publicKey) => nacl.sign.detached.verify(message, signature, publicKey),
      );
    expect(verify(true)).toMatchObject({ wallet: key.address, imported: true });
    // Whoever asked for a wallet that was born inside does not take this one for it.
    const error = await expectCode(() => verify(), 'evidence_mismatch');
    expect(error.facts.path).toBe('certificate.imported');
    expect(decodeLeaf(created.receipt.leaf)).toMatchObject({ kind: 'wallet-imported', stateVersion: 1n });

    const wallet = await enabled(key, created);
    const transaction = transfer(key.address, wallet.destination, 1_000n);
    const { signature } = await host.data.request('sign', host.request(wallet, { transaction }));
    expect(signature).toEqual(key.sign(new Uint8Array(transaction.serializeMessage())));
    await expectCode(host.data.request('sign', host.request(wallet, { lamports: 1_000_001n })), 'policy_denied');
  });

  it('is the owner’s alone: no other owner’s context opens its execution key', async () => {
    const key = outsideKey();
    const created = await send(request(key));
    await expectCode(enabled(key, created, party()), 'wallet_owner_mismatch');
  });
});

describe('a host that changes what it carries', () => {
  const key = outsideKey();

  it.each<[string, (wanted: Import) => Partial<Import>, Parameters<typeof expectCode>[1], string | undefined]>([
    ['the deployment', () => ({ deployment: 'other' }), 'deployment_mismatch', 'deployment'],
    ['the owner', () => ({ owner: party().address }), 'statement_signature_invalid', undefined],
    ['the wallet', () => ({ wallet: party().address }), 'statement_signature_invalid', undefined],
    ['the nonce', () => ({ nonce: nacl.randomBytes(16) }), 'statement_signature_invalid', undefined],
    ['the requesters', () => ({ requesters: [party().address] }), 'statement_signature_invalid', undefined],
    [
      'the time',
      ({ importBefore }) => ({ importBefore: timeMs(importBefore + 1000) }),
      'statement_signature_invalid',
      undefined,
    ],
    ['the boot', () => ({ boot: bootIdOf(nacl.randomBytes(32)) }), 'import_refused', 'boot'],
    ['the import key', () => ({ importKey: nacl.randomBytes(32) }), 'import_refused', 'importKey'],
    ['the signature', () => ({ signature: party().sign(utf8('x')) }), 'statement_signature_invalid', undefined],
  ])('%s gets a refusal', async (_, change, code, path) => {
    const wanted = request(key);
    const error = await expectCode(send({ ...wanted, ...change(wanted) }), code);
    expect(error.facts.path).toBe(path);
  });

  it('any byte of the box gets a refusal, always the same', async () => {
    const wanted = request(key);
    for (let at = 0; at < LIMITS.sealedImportBytes; at++) {
      const sealed = wanted.sealed.map((byte, index) => (index === at ? byte ^ 0x40 : byte));
      const error = await expectCode(send({ ...wanted, sealed }), 'import_refused');
      expect(error.facts).toEqual({ path: 'sealed' });
    }
    // Refusals use nothing up, neither slots nor the nonce.
    expect((await send(wanted)).wallet).toBe(key.address);
  });

  it('a box for another statement, of another key, or to another import key gets the same refusal', async () => {
    const fresh = outsideKey();
    const [wanted, later] = [request(fresh), request(fresh)];
    const hash = statementHashOf(wanted);
    const boxes = [
      later.sealed,
      sealedBox(concatBytes(hash, outsideKey().seed), into.importKey),
      sealedBox(concatBytes(fresh.seed, hash), into.importKey),
      sealedBox(concatBytes(hash, addressBytes(fresh.address)), into.importKey),
      sealedBox(concatBytes(hash, fresh.seed), nacl.box.keyPair().publicKey),
      new Uint8Array(LIMITS.sealedImportBytes),
    ];
    for (const sealed of boxes) {
      const error = await expectCode(send({ ...wanted, sealed }), 'import_refused');
      expect(error.facts).toEqual({ path: 'sealed' });
    }
    // Nor does somebody who has seen the box, and is an owner himself, make the key his.
    const thief = party();
    const stolen = request(fresh, { sealed: wanted.sealed }, thief);
    await expectCode(send(stolen), 'import_refused');
  });

  it('a statement that is over, too far ahead, or of half a second', async () => {
    await expectCode(send(request(key, { importBefore: secondsFromNow(-1) })), 'statement_expired');
    const ahead = secondsFromNow(LIMITS.statementMaxAheadSeconds + 60);
    await expectCode(send(request(key, { importBefore: ahead })), 'statement_expired');
    const wanted = request(key);
    const half = { ...wanted, importBefore: timeMs(wanted.importBefore + 500) };
    expect((await expectCode(send(half), 'field_malformed')).facts.path).toBe('importBefore');
  });
});

describe('twice', () => {
  it('the same statement gives the same wallet, at once and later', async () => {
    const wanted = request(outsideKey());
    const [one, two] = await Promise.all([send(wanted), send(wanted)]);
    expect(two).toEqual(one);
    expect(await send(wanted)).toEqual(one);
  });

  it('a nonce is good for one statement, of imports and creations together', async () => {
    const wanted = request(outsideKey());
    await send(wanted);
    const { nonce } = wanted;
    expect((await expectCode(send(request(outsideKey(), { nonce })), 'nonce_reused')).facts.path).toBe('nonce');
    const another = creation(host.backend.deployment, owner, [requester], { nonce });
    await expectCode(host.data.request('walletCreate', another), 'nonce_reused');
  });

  it('a key whose reply was lost is imported anew, into the same blobs, whichever of them is stored', async () => {
    const key = outsideKey();
    await host.kms.clearCalls();
    const one = await send(request(key));
    const two = await send(request(key));
    expect(two.blobs).toEqual(one.blobs);
    expect(two.certificate.bytes).not.toEqual(one.certificate.bytes);
    expect((await host.kms.counts())['GenerateDataKey']?.calls).toBe(1);
    // Another key that fits the box is needed for that, and another owner gets nothing.
    await expectCode(send(request(key, { sealed: request(outsideKey()).sealed })), 'import_refused');
    await expectCode(send(request(key, {}, party())), 'wallet_exists');
    const wallet = await enabled(key, one);
    expect((await host.data.request('sign', host.request(wallet))).signature).toHaveLength(64);
    expect((await expectCode(send(request(key)), 'wallet_exists')).facts.path).toBe('wallet');
  });

  it('two statements for one key at the same time give one wallet', async () => {
    const key = outsideKey();
    await host.kms.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'latency', milliseconds: 200 } });
    const replies = await Promise.all([send(request(key)), send(request(key)), send(request(key))]);
    await host.kms.clearFaults();
    for (const { blobs } of replies) expect(blobs).toEqual(replies[0]?.blobs);
    const nonces = replies.map(
      ({ certificate }) => decodeAs(walletCertificateCodec, certificate.bytes, 'certificate').nonce,
    );
    expect(new Set(nonces.map(String)).size).toBe(3);
  });

  it('one that two owners import at the same time is the first one’s', async () => {
    const key = outsideKey();
    await host.kms.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'latency', milliseconds: 200 } });
    const outcomes = await Promise.allSettled([send(request(key)), send(request(key, {}, party()))]);
    await host.kms.clearFaults();
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const refused = outcomes.find((outcome) => outcome.status === 'rejected');
    await expectCode(Promise.reject(refused?.reason), 'wallet_exists');
  });
});

describe('faults', () => {
  it('of KMS leave no wallet, no slot and no nonce behind', async () => {
    const wanted = request(outsideKey());
    const { wallets } = await host.data.request('status', {});
    await host.kms.setFaults({
      operations: ['GenerateDataKey'],
      fault: { kind: 'refuse', error: 'AccessDeniedException' },
    });
    for (let attempt = 0; attempt < LIMITS.pendingWalletCreations + 2; attempt++)
      await expectCode(send(wanted), 'kms_refused');
    expect((await host.data.request('status', {})).wallets).toBe(wallets);
    await host.kms.clearFaults();
    expect((await send(wanted)).wallet).toBe(wanted.wallet);
  });

  it('more imports under way than there are slots wait for nobody', async () => {
    await host.kms.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'latency', milliseconds: 300 } });
    const many = Array.from({ length: LIMITS.pendingWalletCreations + 4 }, () => send(request(outsideKey())));
    const outcomes = await Promise.allSettled(many);
    await host.kms.clearFaults();
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused).toHaveLength(4);
    for (const { reason } of refused) await expectCode(Promise.reject(reason), 'overloaded');
  });
});

describe('another boot', () => {
  it('opens no box of this one’s, before and after a restart, and no wallet that left comes back', async () => {
    const second = await host.backend.startEnclave('second');
    await host.tunnel(second.addresses.tunnel);
    const data = host.connect(second.addresses.data);
    await host.giveCredentials(data);
    const there = await intoOf(data);
    const key = outsideKey();
    const wanted = request(key);
    expect((await expectCode(send(wanted, data), 'import_refused')).facts.path).toBe('boot');
    // The owner signs for the other boot, and the host brings the box that was sealed to this one.
    const other = importing({
      deployment: host.backend.deployment,
      owner,
      requesters: [requester.address],
      key,
      ...there,
    });
    expect((await expectCode(send({ ...other, sealed: wanted.sealed }, data), 'import_refused')).facts.path).toBe(
      'sealed',
    );

    // Handed over to the other one, it is neither imported there again nor here.
    await send(wanted);
    const order = encodeAs(releaseOrderCodec, {
      deployment: host.backend.deployment,
      predecessor: into.boot,
      successor: there.boot,
      notAfter: timeMs(Date.now() + 3_600_000),
    });
    const signatures = signedBy(order, ...operators(host.backend.dir).slice(0, 1));
    const released = await host.data.request('release', { order: { bytes: order, signatures }, wallet: key.address });
    await expectCode(send(request(key)), 'wallet_held_elsewhere');
    const { blobs } = await send(request(outsideKey()));
    expect(blobs.sealedSeed).toHaveLength(72);
    const own = { wallet: key.address, owner: owner.address, release: released.release };
    const known = await send(wanted).catch(() => undefined);
    if (known === undefined) throw new Error('the statement is remembered, and so is its reply');
    await data.request('take', { ...own, blobs: { ...known.blobs, sealedState: released.state.blob } });
    await expectCode(send(other, data), 'wallet_exists');

    await host.backend.restartEnclave();
    await expect.poll(async () => (await host.data.request('status', {})).phase).toBe('ready');
    await host.giveCredentials();
    expect((await expectCode(send(wanted), 'import_refused')).facts.path).toBe('boot');
    const now = await intoOf(host.data);
    expect(now.importKey).not.toEqual(into.importKey);
    const again = importing({
      deployment: host.backend.deployment,
      owner,
      requesters: [requester.address],
      key: outsideKey(),
      ...now,
    });
    const stale = { ...again, importKey: into.importKey };
    expect((await expectCode(send(stale), 'import_refused')).facts.path).toBe('importKey');
    expect((await send(again)).wallet).toBe(again.wallet);
  });
});
