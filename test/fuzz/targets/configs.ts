/** The configurations of host and enclave. */
import { readFileSync } from 'node:fs';
import { parseEnclaveConfig } from '@quantumvault/enclave/config.ts';
import { parseHostConfig } from '@quantumvault/host/config.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { formatVerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import { accept, must, type Target } from '../engine/target.ts';
import * as sample from './samples.ts';

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
      kmsTunnel: {
        ...GOOD_CONFIG.kmsTunnel,
        further: [{ listen: 'vsock:3:5003', endpoint: 'kms.eu-north-1.amazonaws.com:443' }],
      },
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
  covers: ['enclave/src/config.ts#parseEnclaveConfig', 'enclave/src/kms-config.ts#parseKms'],
  seeds: () => {
    const example = JSON.parse(
      readFileSync(new URL('../../../enclave/config/example.json', import.meta.url), 'utf8'),
    ) as { kms: { rootCertificates: string[] } };
    const kms = { ...example.kms, rootCertificates: example.kms.rootCertificates.slice(2, 3) };
    const small = { ...example, kms };
    const keyArn = 'arn:aws:kms:eu-central-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef';
    const keys = {
      ...kms,
      keyArn,
      tunnel: 1,
      replicas: [
        { keyArn: keyArn.replace('central', 'north'), endpoint: 'https://kms.eu-north-1.amazonaws.com', tunnel: 0 },
      ],
      previous: [
        {
          keyArn: 'arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000001',
          endpoint: 'https://kms.eu-central-1.amazonaws.com',
        },
      ],
      second: {
        keyArn: 'arn:aws:kms:us-east-2:999999999999:key/00000000-0000-4000-8000-000000000002',
        endpoint: 'https://kms.us-east-2.amazonaws.com',
      },
    };
    return {
      example: json(small),
      witnessed: json({ ...small, witnesses: { threshold: 1, keys: [witnessKey] } }),
      keys: json({ ...small, kms: keys }),
    };
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
      kms.rootCertificates.length > 0 && parentCid < 2 ** 32 - 1 && kms.keys[0]?.keyArn === kms.keyArn,
      'KMS or parent',
    );
    const keys = kms.keys.map(({ endpoint, ...key }) => ({ ...key, endpoint: endpoint.href }));
    must(new Set(keys.map(({ keyArn }) => keyArn)).size === keys.length, 'a key twice');
    must(
      keys.every(({ endpoint, tunnel }) => endpoint.startsWith('https:') && tunnel < 8) &&
        keys.every((a) => keys.every((b) => (a.endpoint === b.endpoint) === (a.tunnel === b.tunnel))),
      'one tunnel for each endpoint',
    );
    return { operators, kms: { ...kms, keys }, ...rest };
  },
};
