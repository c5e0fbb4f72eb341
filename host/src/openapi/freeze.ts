/** POST /v1/freeze. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { REASON_CHARACTERS } from '../freeze-report.ts';
import { LOGIN_NAME } from '../remote-freeze/operators-file.ts';
import { TOTP_CODE } from '../remote-freeze/totp.ts';
import { FREEZE_ROUTE } from '../routes/freeze.ts';
import { STORE, STRICT_JSON } from './codes.ts';
import type { Operation } from './operation.ts';
import { closed, ref, text } from './schemas.ts';

/** Not nothing, and printable ASCII. */
const REASON = '^[\\x20-\\x7e]+$';

export const FREEZE: readonly Operation[] = [
  {
    method: 'post',
    route: FREEZE_ROUTE,
    id: 'freeze',
    tag: 'freeze',
    summary: 'Freezes one wallet or one requester',
    description:
      'Support staff with a login and a TOTP code, or whoever has the panic code of a wallet. It can freeze and do ' +
      'nothing else. Each TOTP code counts once; after failures the address of the caller waits.',
    isAlwaysAnswered: true,
    body: {
      description: `One of the two forms; at most ${LIMITS.freezeBodyBytes} bytes of strict JSON.`,
      content: {
        'application/json': {
          schema: {
            oneOf: [
              {
                ...closed({
                  login: text('A login of the operators file.', { pattern: LOGIN_NAME.source }),
                  code: text('The code that the authenticator application shows now.', { pattern: TOTP_CODE.source }),
                  scope: text('Never the fleet.', { pattern: '^(?:wallet|requester):[1-9A-HJ-NP-Za-km-z]{32,44}$' }),
                  reason: text(`For the record, which has room for ${REASON_CHARACTERS} characters with the login.`, {
                    pattern: REASON,
                    maxLength: REASON_CHARACTERS - 'support x: '.length,
                  }),
                }),
                title: 'By support staff',
              },
              {
                ...closed(
                  {
                    panicCode: text('As it was written down; small letters, spaces and hyphens do not matter.'),
                    reason: text('For the record.', {
                      pattern: REASON,
                      maxLength: REASON_CHARACTERS - 'panic code: '.length,
                    }),
                  },
                  ['reason'],
                ),
                title: 'By panic code',
              },
            ],
          },
          example: {
            login: 'ann',
            code: '123456',
            scope: 'wallet:9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin',
            reason: 'the owner called',
          },
        },
      },
    },
    replies: {
      200: {
        description: 'What holds by now. 200 also when some places do not: read it.',
        content: { 'application/json': { schema: ref('FreezeReport') } },
      },
    },
    codes: [
      ...STRICT_JSON,
      'base58_malformed',
      'freeze_scope_forbidden',
      'freeze_credentials_invalid',
      'operators_unconfigured',
      'source_slowed',
      'wallet_unknown',
      ...STORE,
    ],
  },
];
