/** Who may follow a wallet's owner. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { SUCCESSION_PURPOSES, type SuccessionAct } from '@quantumvault/shared/policy/succession-statement.ts';
import { HELD, RECORDED, ROW, STRICT_JSON } from './codes.ts';
import type { Operation, Schema } from './operation.ts';
import { closed, orNull, ref, text } from './schemas.ts';
import { DEPLOYMENT, STATEMENT_TIME, WALLET } from './wallets.ts';

interface Change {
  readonly act: SuccessionAct;
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly description: string;
  readonly successor: Schema;
  readonly signature: string;
  readonly codes: Operation['codes'];
}

const change = ({ act, path, id, summary, description, successor, signature, codes }: Change): Operation => ({
  method: 'post',
  route: `/v1/wallets/:wallet/${path}`,
  id,
  tag: 'wallets',
  summary,
  description: `${description} The same statement gets the same reply while it is the last change and the enclave that it names runs.`,
  parameters: [WALLET],
  body: {
    description: `At most ${LIMITS.httpBodyBytes} bytes of strict JSON.`,
    content: {
      'application/json': {
        schema: closed({
          purpose: { const: SUCCESSION_PURPOSES[act] },
          deployment: DEPLOYMENT,
          wallet: ref('Address'),
          owner: ref('Address'),
          change: {
            type: 'integer',
            minimum: 1,
            maximum: 0xffff_ffff,
            description: 'One more than the last change has; 1 for the first behind the creation.',
          },
          boot: { ...ref('BootId'), description: 'The boot that holds the wallet.' },
          nonce: text('16 bytes of the signer’s in lower-case hex.', { pattern: '^[0-9a-f]{32}$' }),
          before: STATEMENT_TIME,
          successor,
          signature: {
            ...ref('Signature'),
            description: `${signature}, over the statement: as it is, or in one of the envelopes that wallets put around messages.`,
          },
        }),
      },
    },
  },
  replies: {
    200: {
      description: 'Done, and on record.',
      content: {
        'application/json': {
          schema: closed({
            wallet: ref('Address'),
            ack: { ...ref('SignedBytes'), description: 'The boot key’s word for who signed.' },
            receipt: ref('Receipt'),
            boot: ref('BootId'),
          }),
        },
      },
    },
  },
  codes: [
    ...STRICT_JSON,
    'purpose_mismatch',
    'base64_malformed',
    'hex_malformed',
    'deployment_mismatch',
    'wallet_mismatch',
    'wallet_retired',
    'statement_signature_invalid',
    'statement_expired',
    'succession_changed',
    ...codes,
    ...ROW,
    ...HELD,
    ...RECORDED,
  ],
});

export const SUCCESSOR: readonly Operation[] = [
  change({
    act: 'name',
    path: 'successor',
    id: 'nameSuccessor',
    summary: 'Names who may follow the owner, or nobody any more',
    description:
      'For a statement that the owner signed. It ends a claim that runs, unless its delay has passed. Nothing else changes.',
    successor: orNull(ref('Successor'), 'Null: nobody any more; never absent.'),
    signature: 'The owner’s',
    codes: ['takeover_due'],
  }),
  change({
    act: 'claim',
    path: 'takeover',
    id: 'claimWallet',
    summary: 'Claims a wallet for its successor',
    description:
      'For a statement that the successor signed. The delay begins; the owner is alerted where alerts are configured, and can cancel until it has passed. Signing goes on under the owner’s policy; no freeze ends.',
    successor: { ...ref('Address'), description: 'The key that the owner has named.' },
    signature: 'The successor’s',
    codes: ['successor_mismatch', 'takeover_running'],
  }),
  change({
    act: 'cancel',
    path: 'takeover/cancel',
    id: 'cancelClaim',
    summary: 'Cancels the claim of a successor',
    description: 'For a statement that the owner signed before the delay has passed. The successor stays named.',
    successor: { ...ref('Address'), description: 'Whose claim it is.' },
    signature: 'The owner’s',
    codes: ['successor_mismatch', 'takeover_not_running', 'takeover_due'],
  }),
  change({
    act: 'complete',
    path: 'takeover/complete',
    id: 'completeTakeover',
    summary: 'Makes the successor the owner, once the delay has passed',
    description:
      'For a statement that the successor signed. No policy counts until he enables one, which names the one of before; windows go on, and no freeze ends.',
    successor: { ...ref('Address'), description: 'The key that has claimed the wallet, and becomes its owner.' },
    signature: 'The successor’s',
    codes: ['successor_mismatch', 'takeover_not_running', 'takeover_too_early'],
  }),
];
