/**
 * Certificate and key of the server, followed on disk: what is renewed there serves new connections within seconds, and
 * those under way go on. What does not fit together, as in the middle of a renewal, changes nothing.
 */
import { X509Certificate } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { Server, ServerOptions } from 'node:https';
import { createSecureContext } from 'node:tls';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { asConfigFault } from '../config.ts';
import type { Log } from '../log.ts';
import { readPrivateFile } from '../private-file.ts';
import type { TlsConfig } from './config.ts';

interface Material {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca?: Buffer;
  readonly minVersion: TlsConfig['minVersion'];
}

export class TlsFiles {
  readonly #config: TlsConfig;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  #material!: Material;
  #stamp: string | undefined;
  #expiresAt = Number.NaN;
  #server: Server | undefined;
  #complained = false;

  /** @throws QvError config_invalid naming the file that is not usable */
  constructor(config: TlsConfig, log: Log, pollMilliseconds: number = LIMITS.tlsFilesPollMilliseconds) {
    this.#config = config;
    this.#log = log;
    this.#read();
    this.#timer = setInterval(() => this.refresh(), pollMilliseconds).unref();
  }

  /** For a new server. */
  get options(): ServerOptions {
    const isAsked = this.#material.ca !== undefined;
    return {
      ...this.#material,
      handshakeTimeout: LIMITS.httpHeadersMilliseconds,
      // Asked for, not demanded: who has none may have a token, or read what is public.
      ...(isAsked && { requestCert: true, rejectUnauthorized: false }),
    };
  }

  /** Milliseconds since 1970 at which the server's certificate expires. */
  get expiresAt(): number {
    return this.#expiresAt;
  }

  /** Serves new connections with what is read from now on. */
  follow(server: Server): void {
    this.#server = server;
    server.setSecureContext(this.#material);
  }

  refresh(): void {
    try {
      if (this.#read()) {
        this.#server?.setSecureContext(this.#material);
        this.#log.info({ until: new Date(this.#expiresAt).toISOString() }, 'TLS certificate changed');
      }
      this.#complained = false;
    } catch (error) {
      if (!this.#complained) this.#log.error({ reason: String(error) }, 'TLS files are not usable');
      this.#complained = true;
    }
  }

  /** Whether anything has changed. */
  #read(): boolean {
    const { certificateFile, keyFile, clientCaFile, minVersion } = this.#config;
    const cert = readFile(certificateFile, 'tls.certificateFile');
    const ca = clientCaFile === undefined ? undefined : readFile(clientCaFile, 'tls.clientCaFile');
    // secret-rule: TLS serves with it, as PEM, as long as it counts
    const key = attributed('tls.keyFile', () => readPrivateFile(keyFile, 'tls.keyFile', LIMITS.tlsFileBytes));
    const stamp = [cert, key, ca].map((file) => file?.stamp).join(' ');
    if (stamp === this.#stamp) {
      key.bytes.fill(0);
      return false;
    }
    const material = { cert: cert.bytes, key: key.bytes, ...(ca && { ca: ca.bytes }), minVersion };
    const leaf = attributed('tls.certificateFile', () => new X509Certificate(material.cert));
    if (ca !== undefined) attributed('tls.clientCaFile', () => new X509Certificate(ca.bytes));
    // OpenSSL's word on whether the two belong together.
    attributed('tls.keyFile', () => createSecureContext(material));
    this.#expiresAt = leaf.validToDate.getTime();
    if (this.#expiresAt < Date.now()) this.#log.warn({ until: leaf.validTo }, 'TLS certificate has expired');
    this.#material = material;
    this.#stamp = stamp;
    return true;
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/** Certificates are no secret, but a directory or a device in their place must not stop the host. */
function readFile(path: string, field: string): { readonly bytes: Buffer; readonly stamp: string } {
  return attributed(field, () => {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const facts = fstatSync(file, { bigint: true });
      if (!facts.isFile()) throw new QvError('config_invalid', { path: field, value: 'not a regular file' });
      if (facts.size > BigInt(LIMITS.tlsFileBytes))
        throw new QvError('config_invalid', { path: field, value: 'too large' });
      return { bytes: readFileSync(file), stamp: `${facts.ino}:${facts.size}:${facts.mtimeNs}:${facts.ctimeNs}` };
    } finally {
      closeSync(file);
    }
  });
}

/** @throws QvError config_invalid with that path */
function attributed<T>(field: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asConfigFault(error, field);
  }
}
