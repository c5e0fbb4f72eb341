/** Certificates: the host's own files, and what the address that clients call shows. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { connect } from 'node:tls';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { HostConfig } from '../../config.ts';
import { readPrivateFile } from '../../private-file.ts';
import type { Facts } from './facts.ts';
import { type Finding, failed, networkFaultOf, ok, reasonOf, skipped, systemCodeOf, warning } from './finding.ts';

/** Certificates that live for 90 days are renewed with 30 left, those for 47 with some 15. */
const SOON_MILLISECONDS = 10 * 24 * 3_600_000;
const RENEW = 'Renew it; the host reads the new files within seconds.';

export async function checkTls(facts: Facts): Promise<readonly Finding[]> {
  const { config, options } = facts;
  const shown = options.url?.startsWith('https:') ? [await checkShown(new URL(options.url), facts)] : [];
  const own = config.tls === undefined ? [] : checkOwn(config.tls, facts);
  const findings = [...own, ...shown];
  if (findings.length > 0) return findings;
  return [skipped('tls', 'the host ends none; --url https://… examines what stands in front of it')];
}

function checkOwn({ certificateFile, keyFile }: NonNullable<HostConfig['tls']>, facts: Facts): readonly Finding[] {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(readFileSync(certificateFile));
  } catch (error) {
    if (systemCodeOf(error) === 'EACCES') return [skipped('tls', `${certificateFile}: not for this user to read`)];
    const why = systemCodeOf(error) ?? 'no certificate in PEM';
    return [failed('tls', `${certificateFile}: ${why}`, 'Put it there: the host refuses to start.', 'config_invalid')];
  }
  return [
    expiry(certificateFile, certificate.validToDate.getTime(), facts, RENEW),
    ...pair(certificate, keyFile, facts),
  ];
}

/** Its mode and owner are the business of `files`. */
function pair(certificate: X509Certificate, keyFile: string, { hostUser }: Facts): readonly Finding[] {
  try {
    const { bytes } = readPrivateFile(keyFile, 'tls.keyFile', LIMITS.tlsFileBytes, hostUser);
    try {
      if (certificate.checkPrivateKey(createPrivateKey(bytes))) return [];
    } finally {
      bytes.fill(0);
    }
    const fix = 'Put certificate and key of one renewal there; until then the host keeps what it has read.';
    return [failed('tls', `${keyFile}: not the key of the certificate`, fix, 'config_invalid')];
  } catch (error) {
    if (systemCodeOf(error) !== undefined) return [];
    const why =
      error instanceof Error && 'facts' in error ? reasonOf(error) : 'no private key in PEM without a passphrase';
    return [failed('tls', `${keyFile}: ${why}`, 'Correct the file: the host refuses to start.', 'config_invalid')];
  }
}

interface Shown {
  readonly expiresAt: number;
  /** Why clients of this machine would not believe it. */
  readonly fault: string | undefined;
}

async function checkShown(url: URL, facts: Facts): Promise<Finding> {
  try {
    const { expiresAt, fault } = await handshake(url);
    const fix = 'Renew it where TLS ends, with the names that clients call and the certificates above it.';
    const validity = expiry(url.origin, expiresAt, facts, fix);
    if (validity.health === 'failed' || fault === undefined) return validity;
    return failed('tls', `${url.origin}: clients refuse its certificate: ${fault}`, fix);
  } catch (error) {
    return failed('tls', `${url.origin}: ${networkFaultOf(error)}`, 'Is the address right, and does TLS end there?');
  }
}

function handshake(url: URL): Promise<Shown> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const { promise, resolve, reject } = Promise.withResolvers<Shown>();
  // Looked at, and hung up: nothing is said to whoever is not believed.
  const options = { host, port: Number(url.port || 443), rejectUnauthorized: false };
  const socket = connect({ ...options, ...(isIP(host) === 0 && { servername: host }) }, () => {
    const fault = socket.authorized ? undefined : String(socket.authorizationError);
    const expiresAt = Date.parse(socket.getPeerCertificate().valid_to);
    socket.destroy();
    resolve({ expiresAt, fault });
  });
  socket.setTimeout(LIMITS.killHostMilliseconds, () => socket.destroy(new Error('no answer in time')));
  socket.on('error', reject);
  return promise;
}

function expiry(where: string, expiresAt: number, { machine }: Facts, fix: string): Finding {
  const at = new Date(expiresAt).toISOString();
  const left = expiresAt - machine.nowMs();
  if (left <= 0) return failed('tls', `${where}: expired at ${at}`, fix);
  if (left < SOON_MILLISECONDS) return warning('tls', `${where}: expires at ${at}`, fix);
  return ok('tls', `${where}: valid until ${at}`);
}
