/**
 * Attestation documents of a PKI of our own, with every part replaceable: what AWS's cannot show is a chain with one
 * thing wrong. DER and CBOR are written here by hand, so that no library's idea of correctness stands in the way.
 */
import type { webcrypto } from 'node:crypto';
import { concatBytes, fromHex, utf8 } from '@quantumvault/shared/bytes.ts';

type CryptoKeyPair = webcrypto.CryptoKeyPair;

const { subtle } = globalThis.crypto;
export const P384 = { name: 'ECDSA', namedCurve: 'P-384' } as const;
const SHA384 = { name: 'ECDSA', hash: 'SHA-384' } as const;

// DER

export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(...parts);
  const { length } = body;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concatBytes(Uint8Array.of(tag, ...size), body);
}

export const sequence = (...parts: readonly Uint8Array[]): Uint8Array => der(0x30, ...parts);
export const boolean = (value: boolean): Uint8Array => der(0x01, Uint8Array.of(value ? 0xff : 0));
export const integer = (value: number): Uint8Array => der(0x02, Uint8Array.of(value));
const oid = (hex: string): Uint8Array => der(0x06, fromHex(hex));

const COMMON_NAME = '550403';
export const name = (commonName: string): Uint8Array =>
  sequence(der(0x31, sequence(oid(COMMON_NAME), der(0x0c, utf8(commonName)))));

export const utcTime = (timeMs: number): Uint8Array =>
  der(0x17, utf8(`${new Date(timeMs).toISOString().slice(2, 19).replace(/\D/g, '')}Z`));

export const generalizedTime = (timeMs: number): Uint8Array =>
  der(0x18, utf8(`${new Date(timeMs).toISOString().slice(0, 19).replace(/\D/g, '')}Z`));

/** RFC 5280 section 4.2: `critical` is written only when true, as DER demands. */
export function extension(oidHex: string, critical: boolean, value: Uint8Array): Uint8Array {
  return sequence(oid(oidHex), ...(critical ? [boolean(true)] : []), der(0x04, value));
}

export const OID = {
  basicConstraints: '551d13',
  keyUsage: '551d0f',
  nameConstraints: '551d1e',
  extendedKeyUsage: '551d25',
  subjectKeyIdentifier: '551d0e',
} as const;

export function basicConstraints(ca: boolean, pathLength?: number, critical = true): Uint8Array {
  const value = sequence(...(ca ? [boolean(true)] : []), ...(pathLength === undefined ? [] : [integer(pathLength)]));
  return extension(OID.basicConstraints, critical, value);
}

/** `bits` as the byte stands in the BIT STRING: 0x80 digitalSignature, 0x04 keyCertSign, 0x02 cRLSign. */
export function keyUsage(bits: number, critical = true): Uint8Array {
  const unused = bits === 0 ? 0 : 31 - Math.clz32(bits & -bits);
  return extension(OID.keyUsage, critical, der(0x03, Uint8Array.of(unused, ...(bits === 0 ? [] : [bits]))));
}

export const ECDSA_SHA384 = sequence(oid('2a8648ce3d040303'));
export const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));

// Certificates

export interface CertificateSpec {
  subject: string;
  issuer: string;
  notBeforeMs: number;
  notAfterMs: number;
  key: CryptoKeyPair;
  signer: CryptoKeyPair;
  extensions: readonly Uint8Array[];
  /** DER instead of what the fields above say. */
  parts: Partial<TbsParts>;
  /** The algorithm outside of the signed part. */
  outerAlgorithm: Uint8Array;
  /** Changes the bytes after signing. */
  finish: (der: Uint8Array) => Uint8Array;
  /** Changes r || s before it is written as DER. */
  writeSignature: (raw: Uint8Array) => Uint8Array;
}

interface TbsParts {
  version: Uint8Array;
  serial: Uint8Array;
  algorithm: Uint8Array;
  issuer: Uint8Array;
  validity: Uint8Array;
  subject: Uint8Array;
  key: Uint8Array;
  extensions: Uint8Array;
  beyond: Uint8Array;
}

