/** The local KMS's configuration: a small JSON file. Unknown keys are refused. */
import { readFile } from 'node:fs/promises';
import { JsonFields, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import type { Principal } from './sigv4.ts';

export interface KmsConfig {
  /** Keys, TLS CA and server certificate are kept here. */
  readonly dir: string;
  /** 127.0.0.1 by default. */
  readonly host?: string;
  /** 0, any free port, by default. */
  readonly port?: number;
  /** PEM file of the root under which attestation documents count. */
  readonly nsmRootPem: string;
  /** Default false; see LocalKmsOptions. */
  readonly unsafeAcceptUnsignedDocuments?: boolean;
  /** Where tests inject faults: `unix:/path`. Without it there is no side door. */
  readonly adminSocket?: string;
  /** Where every secret that leaves for a recipient is written down, for tests that look for it: see record.ts. */
  readonly recordFile?: string;
  readonly region?: string;
  /** Further Regions, each at an endpoint of its own. */
  readonly furtherRegions?: readonly string[];
  /** Further DNS names of the server certificate. */
  readonly serverNames?: readonly string[];
  readonly principals: readonly Principal[];
}

export async function readKmsConfig(path: string): Promise<KmsConfig> {
  const fields = new JsonFields(parseStrictJson(await readFile(path)));
  const unsigned = fields.optionalBoolean('unsafeAcceptUnsignedDocuments');
  const config: KmsConfig = {
    dir: fields.text('dir'),
    nsmRootPem: fields.text('nsmRootPem'),
    principals: fields.list('principals').map(parsePrincipal),
    ...(unsigned !== undefined && { unsafeAcceptUnsignedDocuments: unsigned }),
    ...(fields.optional('port') === undefined ? {} : { port: fields.integer('port', 65_535) }),
    ...optionalTexts(fields, ['host', 'adminSocket', 'recordFile', 'region']),
    ...(fields.optional('furtherRegions') === undefined
      ? {}
      : { furtherRegions: fields.list('furtherRegions').map(String) }),
    ...(fields.optional('serverNames') === undefined ? {} : { serverNames: fields.list('serverNames').map(String) }),
  };
  fields.end();
  return config;
}

function parsePrincipal(value: JsonValue, index: number): Principal {
  const fields = new JsonFields(value, `principals.${index}`);
  const principal: Principal = {
    accessKeyId: fields.text('accessKeyId'),
    secretAccessKey: fields.text('secretAccessKey'),
    arn: fields.text('arn'),
    ...optionalTexts(fields, ['sessionToken', 'expires', 'identityPolicy']),
  };
  fields.end();
  return principal;
}

function optionalTexts<Key extends string>(fields: JsonFields, keys: readonly Key[]): { [name in Key]?: string } {
  const texts: { [name in Key]?: string } = {};
  for (const key of keys) if (fields.optional(key) !== undefined) texts[key] = fields.text(key);
  return texts;
}
