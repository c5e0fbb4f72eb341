/** qv lease sign: one operator's signature, once he has read what it is for and his journal knows of it. */
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { type BootId, bootIdOf } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { AuditReport } from '@quantumvault/shared/evidence/audit/types.ts';
import { touches } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { FACT } from '@quantumvault/shared/evidence/leaf.ts';
import type { OperatorSigned } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Trust } from '../../client/attestation.ts';
import type { Arguments, Command } from '../command.ts';
import { ASK_WITNESS, askWitnesses } from '../succession/ask-witnesses.ts';
import { auditedEstate, logDoesNotHold } from '../succession/audited-estate.ts';
import { requireCovered, requireNotElsewhere } from '../succession/estate.ts';
import { type LeaseEntry, readLeaseFile, writeLeaseFile } from '../succession/files.ts';
import { JOURNAL, recordLeases, requireNoConflict, type TerminatedSuccessor } from '../succession/journal.ts';
import { leaseJson, leaseLines, signersOf } from '../succession/lease-text.ts';
import { requireUsable } from '../succession/not-after.ts';
import { OPERATOR_KEY, type Operator, operatorKey } from '../succession/operator-key.ts';
import { attestedSuccessor, SUCCESSOR_OPTIONS } from '../succession/successor.ts';
import { warningLines } from '../succession/words.ts';
import { tick } from '../terminal.ts';
import { oneOperand } from '../text-input.ts';
import { unsafeOptions, WITNESS_OPTIONS } from '../trust-options.ts';

const TERMINATED_CHARACTERS = 200;
/** So that a line of the journal stays one that can be read. */
const TERMINATED_SUCCESSORS = 16;
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
    '--log you audit the log yourself, and sign nothing that takes an older state, leaves a freeze out, or leases',
    'what another boot has by now. A successor that died before it took its wallets blocks them until you say with',
    '--terminated-successor how you know; then --log is needed, and what its log shows as taken stays its own.',
  ],
  operands: '<lease file>',
  options: {
    'operator-key': OPERATOR_KEY,
    journal: { ...JOURNAL, required: true },
    terminated: { value: '<text>', help: 'how you know that the old instance is gone; kept in the journal' },
    'terminated-successor': {
      value: '<boot>=<text>',
      help: 'how you know that an earlier successor is gone, too; kept in the journal',
      multiple: true,
    },
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
    requireNote('terminated', terminated);
    const gone = terminatedSuccessors(args);
    for (const { lease } of entries) requireUsable(lease.notAfter);
    await requireNoConflict(journal, entries, gone);
    const operator = operatorKey(args.text('operator-key'));
    const successor = await verifySuccessor(args, entries[0]);
    const log = args.optional('log');
    const { report, estate } =
      log === undefined ? {} : await auditedEstate(args, log, entries[0].lease.predecessor, successor.known, output);
    if (report !== undefined && estate === undefined)
      return logDoesNotHold(report, successor.warnings, 'Nothing was signed');
    if (report !== undefined && estate !== undefined) {
      const leases = entries.map(({ lease }) => lease);
      const wallets = leases.flatMap((lease) => lease.wallets.map(({ wallet }) => wallet));
      requireNotElsewhere(wallets, entries[0].lease.predecessor, report);
      requireCovered(leases, estate);
    }
    const warnings = [
      ...successor.warnings,
      ...(report === undefined ? [UNCOMPARED] : gone.flatMap((each) => leftBy(each, entries, report))),
      ...(await requireLast(args, entries, gone)),
    ];
    await recordLeases(
      journal,
      entries.map(({ signed: { bytes }, lease }) => ({ lease, bytes, terminated })),
      gone,
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
async function requireLast(
  args: Arguments,
  entries: readonly LeaseEntry[],
  gone: readonly TerminatedSuccessor[],
): Promise<readonly string[]> {
  for (const { lease } of entries) {
    if (!lease.sumsProven) continue;
    // What an earlier successor signed is in another log, which nobody has to show.
    if (gone.length > 0) throw new QvError('evidence_mismatch', { path: 'sumsProven', value: 'an earlier successor' });
    const asked = await askWitnesses(args, lease.checkpoint);
    if (asked === undefined) return [UNASKED];
    if (!asked.isLast) {
      const value = `${asked.confirmed.length} of ${asked.needed} witnesses say so`;
      throw new QvError('evidence_mismatch', { path: 'sumsProven', value });
    }
  }
  return [];
}

/** @throws QvError usage_invalid */
function requireNote(option: string, text: string): void {
  if (text.trim() === '' || text.length > TERMINATED_CHARACTERS || !FACT.test(text))
    throw new QvError('usage_invalid', {
      value: `--${option} takes at most ${TERMINATED_CHARACTERS} printable ASCII characters`,
    });
}

/** @throws QvError usage_invalid, base58_malformed */
function terminatedSuccessors(args: Arguments): readonly TerminatedSuccessor[] {
  const option = 'terminated-successor';
  const texts = args.list(option);
  if (texts.length > TERMINATED_SUCCESSORS)
    throw new QvError('usage_invalid', { value: `--${option}: at most ${TERMINATED_SUCCESSORS}` });
  // Whether it took something is what its log says, as far as there is one.
  if (texts.length > 0 && !args.flag('log'))
    throw new QvError('usage_invalid', { value: `--${option} needs --log, which shows what was taken` });
  return texts.map((text) => {
    const at = text.indexOf('=');
    if (at < 0) throw new QvError('usage_invalid', { value: `--${option} takes <boot>=<text>` });
    const note = text.slice(at + 1);
    requireNote(option, note);
    return { boot: bootIdOf(fromBase58(text.slice(0, at), 32, `--${option}`)), note };
  });
}

/** What a successor that is gone may leave behind beside wallets, for the operator to read. */
function leftBy(
  { boot }: TerminatedSuccessor,
  entries: readonly LeaseEntry[],
  { estateOf }: Pick<AuditReport, 'estateOf'>,
): readonly string[] {
  const estate = estateOf(boot as BootId);
  if (estate === undefined)
    return [`There is no log of ${boot}: whether it took these wallets is known from your word alone.`];
  const carried = new Set(entries.flatMap(({ lease }) => lease.freezes.map(({ freezeId }) => toHex(freezeId))));
  const wallets = entries.flatMap(({ lease }) => lease.wallets.map(({ wallet }) => wallet));
  return estate.freezes
    .filter(({ scope, freezeId }) => !carried.has(toHex(freezeId)) && wallets.some((wallet) => touches(scope, wallet)))
    .map(
      ({ scope }) => `The log of ${boot} holds a freeze of ${scope}, which these leases do not carry: order it again.`,
    );
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
