/** TLS in the host itself, for where nothing in front of it ends TLS. HTTP/1.1 as without. */
import { JsonFields } from '@quantumvault/shared/json.ts';
import { absolutePath } from '../config-fields.ts';

export const TLS_VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
export type TlsVersion = (typeof TLS_VERSIONS)[number];

export interface TlsConfig {
  /** Path of a PEM file: the server's certificate, then those above it. Read again when it changes, as are the others. */
  readonly certificateFile: string;
  /** Path of its private key as PEM, without a passphrase. Hazard: refused when other users may read it, or own it. */
  readonly keyFile: string;
  /** `TLSv1.2` or `TLSv1.3`. Default `TLSv1.2`. */
  readonly minVersion: TlsVersion;
  /**
   * Path of a PEM file of CAs. With it clients are asked for a certificate, and one of theirs that is listed in
   * `apiTokensFile` (`certificateSha256` in place of `sha256`) stands for a token. Nobody has to have one. Hazard: name a
   * CA of your own, never a public one.
   */
  readonly clientCaFile?: string;
}

/** @throws QvError field_malformed naming the field */
export function tlsConfig(parent: JsonFields): TlsConfig | undefined {
  if (parent.optional('tls') === undefined) return undefined;
  const fields = new JsonFields(parent.required('tls'), parent.path('tls'));
  const certificateFile = absolutePath(fields, 'certificateFile');
  const keyFile = absolutePath(fields, 'keyFile');
  const minVersion = TLS_VERSIONS.find((version) => version === (fields.optional('minVersion') ?? 'TLSv1.2'));
  if (minVersion === undefined) throw fields.fault('minVersion', `one of ${TLS_VERSIONS.join(', ')}`);
  const clientCaFile = fields.optional('clientCaFile') === undefined ? undefined : absolutePath(fields, 'clientCaFile');
  fields.end();
  return { certificateFile, keyFile, minVersion, ...(clientCaFile !== undefined && { clientCaFile }) };
}
