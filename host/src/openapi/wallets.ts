/** Wallets and policies. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { CREATE_PURPOSE, IMPORT_PURPOSE, RETIRE_PURPOSE } from '@quantumvault/shared/policy/statement.ts';
import { ROLES } from '../reads/tokens-file.ts';
import { HELD, POLICY, RECORDED, ROW, ROW_KEY, STRICT_JSON } from './codes.ts';
import type { Operation, Parameter } from './operation.ts';
import { closed, orNull, ref, text } from './schemas.ts';

export const WALLET: Parameter = {
  name: 'wallet',
  in: 'path',
  required: true,
  description: 'The address of the wallet.',
  schema: ref('Address'),
};
export const DEPLOYMENT = text('The name of the deployment.', { examples: ['trading-eu'] });
const POLICY_HASH = { ...ref('Sha256'), description: 'SHA-256 of the policy’s canonical bytes.' };
const DRAFT = {
  policy: ref('Policy'),
  enableBefore: { ...ref('Time'), description: 'The time limit of the statement, at most a day ahead.' },
};
const OWNER_SIGNATURE = {
  ...ref('Signature'),
  description:
    'The owner’s, over the statement: as it is, or in one of the envelopes that wallets put around messages.',
};

const FIRST_REQUESTERS = {
  type: 'array',
  maxItems: LIMITS.requesters,
  items: ref('Address'),
  description: 'Whom the owner means to let ask for signatures; the policy decides.',
};
const NONCE = text('16 bytes of the owner’s in lower-case hex: one wallet each.', { pattern: '^[0-9a-f]{32}$' });
export const STATEMENT_TIME = { ...ref('Time'), description: 'The time limit of the statement, at most a day ahead.' };
const NEW_WALLET = closed({
  wallet: ref('Address'),
  certificate: { ...ref('SignedBytes'), description: 'What the boot key says of the new wallet.' },
  receipt: ref('Receipt'),
  boot: ref('BootId'),
});
const NEW_WALLET_CODES = [
  ...STRICT_JSON,
  'purpose_mismatch',
  'base58_malformed',
  'base64_malformed',
  'hex_malformed',
  'deployment_mismatch',
  'statement_too_long',
  'statement_signature_invalid',
  'statement_expired',
  'nonce_reused',
  'request_ids_full',
  'wallets_full',
  ...ROW_KEY,
  ...RECORDED,
] as const;

export const WALLETS: readonly Operation[] = [
  {
    method: 'post',
    route: '/v1/wallets',
    id: 'createWallet',
    tag: 'wallets',
    summary: 'Makes a wallet',
    description: 'For a creation statement that its owner signed. The same statement always gets the same reply.',
    body: {
      description: `At most ${LIMITS.httpBodyBytes} bytes of strict JSON.`,
      content: {
        'application/json': {
          schema: closed(
            {
              purpose: { const: CREATE_PURPOSE },
              deployment: DEPLOYMENT,
              owner: ref('Address'),
              nonce: NONCE,
              requesters: FIRST_REQUESTERS,
              createBefore: STATEMENT_TIME,
              signature: OWNER_SIGNATURE,
              successor: { ...ref('Successor'), description: 'Who may follow the owner, where he names somebody.' },
            },
            ['successor'],
          ),
        },
      },
    },
    replies: {
      201: {
        description: 'The wallet, now or since the first time.',
        content: {
          'application/json': {
            schema: NEW_WALLET,
          },
        },
      },
    },
    codes: [...NEW_WALLET_CODES],
  },
  {
    method: 'post',
    route: '/v1/wallets/import',
    id: 'importWallet',
    tag: 'wallets',
    summary: 'Imports a key that exists outside',
    description:
      'For an import statement that its owner signed, and the key sealed to the import key of one attested boot. The same statement always gets the same reply.',
    body: {
      description: `At most ${LIMITS.httpBodyBytes} bytes of strict JSON.`,
      content: {
        'application/json': {
          schema: closed(
            {
              purpose: { const: IMPORT_PURPOSE },
              deployment: DEPLOYMENT,
              owner: ref('Address'),
              wallet: { ...ref('Address'), description: 'The address of the key.' },
              nonce: NONCE,
              requesters: FIRST_REQUESTERS,
              boot: { ...ref('BootId'), description: 'The only boot that the key and the statement are for.' },
              importKey: text('The X25519 key that its attestation names, in lower-case hex.', {
                pattern: '^[0-9a-f]{64}$',
              }),
              importBefore: STATEMENT_TIME,
              signature: OWNER_SIGNATURE,
              sealed: text(
                `libsodium’s sealed box of SHA-256 of the statement and the 32-byte seed: ${LIMITS.sealedImportBytes} bytes in base64.`,
                { pattern: '^[A-Za-z0-9+/]{149}[AQgw]==$', contentEncoding: 'base64' },
              ),
              successor: { ...ref('Successor'), description: 'Who may follow the owner, where he names somebody.' },
            },
            ['successor'],
          ),
        },
      },
    },
    replies: {
      201: {
        description: 'The wallet, now or since the first time. Its certificate says that it was imported.',
        content: { 'application/json': { schema: NEW_WALLET } },
      },
    },
    codes: [...NEW_WALLET_CODES, 'import_refused', 'wallet_exists', 'wallet_held_elsewhere'],
  },
  {
    method: 'get',
    route: '/v1/wallets/:wallet',
    id: 'getWallet',
    security: [{}, { apiToken: ROLES }],
    tag: 'wallets',
    summary: 'The public facts of a wallet',
    parameters: [WALLET],
    replies: {
      200: {
        description: 'As the host has them stored.',
        content: {
          'application/json': {
            schema: ref('Wallet'),
          },
        },
      },
    },
    codes: [...ROW],
  },
  {
    method: 'post',
    route: '/v1/wallets/:wallet/policy/statement',
    id: 'renderPolicyStatement',
    security: [{}, { apiToken: ROLES }],
    tag: 'wallets',
    summary: 'The text that the owner of a policy is to read and sign',
    description: 'Gives no authority. What it prints can be made offline, too: `qv policy statement`.',
    parameters: [WALLET],
    body: {
      description: `At most ${LIMITS.httpBodyBytes} bytes of strict JSON.`,
      content: { 'application/json': { schema: closed(DRAFT) } },
    },
    replies: {
      200: {
        description: 'The statement, following the policy that is enabled now.',
        content: {
          'application/json': {
            schema: closed({
              statement: text('Printable ASCII and line feeds.', { maxLength: LIMITS.statementBytes }),
              policyHash: POLICY_HASH,
              previousHash: orNull(ref('Sha256'), 'Of the enabled policy; null before the first one.'),
            }),
          },
        },
      },
    },
    codes: [
      ...STRICT_JSON,
      ...POLICY,
      'wallet_mismatch',
      'wallet_owner_mismatch',
      'wallet_retired',
      'statement_too_long',
      ...ROW,
    ],
  },
  {
    method: 'put',
    route: '/v1/wallets/:wallet/policy',
    id: 'enablePolicy',
    tag: 'wallets',
    summary: 'Enables a policy',
    description: 'With the owner’s signature of its statement. Windows survive the change, and a freeze stays.',
    parameters: [WALLET],
    body: {
      description: `At most ${LIMITS.httpBodyBytes} bytes of strict JSON.`,
      content: {
        'application/json': {
          schema: closed({
            ...DRAFT,
            previousHash: orNull(
              ref('Sha256'),
              'Of the policy that this one replaces; null for the first, never absent.',
            ),
            signature: OWNER_SIGNATURE,
          }),
        },
      },
    },
    replies: {
      200: {
        description: 'Enabled, and on record.',
        content: {
          'application/json': {
            schema: closed({
              policyHash: POLICY_HASH,
              epoch: { type: 'integer', minimum: 1 },
              enableReceipt: { ...ref('SignedBytes'), description: 'The boot key’s word for the owner.' },
              receipt: ref('Receipt'),
              panicCode: text('Freezes this wallet; shown here and nowhere else. Replaces the one before.', {
                examples: ['0HEX-M4ZT-1C8P-9QKD-V2WB-7RNY-K7Q'],
              }),
            }),
          },
        },
      },
    },
    codes: [
      ...STRICT_JSON,
      ...POLICY,
      'base64_malformed',
      'hex_malformed',
      'wallet_mismatch',
      'wallet_retired',
      'statement_too_long',
      'statement_signature_invalid',
      'statement_expired',
      'policy_previous_mismatch',
      'policy_epoch_not_increasing',
      'policy_not_current',
      'policy_mac_invalid',
      ...ROW,
      ...HELD,
      ...RECORDED,
    ],
  },
  {
    method: 'post',
    route: '/v1/wallets/:wallet/retire',
    id: 'retireWallet',
    tag: 'wallets',
    summary: 'Ends a wallet for good',
    description:
      'For a retire statement that its owner signed. Nothing takes it back: what is left in the wallet stays there. A freeze does not hinder it. The same statement always gets the same reply while the enclave that it names runs.',
    parameters: [WALLET],
    body: {
      description: `At most ${LIMITS.httpBodyBytes} bytes of strict JSON.`,
      content: {
        'application/json': {
          schema: closed({
            purpose: { const: RETIRE_PURPOSE },
            deployment: DEPLOYMENT,
            wallet: ref('Address'),
            owner: ref('Address'),
            policyHash: orNull(ref('Sha256'), 'Of the policy that is enabled; null when there is none, never absent.'),
            boot: { ...ref('BootId'), description: 'The boot that holds the wallet.' },
            nonce: text('16 bytes of the owner’s in lower-case hex.', { pattern: '^[0-9a-f]{32}$' }),
            retireBefore: STATEMENT_TIME,
            signature: OWNER_SIGNATURE,
          }),
        },
      },
    },
    replies: {
      200: {
        description: 'Retired, and on record.',
        content: {
          'application/json': {
            schema: closed({
              wallet: ref('Address'),
              ack: { ...ref('SignedBytes'), description: 'The boot key’s word for the owner.' },
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
      'policy_not_current',
      ...ROW,
      ...HELD,
      ...RECORDED,
    ],
  },
];
