/** qv resume: hands signatures to the enclave that end one freeze, and verifies its signed word that they did. */
import type { BootId } from '@quantumvault/shared/brands.ts';
import { fromHex, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { verifyResumeAck } from '@quantumvault/shared/evidence/verify.ts';
import { JsonFields, type JsonValue } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { verifyEd25519 } from '../../client/keys.ts';
import { receiptField, signedBytesField } from '../../client/wire.ts';
import type { Cleared, ResumeReport } from '../../freeze-report.ts';
import { adminCall } from '../admin-client.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import {
  type Check,
  checked,
  checkJson,
  checkText,
  PROOF_OPTIONS,
  proveBoot,
  requireProofOptions,
} from '../boot-proof.ts';
import type { Command, Result } from '../command.ts';
import { type ResumeFacts, requireFreezeId, resumeFacts, statementOf } from '../resume-facts.ts';
import { parseSigned } from '../resume-signatures.ts';
import { SCOPE_OPTIONS, scopeOption } from '../scope-option.ts';
import { operatorKey } from '../succession/operator-key.ts';
import { cross, printable, printableTable, type Style, tick } from '../terminal.ts';

export const resume: Command = {
  name: 'resume',
  summary: 'End one freeze, with the signatures of the wallet’s owner or of enough operators.',
  details: [
    'The enclave verifies the signatures; host and database follow its signed word, which is verified here, too.',
    'They are over the text that qv resume statement prints, made elsewhere or here with an operator’s key file.',
    'A freeze that was ordered later has another id and stays. Exits 0 only if enclave, host and database let go.',
  ],
  options: {
    ...SCOPE_OPTIONS,
    freeze: { value: '<hex>', help: 'the id of the freeze to end, as qv kill and qv status print it', required: true },
    signed: { value: '<key:sig>', help: 'a signature: base58 key, colon, base64 signature', multiple: true },
    'operator-key': { value: '<pem>', help: 'sign here with this key: PKCS #8, mode 0600', multiple: true },
    admin: ADMIN_OPTION,
    ...PROOF_OPTIONS,
  },
  run: async (args) => {
    const scope = scopeOption(args);
    const freezeId = requireFreezeId(args.text('freeze'));
    requireProofOptions(args);
    const given = args.list('signed').map(parseSigned);
    const operators = args.list('operator-key').map(operatorKey);
    if (given.length + operators.length === 0 || given.length + operators.length > LIMITS.operators)
      throw new QvError('usage_invalid', { value: 'give signatures: --signed or --operator-key' });
    const socket = adminSocket(args);
    const facts = await resumeFacts(socket, scope, freezeId);
    const statement = utf8(statementOf(facts));
    const own = operators.map((operator) => operator.sign(statement));
    const signatures = [...given, ...own.map(({ key, signature }) => ({ key, signature: toBase64(signature) }))];
    const report = await adminCall(socket, 'resume', { scope, freezeId, signatures });
    const proof = await proveBoot(args);
    return resultOf(facts, report, [verify(facts, report, proof.boot), proof.check]);
  },
};

function verify(facts: ResumeFacts, report: ResumeReport, attested: BootId | undefined): Check {
  const what = 'the enclave’s word is signed by the boot key, for this freeze';
  return checked(what, () => {
    const fields = new JsonFields(report as unknown as JsonValue);
    const { deployment, scope, freezeId } = facts;
    const expected = { deployment, scope, boot: attested ?? (facts.boot as BootId), freezeId: fromHex(freezeId) };
    return verifyResumeAck(signedBytesField(fields, 'ack'), receiptField(fields, 'receipt'), expected, verifyEd25519);
  }).check;
}

function resultOf(facts: ResumeFacts, { host, database }: ResumeReport, checks: readonly Check[]): Result {
  const { scope, freezeId, boot, deployment, others } = facts;
  const stays = [host, database].find(({ cleared }) => !cleared);
  const isDone = stays === undefined && checks.every(({ holds }) => holds !== false);
  return {
    exit: isDone ? 'ok' : 'failed',
    json: {
      ...(stays?.cleared === false && { code: stays.code }),
      scope,
      freezeId,
      boot,
      deployment,
      allCleared: stays === undefined,
      host,
      database,
      others,
      checks: checks.map(checkJson),
    },
    text: (style) => [
      isDone
        ? `${tick(style)} ${style('bold', 'Resumed.')}`
        : `${cross(style)} ${style(['bold', 'red'], 'NOT resumed everywhere.')}`,
      ...printableTable(
        [
          ['Scope', scope],
          ['Freeze id', freezeId],
          ['Boot', boot],
        ],
        style,
      ),
      clearedText('Host memory', host, style),
      clearedText('Database', database, style),
      ...others.map((id) => `  ${style('yellow', 'still frozen')} as ${printable(id)}, which is resumed by itself`),
      ...checks.map((check) => checkText(check, style)),
    ],
  };
}

function clearedText(place: string, cleared: Cleared, style: Style): string {
  return cleared.cleared
    ? `  ${tick(style)} ${place} let go at ${printable(cleared.at)}`
    : `  ${cross(style)} ${place} does not let go: ${printable(cleared.code)}`;
}
