/**
 * The KMS keys of a stack: in up to three Regions and two accounts, each ruled by the break-glass role of its account
 * and allowed to the images that were measured, by the code that `qv init` runs.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DisableKeyCommand, EnableKeyCommand, type KMSClient, ReplicateKeyCommand } from '@aws-sdk/client-kms';
import { instancePolicy, keyPolicy, unusedKeyPolicy } from '@quantumvault/host/cli/key-policy.ts';
import { createKmsKey, kmsClient, putKmsPolicy } from '@quantumvault/host/cli/kms-key.ts';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { KmsAdmin } from './kms/admin.ts';
import type { Principal } from './kms/sigv4.ts';

export const REGION = 'eu-central-1';
export const REPLICA_REGION = 'eu-north-1';
export const SECOND_REGION = 'us-east-2';
const ACCOUNT = '000000000000';
export const SECOND_ACCOUNT = '999999999999';
export const INSTANCE_ROLE = `arn:aws:iam::${ACCOUNT}:role/qv-instance`;
const breakGlass = (account: string): string => `arn:aws:iam::${account}:role/qv-break-glass`;
export const BREAK_GLASS_ROLE = breakGlass(ACCOUNT);

/** Which keys an image names beside the one that it makes new keys under. */
export interface StackKmsOptions {
  /** The current key is a multi-Region one, with a replica in another Region. */
  readonly replica?: boolean;
  /** A key of the same Region and account that is being replaced. */
  readonly previous?: boolean;
  /** A key of another account in another Region, under which everything is sealed as well. */
  readonly second?: boolean;
}

export interface StackKmsKey {
  readonly keyArn: string;
  readonly region: string;
  readonly account: string;
  /** As the measured configuration names it: an https origin. */
  readonly endpoint: string;
  /** Of the host's tunnels, the one that leads there. */
  readonly tunnel: number;
}

/** One of a host's tunnels, by its number, and where it leads. */
export interface StackTunnel {
  readonly tunnel: number;
  readonly endpoint: { readonly host: string; readonly port: number };
}

/** What a measured configuration has of a key. */
export const measuredKey = ({ keyArn, endpoint, tunnel }: StackKmsKey) => ({ keyArn, endpoint, tunnel });

/** In the order of their tunnels. */
const REGIONS = [REGION, REPLICA_REGION, SECOND_REGION] as const;

export interface Ruler {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface StackKeysOptions {
  /** Of the local KMS, by Region. */
  readonly endpoints: Readonly<Record<string, string>>;
  readonly caPem: string;
  readonly adminSocket: string;
  /** Of the break-glass role of each account. */
  readonly rulers: { readonly first: Ruler; readonly second: Ruler };
  readonly instance: Ruler;
}

export class StackKeys {
  readonly #options: StackKeysOptions;
  readonly #keys: StackKmsKey[] = [];
  readonly #clients = new Map<string, KMSClient>();

  constructor(options: StackKeysOptions) {
    this.#options = options;
  }

  static principals(rulers: StackKeysOptions['rulers'], instance: Ruler): readonly Principal[] {
    return [
      { ...rulers.first, arn: breakGlass(ACCOUNT) },
      { ...rulers.second, arn: breakGlass(SECOND_ACCOUNT) },
      { ...instance, arn: INSTANCE_ROLE },
    ];
  }

  get all(): readonly StackKmsKey[] {
    return this.#keys;
  }

