/** What operators exchange as files, and what was found on chain. */
import { readChainFile } from '@quantumvault/host/cli/chain-file.ts';
import { parseBoots } from '@quantumvault/host/cli/log-source.ts';
import { parseSigned } from '@quantumvault/host/cli/resume-signatures.ts';
import { readLeaseFile, readOrderFile } from '@quantumvault/host/cli/succession/files.ts';
import { requireNoConflict } from '@quantumvault/host/cli/succession/journal.ts';
import { readReleases } from '@quantumvault/host/cli/succession/releases-file.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { addressBytes, type BootId } from '@quantumvault/shared/brands.ts';
import { concatBytes, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { leaseCodec, releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import { must, mustEqualBytes, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
import { behindOneByte } from './bodies.ts';
import { textOf } from './checks.ts';
import { Place } from './place.ts';
import * as sample from './samples.ts';

const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
const TWO: readonly string[] = [sample.wallet, sample.owner];

const signed = (bytes: Uint8Array) => ({
  bytes: toBase64(bytes),
  signatures: [{ key: sample.owner, signature: toBase64(sample.signature) }],
});
const parties = { deployment: 'test', predecessor: sample.boot, successor: sample.otherBoot };
const lease = {
  ...parties,
  wallets: [{ wallet: sample.wallet, version: 3n }],
  freezes: [],
  checkpoint: sample.note,
  notAfter: sample.time,
  sumsProven: false,
};
const order = encodeAs(releaseOrderCodec, { ...parties, notAfter: sample.time });
const successionPlace = new Place();

/** The first byte: an order, leases, releases, or a journal. */
export const successionFiles: Target = {
  name: 'succession-files',
  covers: [
    'host/src/cli/succession/files.ts#readOrderFile',
    'host/src/cli/succession/files.ts#readLeaseFile',
    'host/src/cli/succession/releases-file.ts#readReleases',
    'host/src/cli/succession/journal.ts#requireNoConflict',
    'host/src/admin/succession-json.ts#readOperatorSigned',
    'host/src/admin/succession-json.ts#readState',
    'host/src/cli/resume-signatures.ts#parseSigned',
  ],
  seeds: () => {
    const state = { blob: toBase64(sample.filled(20, 1)), version: '3' };
    const release = { bytes: toBase64(order), signature: toBase64(sample.signature) };
    const of = (kind: number, ...lines: readonly unknown[]): Uint8Array =>
      concatBytes(Uint8Array.of(kind), ...lines.map((line) => concatBytes(json(line), utf8('\n'))));
    return {
      order: of(0, { format: 'qv/release-order-file/v1', order: signed(order) }),
      leases: of(1, { format: 'qv/lease-file/v1', leases: [signed(encodeAs(leaseCodec, lease))] }),
      releases: of(2, { format: 'qv/releases-file/v1', ...parties }, { wallet: sample.wallet, release, state }),
      journal: of(3, {
        at: 'now',
        lease: 'ab',
        ...{ predecessor: sample.boot, successor: sample.boot },
        wallets: TWO,
        terminated: 'x',
        terminatedSuccessors: [{ boot: sample.boot, note: 'n' }],
      }),
      signature: concatBytes(Uint8Array.of(4), utf8(`${sample.owner}:${toBase64(sample.signature)}`)),
    };
  },
  mutators: [behindOneByte(jsonMutator([cborMutator()])), behindOneByte(textMutator)],
  maxBytes: 8 * 1024,
  codes: [
    'json_malformed',
    'field_malformed',
    'base64_malformed',
    'base58_malformed',
    'cbor_malformed',
    'message_malformed',
    'journal_malformed',
    'lease_conflict',
    'body_too_large',
    'usage_invalid',
  ],
  executions: 1_200,
  open: successionPlace.open,
  close: successionPlace.close,
  async run(input) {
    const kind = (input[0] ?? 0) % 5;
    const bytes = input.subarray(1);
    if (kind === 4) return parseSigned(textOf(bytes));
    const path = successionPlace.write(bytes);
    if (kind === 0) {
      const { signed: read, order: said } = readOrderFile(path);
      mustEqualBytes(encodeAs(releaseOrderCodec, said), read.bytes, 'another order than was signed');
      return said;
    }
    if (kind === 1) {
      const leases = readLeaseFile(path);
      for (const { signed: read, lease: said } of leases)
        mustEqualBytes(encodeAs(leaseCodec, said), read.bytes, 'another lease than was signed');
      return leases;
    }
    if (kind === 2) {
      const wallets: string[] = [];
      for await (const { wallet } of readReleases(path)) wallets.push(wallet);
      return wallets;
    }
    // The journal says who has leased the wallet to somebody else; the signer asks for the same predecessor.
    await requireNoConflict(path, [{ lease: { ...lease, successor: sample.otherBoot as BootId } }]);
    return 'no conflict';
  },
};

const chainPlace = new Place();
export const chainFile: Target = {
  name: 'chain-file',
  covers: ['host/src/cli/chain-file.ts#readChainFile', 'host/src/cli/log-source.ts#parseBoots'],
  seeds: () => {
    const made = toBase58(sample.signature);
    return {
      lines: utf8(`# mine\n${made}\n\n${made}\n`),
      rpc: utf8(JSON.stringify({ jsonrpc: '2.0', result: [{ signature: made, slot: 1 }], id: 1 }, undefined, 2)),
      list: json([made, made]),
      boots: json({ boots: [{ boot: sample.boot, size: '7' }] }),
    };
  },
  mutators: [jsonMutator(), textMutator],
  maxBytes: 4_096,
  codes: ['usage_invalid', 'body_too_large'],
  executions: 600,
  open: chainPlace.open,
  close: chainPlace.close,
  async run(input) {
    try {
      return parseBoots(input).map(addressBytes);
    } catch (error) {
      const codes = ['json_malformed', 'field_malformed', 'base58_malformed'];
      if (!(error instanceof Error) || !('code' in error) || !codes.includes(String(error.code))) throw error;
    }
    const signatures = await readChainFile(chainPlace.write(input));
    must(
      signatures.every(({ length }) => length === 64),
      'length of a signature',
    );
    return signatures;
  },
};
