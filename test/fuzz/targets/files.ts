/** Files that operators write, and configurations. They are read from a folder of the run's own. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnclaveConfig } from '@quantumvault/enclave/config.ts';
import { readChainFile } from '@quantumvault/host/cli/chain-file.ts';
import { parseBoots } from '@quantumvault/host/cli/log-source.ts';
import { parseSigned } from '@quantumvault/host/cli/resume-signatures.ts';
import { readLeaseFile, readOrderFile } from '@quantumvault/host/cli/succession/files.ts';
import { requireNoConflict } from '@quantumvault/host/cli/succession/journal.ts';
import { readReleases } from '@quantumvault/host/cli/succession/releases-file.ts';
import { parseHostConfig } from '@quantumvault/host/config.ts';
import { readCredentials } from '@quantumvault/host/credentials.ts';
import { encodeMarker, parseMarker } from '@quantumvault/host/freeze-marker.ts';
import { readAck } from '@quantumvault/host/freeze-record.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { readTokens } from '@quantumvault/host/reads/tokens-file.ts';
import { readOperators } from '@quantumvault/host/remote-freeze/operators-file.ts';
import { readSharedSecret, readTextSecret, SecretsFile } from '@quantumvault/host/webhooks/secrets-file.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { addressBytes, type BootId } from '@quantumvault/shared/brands.ts';
import { concatBytes, toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { freezeAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { leaseCodec, releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { formatVerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
import { behindOneByte } from './bodies.ts';
import { textOf } from './checks.ts';
import * as sample from './samples.ts';

/** One file, written anew for each input; private, as most of them have to be. */
class Place {
  #folder = '';

  readonly open = async (): Promise<void> => {
    this.#folder = mkdtempSync(join(tmpdir(), 'qv-fuzz-'));
  };

