/**
 * --json of every command: one object on one line of standard output and nothing beside it, whether the command does
 * its work or is refused. A command that is added to the table has to be added here.
 */
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { COMMANDS } from '@quantumvault/host/cli/commands.ts';
import { EXIT, exitOf } from '@quantumvault/host/cli/exit-codes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Harness, person } from '../harness.ts';
import { qv, qvJson } from './call.ts';
import { measurements, production } from './documents.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const IMAGE = join(ROOT, 'test', 'vectors', 'eif', 'v4-unsigned-1ramdisk.eif');
const WALLET = person().address;
const BOOT = person().address;
const ROLES = [
  '--instance-role',
  'arn:aws:iam::000000000000:role/qv-instance',
  '--break-glass',
  'arn:aws:iam::000000000000:role/qv-break-glass',
];
const TIME = '2026-11-30T12:00:00Z';

let harness: Harness;
let count = 0;

beforeAll(async () => {
  harness = await new Harness().start();
  const { privateKey } = generateKeyPairSync('ed25519');
  writeFileSync(harness.path('operator.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  writeFileSync(harness.path('host.json'), JSON.stringify(harness.configJson()));
  writeFileSync(harness.path('policy.json'), JSON.stringify(harness.policyJson({ wallet: WALLET })));
  writeFileSync(harness.path('pcrs.json'), JSON.stringify(measurements(production)));
});
afterAll(() => harness.stop());
beforeEach(() => {
  count++;
});

const admin = (): string[] => ['--admin', harness.path('admin.sock')];
const policy = (): string => harness.path('policy.json');
const missing = (): string => harness.path('missing');
const made = (name: string): string => harness.path(`${name}-${count}`);
const nobody = 'http://127.0.0.1:9';

const migrationInputs = (): string[] => ['--rows', missing(), '--parameters', missing()];
const migrationEnclave = (): string[] => ['--deployment', 'test', '--url', nobody, '--pcrs', missing()];

type Outcome = { readonly members: readonly string[] } | { readonly code: ErrorCode };

/** Arguments, and what is to come of them: members of the answer, or the refusal's code. */
const CALLS: Readonly<Record<string, () => readonly [readonly string[], Outcome]>> = {
  kill: () => [
    ['--wallet', WALLET, '--reason', 'x', ...admin()],
    { members: ['scope', 'allHold', 'host', 'enclaves', 'checks'] },
  ],
  resume: () => [
    ['--all', '--freeze', '00'.repeat(16), '--operator-key', harness.path('operator.pem'), ...admin()],
    { code: 'freeze_unknown' },
  ],
  'resume statement': () => [['--wallet', WALLET, ...admin()], { members: ['statement', 'freezeId', 'boot'] }],
  panic: () => [['--url', nobody, 'the-code'], { code: 'usage_invalid' }],
  status: () => [admin(), { members: ['signing', 'problems', 'status'] }],
  doctor: () => [
    ['--config', harness.path('host.json'), '--url', harness.host.url],
    { members: ['worst', 'counts', 'checks'] },
  ],
  metrics: () => [admin(), { members: ['metrics'] }],
  backup: () => [
    ['--config', harness.path('host.json'), '--to', made('backups')],
    { members: ['number', 'newParts', 'wallets', 'logs'] },
  ],
  'backup verify': () => [['--from', missing()], { code: 'backup_unknown' }],
  restore: () => [['--from', missing(), '--to', harness.path('host.json')], { code: 'restore_not_empty' }],
  'release order': () => [
    [
      '--from',
      BOOT,
      '--to',
      BOOT,
      '--deployment',
      'test',
      '--operator-key',
      missing(),
      '--out',
      made('order'),
      '--url',
      nobody,
      '--pcrs',
      harness.path('pcrs.json'),
    ],
    { code: 'usage_invalid' },
  ],
  'rotate wallet': () => [[WALLET, ...admin()], { code: 'wallet_unknown' }],
  'rotate wallets': () => [
    ['--older-than', '90', ...admin()],
    { members: ['before', 'rotated', 'recent', 'elsewhere', 'retired', 'failures'] },
  ],
  'release apply': () => [[missing(), '--out', made('releases'), ...admin()], { code: 'input_unreadable' }],
  'release take': () => [[missing(), ...admin()], { code: 'input_unreadable' }],
  'lease request': () => [
    [
      '--log',
      missing(),
      '--from',
      BOOT,
      '--deployment',
      'test',
      '--out',
      made('lease'),
      '--url',
      nobody,
      '--pcrs',
      missing(),
    ],
    { code: 'input_unreadable' },
  ],
  'lease sign': () => [
    [missing(), '--operator-key', missing(), '--journal', made('journal')],
    { code: 'input_unreadable' },
  ],
  'lease apply': () => [[missing(), ...admin()], { code: 'input_unreadable' }],
  'migrate plan': () => [migrationInputs(), { code: 'input_unreadable' }],
  'migrate sign': () => [
    [missing(), ...migrationInputs(), ...migrationEnclave(), '--operator-key', missing()],
    { code: 'input_unreadable' },
  ],
  'migrate seal': () => [
    [missing(), '--parameters', missing(), '--secret-file', missing(), ...migrationEnclave()],
    { code: 'input_unreadable' },
  ],
  'migrate run': () => [[missing(), ...migrationInputs(), ...admin()], { code: 'input_unreadable' }],
  'migrate verify': () => [
    [...migrationInputs(), '--database', missing(), '--deployment', 'test', '--pcrs', missing()],
    { code: 'input_unreadable' },
  ],
  'init kms-key': () => [['--region', 'nowhere!', '--break-glass', 'x'], { code: 'field_malformed' }],
  'init kms-policy': () => [[...ROLES, '--pcr0', 'ab'.repeat(48), '--print'], { members: ['applied', 'policy'] }],
  'key-policy check': () => [[missing(), ...ROLES, '--pcr0', 'ab'.repeat(48)], { code: 'input_unreadable' }],
  'key-policy role': () => [['--key', 'arn:aws:kms:us-east-1:000000000000:key/one'], { members: ['policy'] }],
  'init row-key': () => [admin(), { code: 'already_initialised' }],
  'rotate row-key': () => [
    admin(),
    {
      members: ['begun', 'state', 'key', 'since', 'replaces', 'examined', 'resealed', 'edited', 'editedCount', 'fault'],
    },
  ],
  'init operator': () => [['--operator-key', harness.path('operator.pem')], { members: ['key'] }],
  'init totp': () => [['--login', 'ann', '--file', made('operators')], { members: ['login', 'file', 'uri'] }],
  'init api-token': () => [
    ['--name', 'ann', '--role', 'auditor', '--file', made('tokens')],
    { members: ['name', 'role', 'token'] },
  ],
  'init witness': () => [['--dir', made('witness'), '--name', 'witness.example'], { members: ['dir'] }],
  import: () => [
    [
      ...['--url', nobody, '--deployment', 'test', '--pcr0', production.pcr0, '--owner-key', missing()],
      ...['--wallet', WALLET, '--requester', person().address, '--key-file', missing()],
    ],
    { code: 'host_unreachable' },
  ],
  'wallet look': () => [
    ['--rpc', 'http://rpc.example', '--wallet', WALLET, '--to', person().address, '--out', made('plan')],
    { code: 'usage_invalid' },
  ],
  'wallet sweep': () => [
    [
      ...['--url', nobody, '--deployment', 'test', '--pcr0', production.pcr0, '--owner-key', missing()],
      ...['--wallet', WALLET, '--to', person().address, '--rpc', nobody, '--yes'],
    ],
    { code: 'host_unreachable' },
  ],
  'wallet retire': () => [
    [
      ...['--url', nobody, '--deployment', 'test', '--pcr0', production.pcr0, '--owner-key', missing()],
      ...['--wallet', WALLET, '--yes'],
    ],
    { code: 'host_unreachable' },
  ],
  ...Object.fromEntries(
    (['name', 'remove', 'claim', 'cancel', 'complete'] as const).map((act) => [
      `successor ${act}`,
      (): [string[], { code: string }] => [
        [
          ...['--url', nobody, '--deployment', 'test', '--pcr0', production.pcr0, '--wallet', WALLET],
          ...[`--${act === 'claim' || act === 'complete' ? 'successor' : 'owner'}-key`, missing()],
          ...(act === 'name' ? ['--successor', person().address, '--delay-days', '30'] : []),
        ],
        { code: 'host_unreachable' },
      ],
    ]),
  ),
  'successor show': () => [['--url', harness.host.url, '--wallet', WALLET], { code: 'wallet_unknown' }],
  // When it runs it prints a line as it begins to listen, and the one of all commands at its end: witness.test.ts.
  witness: () => [
    ['--dir', missing(), '--listen', '127.0.0.1:0', '--log-origin', 'a b', '--pcrs', harness.path('pcrs.json')],
    { code: 'usage_invalid' },
  ],
  'verify attestation': () => [
    [production.path, '--pcr0', production.pcr0],
    { members: ['document', 'mode', 'steps', 'contents'] },
  ],
  'verify receipt': () => [[missing(), '--pcr0', production.pcr0], { code: 'input_unreadable' }],
  'verify log': () => [[missing(), '--pcr0', production.pcr0], { code: 'input_unreadable' }],
  'inspect attestation': () => [[production.path], { members: ['document'] }],
  measure: () => [[IMAGE], { members: ['Measurements'] }],
  'log fetch': () => [[harness.host.url, '--dir', made('log')], { members: ['logs'] }],
  'log export': () => [[missing(), '--from', TIME, '--to', TIME, '--pcr0', production.pcr0], { code: 'usage_invalid' }],
  'policy check': () => [[policy()], { members: [] }],
  'policy judge': () => [['--policy', policy(), '--transaction', 'AAAA'], { code: 'transaction_truncated' }],
  'policy next': () => [[policy(), '--add-requester', BOOT], { members: ['policy', 'previousHash'] }],
  'policy statement': () => [[policy(), '--deployment', 'test', '--enable-before', TIME], { members: ['statement'] }],
  'tx decode': () => [['AAAA'], { code: 'transaction_truncated' }],
  completion: () => [['bash'], { members: ['shell', 'script'] }],
  help: () => [['exit-codes'], { members: ['exitCodes'] }],
  version: () => [[], { members: ['qv', 'node'] }],
};

test('every command is called here', () => {
  expect(Object.keys(CALLS).sort()).toEqual(COMMANDS.map(({ name }) => name).sort());
});

describe.each(COMMANDS.map(({ name }) => name))('qv %s', (name) => {
  test('does its work, or is refused, in JSON', async () => {
    const [argv, outcome] = (CALLS[name] as () => readonly [readonly string[], Outcome])();
    // One line, nothing on standard error, and `ok` and `exit` as the process has them: qvJson looks.
    const answer = await qvJson(...name.split(' '), ...argv);
    expect(Object.values(EXIT).map(({ code }) => code)).toContain(answer.exit);
    expect(JSON.stringify(answer)).not.toContain('\\u001b');
    if ('code' in outcome) {
      expect(answer.error).toMatchObject({
        code: outcome.code,
        meaning: expect.any(String),
        retryable: expect.any(Boolean),
      });
      expect(answer.exit).toBe(EXIT[exitOf(outcome.code)].code);
    } else {
      expect(answer.error).toBeUndefined();
      for (const member of outcome.members) expect(answer).toHaveProperty(member);
    }
  });

  test('explains itself, and what is wrong with its options, in JSON', async () => {
    const words = name.split(' ');
    expect(await qvJson(...words, '--help')).toMatchObject({ ok: true, help: expect.stringContaining(`qv ${name}`) });
    expect(await qvJson(...words, '--no-such-option')).toMatchObject({
      exit: 2,
      error: {
        code: 'usage_invalid',
        value: expect.stringContaining('--no-such-option'),
        next: `qv help ${name} explains the command.`,
      },
    });
  });

  test('has no colours where nobody looks', async () => {
    const { stdout, stderr } = await qv(...name.split(' '), '--help');
    expect(stdout + stderr).not.toContain('\u001b');
  });
});

test('what is no host is answered in JSON, too', async () => {
  const sockets = new Set<Socket>();
  const broken = createServer((socket) => {
    sockets.add(socket);
    socket.end('no JSON at all\n');
  });
  await new Promise<void>((resolve) => broken.listen(harness.path('broken.sock'), resolve));
  expect(await qvJson('status', '--admin', harness.path('broken.sock'))).toMatchObject({
    error: { code: 'response_malformed' },
  });
  for (const socket of sockets) socket.destroy();
  broken.close();
});
