/** qv lease request: what a boot that is gone left behind, as leases for its operators to sign (design 8). */
import { QvError } from '@quantumvault/shared/errors.ts';
import { leaseCodec } from '@quantumvault/shared/evidence/succession.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { Command } from '../command.ts';
import { ASK_WITNESS, askWitnesses } from '../succession/ask-witnesses.ts';
import { auditedEstate, logDoesNotHold } from '../succession/audited-estate.ts';
import { leasesOf, requireNotElsewhere } from '../succession/estate.ts';
import { type LeaseEntry, writeLeaseFile } from '../succession/files.ts';
import { leaseJson, leaseLines } from '../succession/lease-text.ts';
import { NOT_AFTER, notAfter } from '../succession/not-after.ts';
import { attestedSuccessor, SUCCESSOR_OPTIONS } from '../succession/successor.ts';
import { bootOption, DEPLOYMENT, deploymentOption, walletOptions, warningLines } from '../succession/words.ts';
import { printable, table } from '../terminal.ts';
import { WITNESS_OPTIONS, witnessOptions } from '../trust-options.ts';

export const leaseRequest: Command = {
  name: 'lease request',
  summary: 'Prepare leases: another enclave boot takes over the wallets of one that is gone.',
  details: [
    'For a crash. Audits the whole log as qv verify log does, and asks the successor for a live attestation over',
    'a nonce of qv’s own; writes nothing when either fails. What is written still counts for nothing: M operators',
    'have to sign it with qv lease sign. No state older than the log is taken over, and freezes that hold stay.',
    'Every window counts as full for its length from then on, unless enough of the measured witnesses have',
    'cosigned the log and say, asked with --ask-witness, that they have seen no more of it.',
    'Without --wallet the leases are for all wallets that the boot held.',
  ],
  options: {
    log: { value: '<url|folder>', help: 'the log of the boot that is gone, as qv verify log takes it', required: true },
    from: { value: '<boot>', help: 'the boot that is gone', required: true },
    wallet: { value: '<wallet>', help: 'only this one', multiple: true },
    unrecorded: {
      value: '<wallet>',
      help: 'also this one, of which the log says nothing: made just before the crash',
      multiple: true,
    },
    deployment: DEPLOYMENT,
    'not-after': NOT_AFTER,
    out: { value: '<file>', help: 'where the leases are written, unsigned', required: true },
    ...SUCCESSOR_OPTIONS,
    url: { ...SUCCESSOR_OPTIONS.url, required: true },
    ...WITNESS_OPTIONS,
    'ask-witness': ASK_WITNESS,
  },
  run: async (args, output) => {
    const predecessor = bootOption(args, 'from');
    const wanted = { named: walletOptions(args, 'wallet'), unrecorded: walletOptions(args, 'unrecorded') ?? [] };
    const [deployment, until, out] = [deploymentOption(args), notAfter(args), args.text('out')];
    const { witnesses } = witnessOptions(args);
    const { attested, warnings, unsafe } = await attestedSuccessor(args);
    const { boot: successor, userData } = attested;
    if (successor === predecessor) throw new QvError('succession_mismatch', { path: 'predecessor', value: 'it lives' });
    // The successor's log is one of the same deployment: it says so itself, attested.
    const known = { logOrigin: userData.logOrigin, ...unsafe };
    const { report, estate } = await auditedEstate(args, args.text('log'), predecessor, known, output);
    if (estate === undefined) return logDoesNotHold(report, warnings, 'Nothing was written');
    requireNotElsewhere(wanted.unrecorded, predecessor, report);
    const asked = await askWitnesses(args, estate.checkpoint);
    const parties = { deployment, predecessor, successor, notAfter: until, sumsProven: asked?.isLast === true };
    const [first, ...rest] = leasesOf(estate, parties, witnesses, wanted).map((lease): LeaseEntry => {
      const signed = { bytes: encodeAs(leaseCodec, lease), signatures: [] };
      return { signed, lease };
    });
    if (first === undefined) throw new QvError('wallet_unknown', { path: predecessor, value: 'it holds none' });
    const entries = [first, ...rest] as const;
    await writeLeaseFile(
      out,
      entries.map(({ signed }) => signed),
    );
    return {
      exit: 'ok',
      json: {
        out,
        warnings,
        deployment,
        predecessor,
        successor,
        notAfter: new Date(until).toISOString(),
        ...(asked && { witnesses: asked }),
        leases: entries.map(leaseJson),
      },
      text: (style) => [
        ...warningLines(warnings, style),
        ...leaseLines(entries, style),
        ...table([['Written', `${printable(out)}: for each operator’s qv lease sign`]], style),
      ],
    };
  },
};