  readonly close = async (): Promise<void> => rmSync(this.#folder, { recursive: true, force: true });

  write(bytes: Uint8Array): string {
    const path = join(this.#folder, 'file');
    writeFileSync(path, bytes, { mode: 0o600 });
    return path;
  }
}

const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
const TWO: readonly string[] = [sample.wallet, sample.owner];

const GOOD_CONFIG = {
  deployment: 'test',
  listen: { host: '127.0.0.1', port: 0 },
  adminSocket: { path: '/run/qv/admin.sock', groupId: 5 },
  enclave: { data: 'vsock:16:5000', control: 'vsock:16:5001' },
  store: { sqlite: '/var/lib/qv/host.db' },
  kmsTunnel: { listen: 'vsock:3:5002', endpoint: 'kms.eu-west-1.amazonaws.com:443', alsoFrom: [17] },
  credentialsFile: '/run/qv/credentials.json',
};
const witnessKey = formatVerifierKey(verifierKey('w.example', 'cosignature', sample.pair(9).publicKey));

export const hostConfig: Target = {
  name: 'host-config',
  covers: ['host/src/config.ts#parseHostConfig', 'host/src/client-address.ts#parseNetwork'],
  seeds: () => ({
    least: json(GOOD_CONFIG),
    most: json({
      ...GOOD_CONFIG,
      credentialsFile: undefined,
      credentials: { imds: true },
      tls: { certificateFile: '/a', keyFile: '/b', clientCaFile: '/c' },
      trustedProxies: ['10.0.0.0/8', '2001:db8::7'],
      rateLimits: { wallet: 7 },
      apiTokensFile: '/t',
      operatorsFile: '/o',
      publicLog: false,
      witnesses: [{ url: 'https://w.example', key: witnessKey }],
      metrics: { host: '127.0.0.1', port: 9, budgets: TWO },
      opsPage: { host: '127.0.0.1', port: 8 },
      alerts: [{ url: 'https://a.example', secretsFile: '/s', events: ['freeze'] }],
      denialBurst: { count: 3, seconds: 60 },
      webhooks: [
        {
          name: 'alpha',
          kind: 'standard',
          keys: [sample.requester],
          secretsFile: '/s',
          toleranceSeconds: 60,
          keepSeconds: 9,
        },
        {
          name: 'tv',
          kind: 'tradingview',
          secretsFile: '/t',
          idField: 'id',
          certificate: { header: 'x-cert', name: 'tv' },
        },
      ],
      logLevel: 'debug',
    }),
  }),
  mutators: [jsonMutator()],
  maxBytes: 16 * 1024,
  codes: ['config_invalid'],
  executions: 2_500,
  run(input) {
    const config = accept(parseHostConfig(input));
    must(Object.isFrozen(config) && Object.isFrozen(config.enclave.data), 'not frozen');
    must(config.kmsTunnel.endpoint.port > 0 && config.kmsTunnel.endpoint.port <= 0xffff, 'a port');
    must(config.store.sqlite.startsWith('/') && config.adminSocket.path.startsWith('/'), 'a path that is not absolute');
    return config;
  },
};

export const enclaveConfig: Target = {
  name: 'enclave-config',
  covers: ['enclave/src/config.ts#parseEnclaveConfig'],
  seeds: () => {
    const example = JSON.parse(
      readFileSync(new URL('../../../enclave/config/example.json', import.meta.url), 'utf8'),
    ) as { kms: { rootCertificates: string[] } };
    const kms = { ...example.kms, rootCertificates: example.kms.rootCertificates.slice(2, 3) };
    const small = { ...example, kms };
    return { example: json(small), witnessed: json({ ...small, witnesses: { threshold: 1, keys: [witnessKey] } }) };
  },
  mutators: [jsonMutator()],
  maxBytes: 16 * 1024,
  codes: ['config_invalid'],
  executions: 1_500,
  run(input) {
    const { operators, witnesses, kms, parentCid, ...rest } = parseEnclaveConfig(input);
    must(
      2 * operators.threshold > operators.keys.length && operators.threshold <= operators.keys.length,
      'the threshold of operators',
    );
    must(new Set(operators.keys).size === operators.keys.length, 'an operator twice');
    must(
      (witnesses.threshold === 0) === (witnesses.keys.length === 0) && witnesses.threshold <= witnesses.keys.length,
      'the threshold of witnesses',
    );
    must(
      kms.rootCertificates.length > 0 && kms.endpoint.protocol === 'https:' && parentCid < 2 ** 32 - 1,
      'KMS or parent',
    );
    return { operators, kms: { ...kms, endpoint: kms.endpoint.href }, ...rest };
  },
};

const operatorsPlace = new Place();
export const operatorsFile: Target = {
  name: 'operators-file',
  covers: ['host/src/remote-freeze/operators-file.ts#readOperators'],
  seeds: () => ({
    two: json({
      logins: [
        { name: 'ann', secret: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP' },
        { name: 'bob@example.com', secret: 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ' },
      ],
    }),
    none: json({ logins: [] }),
  }),
  mutators: [jsonMutator()],
  dictionary: ['=', '======', 'ı', '8', '"secret"'].map(utf8),
  maxBytes: 4_096,
  codes: ['config_invalid'],
  executions: 1_200,
  open: operatorsPlace.open,
  close: operatorsPlace.close,
  run(input) {
    const read = readOperators(operatorsPlace.write(input));
    must(read !== undefined && read.logins.size <= LIMITS.supportLogins, 'number of logins');
    for (const { length } of read.logins.values())
      must(length >= LIMITS.totpSecretMinBytes && length <= LIMITS.totpSecretMaxBytes, 'length of a secret');
    return [...read.logins].map(([name, secret]) => [name, secret.use(toHex)]);
  },
};

const credentialsPlace = new Place();
export const credentialsFile: Target = {
  name: 'credentials-file',
  covers: ['host/src/credentials.ts#readCredentials'],
  seeds: () => ({
    full: json({
      accessKeyId: 'AKIA',
      secretAccessKey: 'key/+',
      sessionToken: 'token==',
      expiresAt: '2026-11-22T12:00:00Z',
    }),
    least: json({ accessKeyId: 'AKIA', secretAccessKey: 'key' }),
  }),
  mutators: [jsonMutator()],
  maxBytes: 4_096,
  codes: ['config_invalid'],
  executions: 1_000,
  open: credentialsPlace.open,
  close: credentialsPlace.close,
  run(input) {
    const { body } = readCredentials(credentialsPlace.write(input));
    for (const part of [body.accessKeyId, body.secretAccessKey, body.sessionToken])
      must(part === undefined || /^[\x21-\x7e]+$/.test(new TextDecoder().decode(part)), 'a part that no header holds');
    return body;
  },
};

const tokensPlace = new Place();
export const tokensFile: Target = {
  name: 'tokens-file',
  covers: ['host/src/reads/tokens-file.ts#readTokens'],
  seeds: () => ({
    tokens: json({
      tokens: [
        { name: 'bot', role: 'backend', sha256: toHex(sample.hash), wallets: TWO },
        { name: 'a', role: 'auditor', certificateSha256: toHex(sample.hash) },
      ],
    }),
  }),
  mutators: [jsonMutator()],
  maxBytes: 4_096,
  codes: ['config_invalid'],
  executions: 1_000,
  open: tokensPlace.open,
  close: tokensPlace.close,
  run(input) {
    const read = readTokens(tokensPlace.write(input));
    must(read !== undefined, 'nothing read');
    for (const { sha256, certificateSha256, wallets } of read.tokens) {
      must((sha256 === undefined) !== (certificateSha256 === undefined), 'a token and a certificate');
      must((sha256 ?? certificateSha256)?.length === 32 && wallets?.length !== 0, 'a hash, or no wallet');
    }
    return read.tokens;
  },
};

const secretsPlace = new Place();
/** The first byte: 1 for secrets that people type. */
export const secretsFile: Target = {
  name: 'secrets-file',
  covers: ['host/src/webhooks/secrets-file.ts#readSharedSecret', 'host/src/webhooks/secrets-file.ts#readTextSecret'],
  seeds: () => ({
    shared: concatBytes(
      Uint8Array.of(0),
      utf8(`# of alpha\n\nwhsec_${toBase64(sample.hash)}\r\nwhsec_${toBase64(sample.filled(24, 3))}`),
    ),
    typed: concatBytes(Uint8Array.of(1), utf8('a-secret-of-sixteen-or-more\n')),
  }),
  mutators: [behindOneByte(textMutator)],
  dictionary: ['whsec_', '==', '#', '\r\n', '-', '_'].map(utf8),
  maxBytes: 2_048,
  codes: ['config_invalid'],
  executions: 1_000,
  open: secretsPlace.open,
  close: secretsPlace.close,
  run(input) {
    const readLine = ((input[0] ?? 0) & 1) === 1 ? readTextSecret : readSharedSecret;
    const bytes = input.subarray(1);
    const file = new SecretsFile(secretsPlace.write(bytes), { field: 'it', readLine, log: silentLog });
    const secrets = file.current.map((secret) => secret.use(toBase64));
    file.close();
    must(secrets.length > 0 && secrets.length <= LIMITS.webhookSecrets, 'number of secrets');
    if (readLine === readSharedSecret) {
      const lines = Buffer.from(bytes)
        .toString('latin1')
        .split('\n')
        .map((line) => line.replace(/\r$/, ''));
      for (const secret of secrets) must(lines.includes(`whsec_${secret}`), 'another spelling of a secret');
    }
    return secrets;
  },
};

export const freezeMarkers: Target = {
  name: 'freeze-markers',
  covers: ['host/src/freeze-marker.ts#parseMarker', 'host/src/freeze-record.ts#readAck'],
  seeds: () => ({
    order: encodeMarker({ scope: 'fleet', reason: 'why', latchedAt: sample.time }),
    acknowledged: encodeMarker({
      scope: `wallet:${sample.wallet}`,
      reason: '',
      latchedAt: sample.time,
      boot: sample.boot,
      freezeId: sample.freezeId,
    }),
    ack: encodeAs(freezeAckCodec, {
      deployment: 'test',
      boot: sample.boot,
      freezeId: sample.freezeId,
      scope: 'fleet',
      time: sample.time,
      leafHash: sample.hash,
    }),
  }),
  mutators: [jsonMutator(), cborMutator()],
  maxBytes: 2_048,
  codes: ['json_malformed', 'field_malformed', 'hex_malformed', 'base58_malformed'],
  executions: 2_500,
  run(input) {
    const ack = readAck(input, sample.leaf);
    if (ack !== undefined) return ack;
    const record = accept(parseMarker(input));
    const again = parseMarker(encodeMarker(record));
    mustEqualBytes(encodeMarker(again), encodeMarker(record), 'another order when written again');
    return record;
  },
};

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