export async function issue(spec: CertificateSpec): Promise<Uint8Array> {
  const parts: TbsParts = {
    version: der(0xa0, integer(2)),
    serial: integer(7),
    algorithm: ECDSA_SHA384,
    issuer: name(spec.issuer),
    validity: sequence(utcTime(spec.notBeforeMs), utcTime(spec.notAfterMs)),
    subject: name(spec.subject),
    key: new Uint8Array(await subtle.exportKey('spki', spec.key.publicKey)),
    extensions: der(0xa3, sequence(...spec.extensions)),
    beyond: new Uint8Array(0),
    ...spec.parts,
  };
  const { version, serial, algorithm, issuer, validity, subject, key, extensions, beyond } = parts;
  const tbs = sequence(version, serial, algorithm, issuer, validity, subject, key, extensions, beyond);
  const raw = new Uint8Array(await subtle.sign(SHA384, spec.signer.privateKey, new Uint8Array(tbs)));
  const bits = der(0x03, Uint8Array.of(0), spec.writeSignature(raw));
  return spec.finish(sequence(tbs, spec.outerAlgorithm, bits));
}

/** Ecdsa-Sig-Value. */
export function derSignature(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2;
  return sequence(positive(raw.subarray(0, half)), positive(raw.subarray(half)));
}

