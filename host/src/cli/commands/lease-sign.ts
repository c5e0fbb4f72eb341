/** qv lease sign: one operator's signature, once he has read what it is for and his journal knows of it. */
import { QvError } from '@quantumvault/shared/errors.ts';
import { FACT } from '@quantumvault/shared/evidence/leaf.ts';
import type { OperatorSigned } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Trust } from '../../client/attestation.ts';
import type { Arguments, Command } from '../command.ts';
import { ASK_WITNESS, askWitnesses } from '../succession/ask-witnesses.ts';
import { auditedEstate, logDoesNotHold } from '../succession/audited-estate.ts';
import { requireCovered } from '../succession/estate.ts';
import { type LeaseEntry, readLeaseFile, writeLeaseFile } from '../succession/files.ts';
import { JOURNAL, recordLeases, requireNoConflict } from '../succession/journal.ts';
import { leaseJson, leaseLines, signersOf } from '../succession/lease-text.ts';
import { requireUsable } from '../succession/not-after.ts';
import { OPERATOR_KEY, type Operator, operatorKey } from '../succession/operator-key.ts';
import { attestedSuccessor, SUCCESSOR_OPTIONS } from '../succession/successor.ts';
import { warningLines } from '../succession/words.ts';
import { tick } from '../terminal.ts';
import { oneOperand } from '../text-input.ts';
import { unsafeOptions, WITNESS_OPTIONS } from '../trust-options.ts';

const TERMINATED_CHARACTERS = 200;
const UNVERIFIED = 'The successor was not verified here: give --url and --pcrs, unless you have done so otherwise.';
const UNASKED =
  'That windows keep their sums was not asked of witnesses here: give --ask-witness, unless you have prepared them.';
const UNCOMPARED = 'The leases were not compared with a log here: give --log, unless you have prepared them yourself.';

export const leaseSign: Command = {
  name: 'lease sign',
  summary: 'Add one operator’s signature to leases, after showing what they say.',
  details: [
    'Sign only once the old enclave’s instance is terminated: if it lives, two enclaves sign for one wallet. What',
    'you know of that is what --terminated takes, an instance id or a note; without it qv shows the leases and',
    'signs nothing. The journal is your own, append-only, written before anything is signed; it refuses a second',
    'lease of a wallet of the same boot to another successor. Any two quorums share an operator, so no two',
    'successors get one. With --url and --pcrs the successor proves itself to you, too, over your own nonce; with',
    '--log you audit the log yourself, and sign nothing that takes an older state or leaves a freeze out.',
  ],
  operands: '<lease file>',
  options: {
    'operator-key': OPERATOR_KEY,
    journal: { ...JOURNAL, required: true },
    terminated: { value: '<text>', help: 'how you know that the old instance is gone; kept in the journal' },
    log: { value: '<url|folder>', help: 'the log of the boot that is gone: the leases must say no less than it' },
    ...SUCCESSOR_OPTIONS,
    ...WITNESS_OPTIONS,
    'ask-witness': ASK_WITNESS,
  },
  run: async (args, output) => {
    const file = oneOperand(args, 'lease file');
    const entries = readLeaseFile(file);
    const terminated = args.optional('terminated');
    const journal = args.text('journal');
    if (terminated === undefined) {
      return {
        exit: 'usage',
        json: { code: 'usage_invalid', signed: false, leases: entries.map(leaseJson) },
        text: (style) => [
          ...leaseLines(entries, style),
          style(
            ['bold', 'red'],
            'Nothing was signed: say with --terminated how you know that the old instance is gone.',
          ),
        ],
      };
    }
    if (terminated.trim() === '' || terminated.length > TERMINATED_CHARACTERS || !FACT.test(terminated))
      throw new QvError('usage_invalid', {
        value: `--terminated takes at most ${TERMINATED_CHARACTERS} printable ASCII characters`,
      });
    for (const { lease } of entries) requireUsable(lease.notAfter);
    await requireNoConflict(journal, entries);
    const operator = operatorKey(args.text('operator-key'));
    const successor = await verifySuccessor(args, entries[0]);
    const log = args.optional('log');
    const { report, estate } =
      log === undefined ? {} : await auditedEstate(args, log, entries[0].lease.predecessor, successor.known, output);
    if (report !== undefined && estate === undefined)
      return logDoesNotHold(report, successor.warnings, 'Nothing was signed');
    if (estate !== undefined)
      requireCovered(
        entries.map(({ lease }) => lease),
        estate,
      );
    const warnings = [
      ...successor.warnings,
      ...(estate === undefined ? [UNCOMPARED] : []),
      ...(await requireLast(args, entries)),
    ];
    await recordLeases(
      journal,
      entries.map(({ signed: { bytes }, lease }) => ({ lease, bytes, terminated })),
    );
    const [first, ...rest] = entries.map(
      ({ signed, lease }): LeaseEntry => ({ signed: withSignature(signed, operator), lease }),
    );
    const signed = [first as LeaseEntry, ...rest] as const;
    await writeLeaseFile(
      file,
      signed.map((entry) => entry.signed),
    );
    return {
      exit: 'ok',
      json: { signed: true, operator: operator.address, warnings, leases: signed.map(leaseJson) },
      text: (style) => [
        ...leaseLines(signed, style),
        ...warningLines(warnings, style),
        `${tick(style)} ${style('bold', 'Signed')} by ${operator.address}; the journal says so.`,
      ],
    };
  },
};

/** @returns a warning if nobody was asked @throws QvError evidence_mismatch when witnesses have seen more */
async function requireLast(args: Arguments, entries: readonly LeaseEntry[]): Promise<readonly string[]> {
  for (const { lease } of entries) {
    if (!lease.sumsProven) continue;
    const asked = await askWitnesses(args, lease.checkpoint);
    if (asked === undefined) return [UNASKED];
    if (!asked.isLast) {
      const value = `${asked.confirmed.length} of ${asked.needed} witnesses say so`;
      throw new QvError('evidence_mismatch', { path: 'sumsProven', value });
    }
  }
  return [];
}

interface Verified {
  readonly warnings: readonly string[];
  readonly known: Pick<Trust, 'unsafeTrustedRootDer' | 'logOrigin'>;
}

async function verifySuccessor(args: Arguments, { lease }: LeaseEntry): Promise<Verified> {
  if (args.flag('url')) {
    const { attested, warnings, unsafe } = await attestedSuccessor(args, lease.successor);
    return { warnings, known: { logOrigin: attested.userData.logOrigin, ...unsafe } };
  }
  const { warnings, unsafeTrustedRootDer } = await unsafeOptions(args);
  return { warnings: [...warnings, UNVERIFIED], known: { ...(unsafeTrustedRootDer && { unsafeTrustedRootDer }) } };
}

/** Once, however often he signs; what does not hold under his key, or comes twice, makes room. */
function withSignature({ bytes, signatures }: OperatorSigned, operator: Operator): OperatorSigned {
  const own = operator.sign(bytes);
  const others = signersOf({ bytes, signatures })
    .filter(({ key }) => key !== own.key)
    .map(({ key, signature }) => ({ key, signature }));
  if (others.length >= LIMITS.operators)
    throw new QvError('usage_invalid', { value: 'more signatures than operators' });
  return { bytes, signatures: [...others, own] };
}
