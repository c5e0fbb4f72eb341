/**
 * The certificates below a simulated root, with the profile AWS uses: regional (20 days, path length 2), zonal (6 days
 * less three hours, 1), instance (24 hours, 0), leaf (3 hours). All P-384 with SHA-384.
 *
 * A link is issued anew before it could expire under a document made with it, and everything below it with it.
 */
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import {
  authority,
  authorityKeyIdentifier,
  crlDistributionPoint,
  issueCertificate,
  keyUsage,
  type Name,
  notAnAuthority,
  subjectKeyIdentifier,
} from '../certificate.ts';
import { ROOT_SUBJECT, type SimulatedRoot } from './root.ts';

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;

interface Issuer {
  readonly subject: Name;
  readonly privateKey: KeyObject;
}

export interface Link extends Issuer {
  readonly der: Uint8Array;
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface Chain {
  readonly leaf: Link;
  /** Root first, as in the document's cabundle. */
  readonly cabundle: readonly Uint8Array[];
}

interface Step {
  readonly subject: Name;
  readonly lifetime: number;
  /** A link with less than this left is replaced: more than any link below it may last. */
  readonly margin: number;
  readonly serialNumber: (second: number) => Uint8Array;
  /** How long before its first use a link began: an issuer is never younger than what it signs. */
  readonly backdating: number;
  readonly extensions: (issuer: KeyObject, subject: KeyObject) => readonly Uint8Array[];
}

export interface ChainNames {
  readonly region: string;
  readonly instanceId: string;
  /** 16 hex digits behind `-enc` in the module id. */
  readonly enclaveId: string;
}

export class ChainIssuer {
  readonly #root: SimulatedRoot;
  readonly #steps: readonly Step[];
  #links: readonly Link[] = [];

  constructor(root: SimulatedRoot, names: ChainNames) {
    this.#root = root;
    this.#steps = stepsBelowRoot(names);
  }

  /** The chain to sign with at `now`, issued anew from the first link that is too old. */
  at(now: number): Chain {
    const links: Link[] = [];
    let issuer: Issuer = { subject: ROOT_SUBJECT, privateKey: this.#root.privateKey };
    for (const [index, step] of this.#steps.entries()) {
      const known = this.#links[index];
      const sameIssuers = links.every((link, above) => link === this.#links[above]);
      const link =
        known !== undefined && sameIssuers && known.notBefore <= now && known.notAfter - now > step.margin
          ? known
          : issue(step, issuer, now);
      links.push(link);
      issuer = link;
    }
    this.#links = links;
    const leaf = links.at(-1);
    if (leaf === undefined) throw new Error('a chain has links');
    return { leaf, cabundle: [this.#root.certificateDer, ...links.slice(0, -1).map((link) => link.der)] };
  }
}

function stepsBelowRoot({ region, instanceId, enclaveId }: ChainNames): Step[] {
  const regional = randomBytes(8).toString('hex');
  const zonal = randomBytes(8).toString('hex');
  const place = [
    ['C', 'US'],
    ['ST', 'Washington'],
    ['L', 'Seattle'],
    ['O', 'Simulated'],
    ['OU', 'QuantumVault'],
  ] as const;
  const randomSerial = (): Uint8Array => randomBytes(16);
  const subordinate =
    (pathLength: number, name: string): Step['extensions'] =>
    (issuer, subject) => [
      authority(pathLength),
      authorityKeyIdentifier(issuer),
      subjectKeyIdentifier(subject),
      keyUsage(['digitalSignature', 'keyCertSign', 'cRLSign']),
      crlDistributionPoint(`http://crl-${region}-nitro-enclaves.invalid/crl/${name}.crl`),
    ];
  return [
    {
      subject: [
        ['C', 'US'],
        ['O', 'Simulated'],
        ['OU', 'QuantumVault'],
        ['CN', `${regional}.${region}.aws.nitro-enclaves`],
      ],
      lifetime: 20 * DAY + HOUR,
      margin: 7 * DAY,
      serialNumber: randomSerial,
      backdating: HOUR,
      extensions: subordinate(2, regional),
    },
    {
      subject: [
        ['CN', `${zonal}.zonal.${region}.aws.nitro-enclaves`],
        ['OU', 'QuantumVault'],
        ['O', 'Simulated'],
        ['C', 'US'],
        ['ST', 'WA'],
        ['L', 'Seattle'],
      ],
      lifetime: 6 * DAY - 3 * HOUR,
      margin: 2 * DAY,
      serialNumber: randomSerial,
      backdating: HOUR / 2,
      extensions: subordinate(1, zonal),
    },
    {
      subject: [...place, ['CN', `${instanceId}.${region}.aws.nitro-enclaves`]],
      lifetime: DAY,
      margin: 4 * HOUR,
      serialNumber: randomSerial,
      backdating: HOUR / 4,
      extensions: (issuer, subject) => [
        authority(0),
        keyUsage(['keyCertSign']),
        subjectKeyIdentifier(subject),
        authorityKeyIdentifier(issuer),
      ],
    },
    {
      subject: [...place, ['CN', `${instanceId}-enc${enclaveId}.${region}.aws`]],
      lifetime: 3 * HOUR + 3 * SECOND,
      // Longer than the five minutes for which a document counts as fresh.
      margin: HOUR / 6,
      // As AWS: the enclave's id, four zero bytes, the second of issue.
      serialNumber: (second) => fromHex(`${enclaveId}00000000${second.toString(16).padStart(8, '0')}`),
      backdating: 3 * SECOND,
      // Real leaves have no key identifiers, and a key usage that is not marked critical.
      extensions: () => [notAnAuthority(), keyUsage(['digitalSignature', 'nonRepudiation'], false)],
    },
  ];
}

function issue(step: Step, issuer: Issuer, now: number): Link {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const second = Math.floor(now / SECOND);
  const notBefore = second * SECOND - step.backdating;
  const notAfter = notBefore + step.lifetime;
  const der = issueCertificate({
    serialNumber: step.serialNumber(second),
    subject: step.subject,
    issuer: issuer.subject,
    notBefore,
    notAfter,
    publicKey,
    signingKey: issuer.privateKey,
    hash: 'sha384',
    extensions: step.extensions(issuer.privateKey, publicKey),
  });
  return { subject: step.subject, privateKey, der, notBefore, notAfter };
}