  /** Where the host's tunnels lead, by their numbers. */
  get tunnels(): readonly [StackTunnel, ...StackTunnel[]] {
    const [first, ...further] = REGIONS.flatMap((region, tunnel) => {
      const url = URL.parse(this.#options.endpoints[region] ?? '');
      return url === null ? [] : [{ tunnel, endpoint: { host: url.hostname, port: Number(url.port) } }];
    });
    if (first === undefined) throw new Error('no Region');
    return [first, ...further];
  }

  async create(
    { region = REGION, account = ACCOUNT } = {},
    options: { isMultiRegion?: boolean } = {},
  ): Promise<StackKmsKey> {
    const role = breakGlass(account);
    const keyArn = await createKmsKey(this.clientOf(region, account), role, 'QuantumVault execution keys', options);
    return this.#add(keyArn, region, account);
  }

  async replicate({ keyArn, region, account }: StackKmsKey, to: string): Promise<StackKmsKey> {
    const { ReplicaKeyMetadata } = await this.clientOf(region, account).send(
      new ReplicateKeyCommand({
        KeyId: keyArn,
        ReplicaRegion: to,
        // The primary key's policy is not copied, and what AWS puts in its place lets the whole account in.
        Policy: JSON.stringify(unusedKeyPolicy(breakGlass(account), { isMultiRegion: true })),
      }),
    );
    return this.#add(ReplicaKeyMetadata?.Arn ?? '', to, account);
  }

  #add(keyArn: string, region: string, account: string): StackKmsKey {
    const endpoint = this.#options.endpoints[region] ?? '';
    const tunnel = REGIONS.indexOf(region as (typeof REGIONS)[number]);
    const key = { keyArn, region, account, endpoint, tunnel };
    this.#keys.push(key);
    return key;
  }

  /** These images, and no others, may use all keys from now on: by the keys' policies and by the role's own. */
  async allow(pcr0s: readonly string[]): Promise<void> {
    for (const { keyArn, region, account } of this.#keys) {
      const isMultiRegion = keyArn.includes('/mrk-');
      const parties = { breakGlassArn: breakGlass(account), instanceRoleArn: INSTANCE_ROLE };
      await putKmsPolicy(this.clientOf(region, account), keyArn, keyPolicy({ ...parties, pcr0s, isMultiRegion }));
    }
    const { adminSocket, rulers, instance } = this.#options;
    const identityPolicy = JSON.stringify(instancePolicy(this.#keys.map(({ keyArn }) => keyArn)));
    const principals = StackKeys.principals(rulers, instance).map((principal) =>
      principal.arn === INSTANCE_ROLE ? { ...principal, identityPolicy } : principal,
    );
    for (const region of Object.keys(this.#options.endpoints)) {
      const admin = new KmsAdmin(adminSocket, region);
      await admin.setPrincipals(principals);
      admin.close();
    }
  }

  async disable({ keyArn, region, account }: StackKmsKey): Promise<void> {
    await this.clientOf(region, account).send(new DisableKeyCommand({ KeyId: keyArn }));
  }

  async enable({ keyArn, region, account }: StackKmsKey): Promise<void> {
    await this.clientOf(region, account).send(new EnableKeyCommand({ KeyId: keyArn }));
  }

  /** For qv as a process of its own, with the first account's break-glass role: what the AWS SDK looks for. */
  rulerEnvironment(dir: string): NodeJS.ProcessEnv {
    const { rulers, caPem } = this.#options;
    const file = (name: string, text: string): string => {
      const path = join(dir, name);
      writeFileSync(path, text, { mode: 0o600 });
      return path;
    };
    const { accessKeyId, secretAccessKey } = rulers.first;
    const profile = `[default]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`;
    return {
      AWS_SHARED_CREDENTIALS_FILE: file('break-glass.ini', profile),
      AWS_EC2_METADATA_DISABLED: 'true',
      NODE_EXTRA_CA_CERTS: file('kms-ca.pem', caPem),
    };
  }

  /** The break-glass role of an account, in a Region. */
  clientOf(region: string, account: string): KMSClient {
    const name = `${region} ${account}`;
    const known = this.#clients.get(name);
    if (known !== undefined) return known;
    const { endpoints, caPem, rulers } = this.#options;
    const credentials = account === ACCOUNT ? rulers.first : rulers.second;
    const requestHandler = new NodeHttpHandler({ httpsAgent: { ca: caPem } });
    const client = kmsClient({ region, endpoint: endpoints[region] ?? '' }, { credentials, requestHandler });
    this.#clients.set(name, client);
    return client;
  }

  close(): void {
    for (const client of this.#clients.values()) client.destroy();
    this.#clients.clear();
  }
}
