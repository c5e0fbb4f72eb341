/** What a host, a database or a network can do to logs that honest boots wrote. */
import { randomBytes } from 'node:crypto';
import { bootIdOf } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { auditLog } from '@quantumvault/shared/evidence/audit/audit.ts';
import { encodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { expectCode } from '../../../support/codes.ts';
import {
  auditDeps,
  type BuiltLog,
  type BuiltWallet,
  Deployment,
  type Served,
  sourceOf,
} from '../../../support/log-builder.ts';
import { auditOf, codesOf, findingOf, servedLog } from './audits.ts';

let deployment: Deployment;
let log: BuiltLog;
let wallet: BuiltWallet;
let served: Served;

beforeEach(async () => {
  deployment = new Deployment({ witnesses: 2 });
  log = await deployment.start();
  wallet = log.wallet();
  for (let index = 0; index < 4; index++) wallet.sign();
  wallet.deny();
  wallet.sign();
  served = deployment.serve();
});

const entries = (): Uint8Array[] => servedLog(served, log.boot).entries;
const audited = (change = {}) => auditOf(deployment, change, served);

test('a boot without a leaf is not attested', async () => {
  const stranger = await deployment.start({ pcr0: 1 });
  served.logs.set(stranger.boot, { entries: [], note: stranger.checkpoint({ size: 0 }) });
  const report = await audited();
  expect(findingOf(report, 'log_entry_missing')).toMatchObject({ boot: stranger.boot, sequence: 0n });
  expect(codesOf(report)).toEqual(['log_entry_missing', 'log_root_repeated']);
});

describe('leaves', () => {
  test('dropped', async () => {
    entries().splice(4, 1);
    const report = await audited();
    expect(findingOf(report, 'log_entry_missing')).toMatchObject({ boot: log.boot, sequence: 4n });
    expect(codesOf(report)).toContain('log_truncated');
  });

  test('several dropped are one finding', async () => {
    entries().splice(3, 3);
    const report = await audited();
    expect(findingOf(report, 'log_entry_missing')).toMatchObject({ sequence: 3n, detail: 'up to 5 are not there' });
  });

  test('edited', async () => {
    const leaf = { ...log.leaves[4], amounts: { lamportsOut: 1n, feeLamports: 5000n } };
    entries()[4] = encodeLeaf(leaf as typeof leaf & (typeof log.leaves)[0]);
    const report = await audited();
    expect(findingOf(report, 'log_entry_edited')).toMatchObject({ boot: log.boot, sequence: 4n });
    expect(codesOf(report)).toEqual(['log_entry_edited', 'log_root_mismatch']);
  });

  test('edited at the end, where no leaf names its hash', async () => {
    const last = log.size - 1;
    const leaf = log.leaves[last] as (typeof log.leaves)[0];
    entries()[last] = encodeLeaf({ ...leaf, requestId: 'another' });
    const report = await audited();
    findingOf(report, 'log_root_mismatch');
    expect(codesOf(report)).toEqual(['log_root_mismatch']);
  });

  test('reordered', async () => {
    const [a, b] = entries().splice(4, 2) as [Uint8Array, Uint8Array];
    entries().splice(4, 0, b, a);
    const report = await audited();
    expect(findingOf(report, 'log_entry_reordered')).toMatchObject({ boot: log.boot, sequence: 5n });
    expect(codesOf(report)).not.toContain('log_entry_missing');
  });

  test('duplicated', async () => {
    entries().splice(5, 0, entries()[4] as Uint8Array);
    entries().pop();
    const report = await audited();
    expect(findingOf(report, 'log_entry_duplicated')).toMatchObject({ boot: log.boot, sequence: 5n });
  });

  test('of another boot', async () => {
    const other = await deployment.start({ follows: log.predecessor() });
    entries()[4] = other.entries[1] as Uint8Array;
    expect(findingOf(await audited(), 'log_entry_foreign')).toMatchObject({ boot: log.boot, sequence: 4n });
  });

  test('that are none', async () => {
    entries()[4] = Uint8Array.of(0xa0);
    expect(findingOf(await audited(), 'log_entry_malformed')).toMatchObject({ sequence: 4n });
  });

  test('in bundles with bytes behind them', async () => {
    const source = sourceOf(served);
    const report = await auditLog(
      { ...source, entries: async (...place) => Uint8Array.of(...(await source.entries(...place)), 0) },
      deployment.expectations(),
      auditDeps,
    );
    findingOf(report, 'log_tile_malformed');
  });

  test('fewer than the checkpoint says', async () => {
    entries().pop();
    expect(findingOf(await audited(), 'log_truncated')).toMatchObject({ sequence: BigInt(log.size - 1) });
    entries().length = 0;
    findingOf(await audited(), 'log_truncated');
    const source = sourceOf(served);
    const unknown = async () => Promise.reject(new QvError('log_unknown'));
    findingOf(await auditLog({ ...source, entries: unknown }, deployment.expectations(), auditDeps), 'log_truncated');
  });

  test('other faults of the source are not findings', async () => {
    const fails = async () => Promise.reject(new QvError('host_unreachable'));
    for (const part of ['boots', 'checkpoint', 'entries', 'policy']) {
      const source = { ...sourceOf(served), [part]: fails };
      await expectCode(auditLog(source, deployment.expectations(), auditDeps), 'host_unreachable');
    }
  });

  test('of which more are wrong than a report lists', async () => {
    const many = Array.from({ length: 1_500 }, () => Uint8Array.of(0xa0));
    servedLog(served, log.boot).entries = [...entries().slice(0, 1), ...many];
    servedLog(served, log.boot).note = log.checkpoint({ entries: entries() });
    const report = await audited();
    expect(report.findings).toHaveLength(1_000);
    expect(report.findingCount).toBe(1_500);
    expect(report.steps.find(({ name }) => name === 'entries')?.found).toContain('1499 more');
  });
});

describe('checkpoints', () => {
  test('of a log that was forked', async () => {
    const since = [log.checkpoint()];
    log.rewrite(4, (leaf) => ({ ...leaf, requestId: 'other' }));
    const report = await auditOf(deployment, { since });
    expect(findingOf(report, 'log_forked')).toMatchObject({ boot: log.boot });
    expect(codesOf(report)).toEqual(['log_forked']);
  });

  test('rewound to an earlier one', async () => {
    const since = [log.checkpoint()];
    servedLog(served, log.boot).note = log.checkpoint({ size: 5 });
    const report = await auditOf(deployment, { since }, served);
    expect(findingOf(report, 'log_rewound')).toMatchObject({ boot: log.boot });
    expect(codesOf(report)).toEqual(['log_rewound']);
  });

  test('an earlier one that nobody has seen beyond passes: the end of a log cannot be shown to be missing', async () => {
    servedLog(served, log.boot).note = log.checkpoint({ size: 5 });
    expect((await audited()).ok).toBe(true);
  });

  test('with another root or size', async () => {
    servedLog(served, log.boot).note = log.checkpoint({ entries: entries().slice(0, -1) });
    expect((await audited()).ok).toBe(true);
    servedLog(served, log.boot).note = log.checkpoint({ size: 5, claimedSize: 6n });
    findingOf(await audited(), 'log_root_mismatch');
    servedLog(served, log.boot).note = log.checkpoint({ claimedSize: 2n ** 60n });
    findingOf(await audited(), 'log_checkpoint_malformed');
  });

  test('by a foreign key', async () => {
    const other = await new Deployment({ witnesses: 2 }).start();
    servedLog(served, log.boot).note = other.checkpoint({ entries: entries(), origin: log.origin });
    const report = await audited();
    findingOf(report, 'log_note_unsigned');
    expect(report.boots).toEqual([]);
  });

  test('of another log of the same key', async () => {
    servedLog(served, log.boot).note = log.checkpoint({ origin: `other.example.com/${log.boot}` });
    expect(findingOf(await audited(), 'log_origin_mismatch').boot).toBe(log.boot);
  });

  test('that are none', async () => {
    servedLog(served, log.boot).note = new Uint8Array(3);
    findingOf(await audited(), 'log_note_malformed');
  });

  test('with too few witnesses', async () => {
    servedLog(served, log.boot).note = log.checkpoint({ witnesses: 1 });
    const report = await audited();
    expect(findingOf(report, 'witnesses_too_few')).toMatchObject({ boot: log.boot, detail: '1 of 2' });
    expect(codesOf(report)).toEqual(['witnesses_too_few']);
    expect((await audited({ witnessThreshold: 1 })).ok).toBe(true);
  });

  test('with a cosignature that does not verify', async () => {
    const text = new TextDecoder().decode(servedLog(served, log.boot).note);
    const line = text.split('\n').at(-2) as string;
    const at = text.length - 10;
    const spoilt = `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`;
    expect(line).toContain('witness-1');
    servedLog(served, log.boot).note = new TextEncoder().encode(spoilt);
    findingOf(await audited(), 'log_note_signature_invalid');
  });

  test('missing', async () => {
    const source = { ...sourceOf(served), checkpoint: async () => Promise.reject(new QvError('log_unknown')) };
    findingOf(await auditLog(source, deployment.expectations(), auditDeps), 'log_unknown');
  });
});

describe('boots', () => {
  test('that are hidden after they were seen', async () => {
    const second = await deployment.start({ follows: log.predecessor() });
    const since = [second.checkpoint()];
    served = deployment.serve();
    served.logs.delete(second.boot);
    expect(findingOf(await audited({ since }), 'log_boot_hidden')).toMatchObject({ boot: second.boot });
  });

  test('that are hidden although another one follows them', async () => {
    const second = await deployment.start({ follows: log.predecessor() });
    served = deployment.serve();
    served.logs.delete(log.boot);
    expect(findingOf(await audited(), 'log_boot_hidden')).toMatchObject({ boot: second.boot, sequence: 1n });
  });

  test('none at all, or what is no boot', async () => {
    served.logs.delete(log.boot);
    findingOf(await audited(), 'log_unknown');
    served.logs.set('0' as typeof log.boot, { entries: [], note: new Uint8Array() });
    findingOf(await audited(), 'base58_malformed');
  });

  test('without a leaf, so that nothing attests their key', async () => {
    const stranger = await new Deployment({ witnesses: 0 }).start();
    const note = stranger.checkpoint({ size: 0, origin: stranger.origin });
    served.logs.set(stranger.boot, { entries: [], note });
    expect(findingOf(await audited({ witnesses: [], witnessThreshold: 0 }), 'log_entry_missing')).toMatchObject({
      boot: stranger.boot,
      sequence: 0n,
    });
  });

  test('more than an audit reads', async () => {
    const boots = Array.from({ length: LIMITS.logBoots + 1 }, () => bootIdOf(randomBytes(32)));
    const source = {
      ...sourceOf(served),
      boots: async () => boots,
      checkpoint: async () => Promise.reject(new QvError('log_unknown')),
    };
    findingOf(await auditLog(source, deployment.expectations(), auditDeps), 'log_boots_too_many');
  });

  test('two that follow nothing', async () => {
    const second = await deployment.start();
    expect(findingOf(await auditOf(deployment), 'log_root_repeated')).toMatchObject({ boot: second.boot });
  });

  test('two that follow nothing, where the first took a wallet back', async () => {
    const second = await deployment.start({ follows: log.predecessor() });
    wallet.moveTo(second);
    wallet.moveTo(log);
    expect((await auditOf(deployment)).findings).toEqual([]);
    const third = await deployment.start();
    const report = await auditOf(deployment);
    expect(findingOf(report, 'log_root_repeated')).toMatchObject({ boot: third.boot });
    const fourth = await deployment.start({ follows: third.predecessor() });
    wallet.moveTo(fourth);
    expect(codesOf(await auditOf(deployment))).toEqual(['log_root_repeated']);
  });

  test('one that follows a state which was not one', async () => {
    const predecessor = { boot: log.boot, checkpoint: log.checkpoint({ entries: [log.entries[1] as Uint8Array] }) };
    await deployment.start({ follows: predecessor });
    findingOf(await auditOf(deployment), 'log_forked');
  });

  test('one that follows more than is shown', async () => {
    const second = await deployment.start({ follows: log.predecessor() });
    served = deployment.serve();
    servedLog(served, log.boot).note = log.checkpoint({ size: 4 });
    expect(findingOf(await audited(), 'log_rewound')).toMatchObject({ boot: second.boot });
  });

  test('one that follows a note of somebody else', async () => {
    const other = await new Deployment({ witnesses: 2 }).start();
    await deployment.start({ follows: { boot: log.boot, checkpoint: other.checkpoint() } });
    findingOf(await auditOf(deployment), 'log_note_unsigned');
  });

  test('one that follows itself', async () => {
    log.record({ kind: 'follows', predecessor: log.predecessor() });
    findingOf(await auditOf(deployment), 'log_chain_cycle');
  });
});

describe('attestation', () => {
  test('of another image', async () => {
    await deployment.start({ follows: log.predecessor(), pcr0: 0xb0 });
    findingOf(await auditOf(deployment), 'attestation_pcrs_not_allowed');
  });

  test('of a debug enclave', async () => {
    await deployment.start({ follows: log.predecessor(), debug: true });
    findingOf(await auditOf(deployment), 'attestation_debug_enclave');
  });

  test('under another root', async () => {
    const { unsafeTrustedRootDer: _, ...expected } = deployment.expectations();
    findingOf(await auditLog(deployment.source(), expected, auditDeps), 'attestation_root_untrusted');
  });

  test.each([
    ['another boot key', 'bootKey'],
    ['another origin', 'logOrigin'],
    ['another configuration', 'configHash'],
  ] as const)('of %s', async (_, field) => {
    const attested = {
      bootKey: { bootKey: log.boot },
      logOrigin: { logOrigin: 'other.example.com' },
      configHash: { configHash: new Uint8Array(32) as never },
    }[field];
    await deployment.start({ follows: log.predecessor(), attested });
    const finding = findingOf(await auditOf(deployment), 'attestation_user_data_mismatch');
    expect(finding.detail).toContain(field);
  });
});

describe('what others hold', () => {
  test('a denial that was hidden: its leaf is replaced, and its receipt is held', async () => {
    const at = 7;
    expect(log.leaves[at]?.kind).toBe('denied');
    const receipts = [log.receipt(at)];
    log.leaves.splice(at, 1);
    log.entries.splice(at, 1);
    log.rewrite(at, (leaf) => ({ ...leaf, sequence: leaf.sequence - 1n }));
    const report = await auditOf(deployment, { receipts });
    expect(findingOf(report, 'log_receipt_absent')).toMatchObject({ boot: log.boot, sequence: BigInt(at) });
    expect(codesOf(report)).toEqual(['log_receipt_absent']);
  });

  test('a denial that was hidden at the end: the log ends before it', async () => {
    wallet.deny();
    const receipts = [log.receipt(log.size - 1)];
    expect(findingOf(await audited({ receipts }), 'log_receipt_absent').sequence).toBe(BigInt(log.size - 1));
  });

  test('a receipt of another boot', async () => {
    const other = await new Deployment().start();
    const report = await audited({ receipts: [other.receipt(0)] });
    expect(findingOf(report, 'log_receipt_foreign')).toMatchObject({ boot: other.boot, sequence: 0n });
  });

  test('a receipt that no boot signed', async () => {
    const { leaf } = log.receipt(3);
    const receipts = [{ leaf, signature: log.receipt(4).signature }];
    findingOf(await audited({ receipts }), 'evidence_signature_invalid');
    findingOf(await audited({ receipts: [{ ...log.receipt(3), leaf: Uint8Array.of(0xff) }] }), 'cbor_malformed');
  });

  test('a signature on chain without a leaf', async () => {
    const made = new Uint8Array(64).fill(1);
    const report = await audited({ onChain: [...wallet.signatures.values(), made] });
    expect(codesOf(report)).toEqual(['log_signature_unrecorded']);
    findingOf(report, 'log_signature_unrecorded');
  });
});

describe('what cannot be compared with anything is refused', () => {
  test('expectations', async () => {
    for (const change of [
      { pcrSets: [] },
      { witnessThreshold: 3 },
      { witnessThreshold: -1 },
      { witnessThreshold: 0.5 },
      { witnesses: deployment.expectations().witnesses.map((key) => ({ ...key, type: 'ed25519' as const })) },
    ])
      await expectCode(audited(change), 'attestation_expectations_invalid');
    const [witness] = deployment.expectations().witnesses;
    if (witness !== undefined) await expectCode(audited({ witnesses: [witness, witness] }), 'log_key_repeated');
  });

  test('states seen earlier', async () => {
    await expectCode(audited({ since: [new Uint8Array(3)] }), 'log_note_malformed');
    const other = new Deployment({ logOrigin: 'other.example.com' });
    await expectCode(audited({ since: [(await other.start()).checkpoint()] }), 'log_note_unsigned');
    await expectCode(audited({ seen: new Uint8Array(3) }), 'log_seen_malformed');
    const { seen } = await auditOf(deployment);
    if (seen === undefined) throw new Error('nothing to keep');
    await expectCode(audited({ seen, logOrigin: 'other.example.com' }), 'log_origin_mismatch');
  });
});