function positive(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const shortest = bytes.subarray(first === -1 ? bytes.length - 1 : first);
  return der(0x02, (shortest[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : new Uint8Array(0), shortest);
}

export async function keyPair(): Promise<CryptoKeyPair> {
  return (await subtle.generateKey(P384, true, ['sign', 'verify'])) as CryptoKeyPair;
}

const LEVELS = ['root', 'regional', 'zonal', 'instance', 'leaf'] as const;
export type Level = (typeof LEVELS)[number];
export type Pki = Record<Level, CertificateSpec>;
/** What a test does otherwise, by certificate. */
export type PkiChange = (pki: Pki) => Partial<Record<Level, Partial<CertificateSpec>>>;

const keys = new Map<string, Promise<CryptoKeyPair>>();

/** One key for each name in this process: generating them is slow. */
export function namedKey(level: string): Promise<CryptoKeyPair> {
  const known = keys.get(level);
  if (known !== undefined) return known;
  const created = keyPair();
  keys.set(level, created);
  return created;
}

export const NOW_MS = Date.UTC(2026, 5, 1, 12);
const HOUR_MS = 3_600_000;

/** The profile of the Nitro PKI: root > regional (2) > zonal (1) > instance (0) > leaf. */
export async function nitroPki(): Promise<Pki> {
  const [root, regional, zonal, instance, leaf] = await Promise.all(LEVELS.map(namedKey));
  if (!root || !regional || !zonal || !instance || !leaf) throw new Error('five keys');
  const spec = (subject: Level, issuer: Level, key: CryptoKeyPair, signer: CryptoKeyPair): CertificateSpec => ({
    subject: `${subject}.test`,
    issuer: `${issuer}.test`,
    notBeforeMs: NOW_MS - HOUR_MS,
    notAfterMs: NOW_MS + 2 * HOUR_MS,
    key,
    signer,
    extensions: [],
    parts: {},
    outerAlgorithm: ECDSA_SHA384,
    finish: (bytes) => bytes,
    writeSignature: derSignature,
  });
  return {
    root: { ...spec('root', 'root', root, root), extensions: [basicConstraints(true), keyUsage(0x86)] },
    regional: { ...spec('regional', 'root', regional, root), extensions: [basicConstraints(true, 2), keyUsage(0x86)] },
    zonal: { ...spec('zonal', 'regional', zonal, regional), extensions: [basicConstraints(true, 1), keyUsage(0x86)] },
    instance: {
      ...spec('instance', 'zonal', instance, zonal),
      extensions: [basicConstraints(true, 0), keyUsage(0x04)],
    },
    leaf: { ...spec('leaf', 'instance', leaf, instance), extensions: [basicConstraints(false), keyUsage(0xc0, false)] },
  };
}

export async function changedPki(change: PkiChange): Promise<Pki> {
  const pki = await nitroPki();
  const changes = change(pki);
  for (const level of LEVELS) pki[level] = { ...pki[level], ...changes[level] };
  return pki;
}

export interface IssuedChain {
  readonly cabundle: readonly Uint8Array[];
  readonly certificate: Uint8Array;
}

export async function issueAll(pki: Pki): Promise<IssuedChain> {
  const { root, regional, zonal, instance, leaf } = pki;
  const cabundle = await Promise.all([root, regional, zonal, instance].map(issue));
  return { cabundle, certificate: await issue(leaf) };
}

// Documents

export function head(major: number, value: number): Uint8Array {
  const type = major << 5;
  if (value < 24) return Uint8Array.of(type | value);
  if (value < 0x100) return Uint8Array.of(type | 24, value);
  if (value < 0x10000) return Uint8Array.of(type | 25, value >> 8, value & 0xff);
  const bytes = new Uint8Array(9);
  bytes[0] = type | (value < 2 ** 32 ? 26 : 27);
  const view = new DataView(bytes.buffer);
  if (value < 2 ** 32) view.setUint32(1, value);
  else view.setBigUint64(1, BigInt(value));
  return value < 2 ** 32 ? bytes.subarray(0, 5) : bytes;
}

export const NULL = Uint8Array.of(0xf6);
export const uint = (value: number): Uint8Array => head(0, value);
export const bytes = (value: Uint8Array): Uint8Array => concatBytes(head(2, value.length), value);
export const text = (value: string): Uint8Array => concatBytes(head(3, utf8(value).length), utf8(value));
export const array = (items: readonly Uint8Array[]): Uint8Array => concatBytes(head(4, items.length), ...items);
export const map = (pairs: readonly (readonly [Uint8Array, Uint8Array])[]): Uint8Array =>
  concatBytes(head(5, pairs.length), ...pairs.flat());

export const INSTANCE = 'i-0123456789abcdef0';
export const MODULE_ID = `${INSTANCE}-enc0123456789abcdef`;

export async function measure(value: string): Promise<Uint8Array> {
  const input = new Uint8Array(concatBytes(new Uint8Array(48), utf8(value)));
  return new Uint8Array(await subtle.digest('SHA-384', input));
}

export const filled = (byte: number, length = 48): Uint8Array => new Uint8Array(length).fill(byte);

/** Sixteen registers: an image, an instance, zeros. */
export async function measuredPcrs(): Promise<Map<number, Uint8Array>> {
  const pcrs = new Map(Array.from({ length: 16 }, (_, index) => [index, filled(0)]));
  for (const index of [0, 1, 2]) pcrs.set(index, filled(0x10 + index));
  return pcrs.set(4, await measure(INSTANCE));
}

export const encodePcrs = (pcrs: ReadonlyMap<number, Uint8Array>): Uint8Array =>
  map([...pcrs].map(([index, value]) => [uint(index), bytes(value)]));

/** Encoded values by field name, in AWS's order. Tests replace, add and delete. */
export type Fields = Map<string, Uint8Array>;

export async function fieldsOf({ cabundle, certificate }: IssuedChain): Promise<Fields> {
  return new Map([
    ['module_id', text(MODULE_ID)],
    ['digest', text('SHA384')],
    ['timestamp', uint(NOW_MS)],
    ['pcrs', encodePcrs(await measuredPcrs())],
    ['certificate', bytes(certificate)],
    ['cabundle', array(cabundle.map(bytes))],
    ['public_key', NULL],
    ['user_data', NULL],
    ['nonce', NULL],
  ]);
}

export function encodePayload(fields: Fields, encoding: 'definite' | 'indefinite' = 'indefinite'): Uint8Array {
  const pairs = [...fields].map(([field, value]) => [text(field), value] as const);
  if (encoding === 'definite') return map(pairs);
  return concatBytes(Uint8Array.of(0xbf), ...pairs.flat(), Uint8Array.of(0xff));
}

export const PROTECTED = fromHex('a1013822');

/** RFC 9052 section 4.4, signed by the leaf's key. */
export async function signDocument(payload: Uint8Array, key: CryptoKeyPair, protectedHeader = PROTECTED) {
  const signed = array([text('Signature1'), bytes(protectedHeader), bytes(new Uint8Array(0)), bytes(payload)]);
  const signature = new Uint8Array(await subtle.sign(SHA384, key.privateKey, new Uint8Array(signed)));
  return envelope(payload, signature, protectedHeader);
}

export function envelope(payload: Uint8Array, signature = filled(1, 96), protectedHeader = PROTECTED): Uint8Array {
  return array([bytes(protectedHeader), map([]), bytes(payload), bytes(signature)]);
}
