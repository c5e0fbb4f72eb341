/** Files that operators write, and the orders that a host finds on its disk. */
import { readCredentials } from '@quantumvault/host/credentials.ts';
import { encodeMarker, parseMarker } from '@quantumvault/host/freeze-marker.ts';
import { readAck } from '@quantumvault/host/freeze-record.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { readTokens } from '@quantumvault/host/reads/tokens-file.ts';
import { readOperators } from '@quantumvault/host/remote-freeze/operators-file.ts';
import { readSharedSecret, readTextSecret, SecretsFile } from '@quantumvault/host/webhooks/secrets-file.ts';
import { concatBytes, toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { freezeAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
import { behindOneByte } from './bodies.ts';
import { Place } from './place.ts';
import * as sample from './samples.ts';

const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
const TWO: readonly string[] = [sample.wallet, sample.owner];

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
