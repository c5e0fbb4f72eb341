/** qv init kms-key and kms-policy as processes of their own, against the local KMS, with a credentials file. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CreateGrantCommand,
  DecryptCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GetKeyPolicyCommand,
  PutKeyPolicyCommand,
  ReplicateKeyCommand,
} from '@aws-sdk/client-kms';
import { instancePolicy, keyPolicy, unusedKeyPolicy } from '@quantumvault/host/cli/key-policy.ts';
import { checkKeyPolicy } from '@quantumvault/host/cli/key-policy-check/check.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LocalKms, startLocalRegions } from '../../stack/kms/server.ts';
import type { Principal } from '../../stack/kms/sigv4.ts';
import type { SimulatedNsm } from '../../stack/nsm/simulated-nsm.ts';
import {
  ADMIN,
  ADMIN_USER,
  documentOf,
  ENCLAVE,
  ENCLAVE_ROLE,
  kmsClient,
  recipientKey,
  refusal,
  type TestKms,
  testKms,
  testNsm,
} from '../../stack/support.ts';
import { expectCode } from '../../support/codes.ts';
import { noteCode } from '../../support/codes-seen.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';

const QV = join(import.meta.dirname, '..', '..', '..', 'host', 'src', 'cli', 'qv.ts');
const PCR0 = 'a0'.repeat(48);
let nsm: SimulatedNsm;
let kms: TestKms;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let credentials: string;
let keyArn: string;

beforeAll(async () => {
  nsm = await testNsm();
  kms = await testKms(nsm.rootCertificateDer);
  folder = await temporaryFolder();
  credentials = join(folder.path, 'credentials');
  const lines = [`aws_access_key_id = ${ADMIN.accessKeyId}`, `aws_secret_access_key = ${ADMIN.secretAccessKey}`];
  writeFileSync(credentials, `[default]\n${lines.join('\n')}\n`, { mode: 0o600 });
});
afterAll(async () => {
  await kms.close();
  await folder.remove();
});

/** With the AWS SDK's default chain, as an operator would have it: nothing of the secret is on the command line. */
function call(argv: readonly string[], credentialsFile = credentials, ca = kms.kms.caPath): Promise<JsonAnswer> {
  const env = {
    PATH: process.env['PATH'],
    NODE_EXTRA_CA_CERTS: ca,
    AWS_SHARED_CREDENTIALS_FILE: credentialsFile,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [QV, ...argv, '--json'], { env }, (error, stdout, stderr) => {
      if (stderr !== '') return reject(new Error(stderr));
      const answer = JSON.parse(stdout) as JsonAnswer;
      expect(error?.code ?? 0).toBe(answer.exit);
      if (answer.error !== undefined) noteCode(answer.error.code);
      resolve(answer);
    });
  });
}

const createKey = (breakGlass = ADMIN_USER): string[] => [
  ...['init', 'kms-key', '--region', kms.kms.region, '--endpoint', kms.kms.endpoint, '--break-glass', breakGlass],
];
const setPolicy = (...more: readonly string[]): string[] => [
  ...['init', 'kms-policy', '--instance-role', ENCLAVE_ROLE, '--break-glass', ADMIN_USER, ...more],
];

async function attested() {
  const { spki } = recipientKey();
  const AttestationDocument = await documentOf(nsm, { publicKey: spki });
  return { AttestationDocument, KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256' } as const;
}

describe('qv init kms-key', () => {
  test('creates a key that nobody may use, not even an enclave', async () => {
    const answer = await call(createKey());
    expect(answer).toMatchObject({ ok: true, usable: false, breakGlass: ADMIN_USER });
    keyArn = String(answer['keyArn']);
    expect(keyArn).toMatch(/^arn:aws:kms:[a-z0-9-]+:[0-9]{12}:key\//);
    const { Policy } = await kms.client(ADMIN).send(new GetKeyPolicyCommand({ KeyId: keyArn }));
    expect(JSON.parse(Policy ?? '')).toEqual(unusedKeyPolicy(ADMIN_USER));
    const uses = [
      new GenerateDataKeyCommand({ KeyId: keyArn, KeySpec: 'AES_256', Recipient: await attested() }),
      new GenerateDataKeyCommand({ KeyId: keyArn, KeySpec: 'AES_256' }),
    ];
    for (const who of [ADMIN, ENCLAVE]) {
      for (const use of uses) expect((await refusal(kms.client(who).send(use))).name).toBe('AccessDeniedException');
      const encrypt = new EncryptCommand({ KeyId: keyArn, Plaintext: new Uint8Array(1) });
      expect((await refusal(kms.client(who).send(encrypt))).name).toBe('AccessDeniedException');
    }
  });

  test('a role that could not change the policy again is refused by KMS, by AWS’s name', async () => {
    const answer = await call(createKey(ENCLAVE_ROLE));
    expect(answer).toMatchObject({ ok: false, exit: 1, error: { code: 'kms_refused' } });
    expect(answer.error?.value).toContain('MalformedPolicyDocumentException');
  });

  test('no credentials, and an endpoint where nobody is', async () => {
    const without = await call(createKey(), join(folder.path, 'missing'));
    expect(without).toMatchObject({ exit: 1, error: { code: 'kms_refused' } });
    const argv = createKey();
    argv[argv.indexOf('--endpoint') + 1] = 'https://127.0.0.1:1';
    expect(await call(argv)).toMatchObject({ exit: 4, error: { code: 'kms_unavailable', retryable: true } });
  });

  test.each([
    'nonsense',
    '*',
    'arn:aws:iam::000000000000:root',
    'arn:aws:iam::000000000000:role/*',
    'arn:aws:sts::000000000000:assumed-role/qv/ann',
  ])('%s is no break-glass role', async (arn) => {
    const answer = await qvJson('init', 'kms-key', '--region', 'eu-central-1', '--break-glass', arn);
    expect(answer).toMatchObject({ exit: 2, error: { code: 'field_malformed', path: '--break-glass' } });
  });
});

describe('qv init kms-policy', () => {
  test('allows the named images and nobody else', async () => {
    const pcrs = join(folder.path, 'pcrs.json');
    const measured = { HashAlgorithm: 'Sha384 { ... }', PCR0, PCR1: 'a1'.repeat(48), PCR2: 'a2'.repeat(48) };
    writeFileSync(pcrs, JSON.stringify({ Measurements: measured }));
    const other = 'ff'.repeat(48);
    const where = ['--key', keyArn, '--endpoint', kms.kms.endpoint];
    const answer = await call(setPolicy(...where, '--pcrs', pcrs, '--pcr0', other, '--pcr0', PCR0));
    expect(answer).toMatchObject({ ok: true, applied: true, keyArn, pcr0s: [other, PCR0] });
    const admin = kms.client(ADMIN);
    const { Policy } = await admin.send(new GetKeyPolicyCommand({ KeyId: keyArn }));
    expect(JSON.parse(Policy ?? '')).toEqual(answer['policy']);

    const enclave = kms.client(ENCLAVE);
    const made = await enclave.send(
      new GenerateDataKeyCommand({ KeyId: keyArn, KeySpec: 'AES_256', Recipient: await attested() }),
    );
    expect(made.CiphertextForRecipient).toBeDefined();
    const unattested = new DecryptCommand({ KeyId: keyArn, CiphertextBlob: made.CiphertextBlob });
    for (const client of [enclave, admin]) {
      expect((await refusal(client.send(unattested))).name).toBe('AccessDeniedException');
    }
  });

  test('--print shows the document and needs neither key nor credentials', async () => {
    const { exit, stdout } = await qv(...setPolicy('--print', '--pcr0', PCR0));
    expect(exit).toBe(0);
    const expected = keyPolicy({ breakGlassArn: ADMIN_USER, instanceRoleArn: ENCLAVE_ROLE, pcr0s: [PCR0] });
    expect(JSON.parse(stdout)).toEqual(expected);
    expect(await qvJson(...setPolicy('--print', '--pcr0', PCR0))).toMatchObject({ applied: false, policy: expected });
  });

  test.each<[string[], string]>([
    [['--print'], 'usage_invalid'],
    [['--pcr0', PCR0], 'usage_invalid'],
    [['--print', '--pcr0', '00'.repeat(48)], 'field_malformed'],
    [['--print', '--pcr0', PCR0.toUpperCase()], 'field_malformed'],
    [['--print', '--pcr0', 'aa'], 'field_malformed'],
    [['--pcr0', PCR0, '--key', 'alias/mine'], 'field_malformed'],
    [['--print', '--pcrs', '/nowhere/pcrs.json'], 'input_unreadable'],
    [['--print', '--pcrs', '/dev/null'], 'input_unreadable'],
  ])('%j is unusable', async (more, code) => {
    expect(await qvJson(...setPolicy(...more))).toMatchObject({ ok: false, exit: 2, error: { code } });
  });

  test('the instance role is one principal', async () => {
    const argv = setPolicy('--print', '--pcr0', PCR0);
    argv[argv.indexOf(ENCLAVE_ROLE)] = 'arn:aws:iam::111122223333:root';
    expect(await qvJson(...argv)).toMatchObject({ exit: 2, error: { path: '--instance-role' } });
  });

  test('the document’s author refuses what would let everybody in', async () => {
    const input = { breakGlassArn: ADMIN_USER, instanceRoleArn: ENCLAVE_ROLE };
    await expectCode(() => keyPolicy({ ...input, pcr0s: [] }), 'field_malformed');
    await expectCode(() => keyPolicy({ ...input, pcr0s: [PCR0, '00'.repeat(48)] }), 'field_malformed');
  });
});

describe('several keys', () => {
  const SECOND = 'us-west-2';
  const OTHER_ACCOUNT = '444455556666';
  const RULER: Principal = { ...ADMIN, arn: `arn:aws:iam::${OTHER_ACCOUNT}:role/qv-break-glass` };
  let regions: ReadonlyMap<string, LocalKms>;
  let dir: string;

  beforeAll(async () => {
    dir = join(folder.path, 'regions');
    const nsmRootDer = nsm.rootCertificateDer;
    regions = await startLocalRegions({ dir, nsmRootDer, principals: [ADMIN, ENCLAVE] }, [SECOND]);
  });
  afterAll(async () => {
    for (const region of regions.values()) await region.close();
  });

  const at = (region: string): LocalKms => {
    const kms = regions.get(region);
    if (kms === undefined) throw new Error('no such Region');
    return kms;
  };
  const run = (argv: readonly string[], region = 'us-east-1') =>
    call([...argv, '--endpoint', at(region).endpoint], credentials, at(region).caPath);
  const client = (region: string) => kmsClient(at(region).endpoint, at(region).caPem, ADMIN, { region });
  const policyOf = async (KeyId: string, region: string): Promise<unknown> => {
    const asked = client(region);
    const { Policy } = await asked.send(new GetKeyPolicyCommand({ KeyId }));
    asked.destroy();
    return JSON.parse(Policy ?? '');
  };

  test('a multi-Region key and its replica: nobody uses either before an image is named, and each has its own policy', async () => {
    const init = ['init', 'kms-key', '--break-glass', ADMIN_USER];
    const made = await run([...init, '--region', 'us-east-1', '--multi-region']);
    expect(made).toMatchObject({ ok: true, usable: false, keyArn: expect.stringContaining(':key/mrk-') });
    const primary = String(made['keyArn']);
    const replicated = await run([...init, '--region', SECOND, '--replica-of', primary]);
    const replica = primary.replace('us-east-1', SECOND);
    expect(replicated).toMatchObject({ ok: true, keyArn: replica });
    const unused = unusedKeyPolicy(ADMIN_USER, { isMultiRegion: true });
    expect([await policyOf(primary, 'us-east-1'), await policyOf(replica, SECOND)]).toEqual([unused, unused]);
    for (const policy of [
      unused,
      keyPolicy({ breakGlassArn: ADMIN_USER, instanceRoleArn: ENCLAVE_ROLE, pcr0s: [PCR0], isMultiRegion: true }),
    ]) {
      const expected = { images: [PCR0], retired: [], instanceRole: ENCLAVE_ROLE, breakGlass: ADMIN_USER };
      const faults = checkKeyPolicy(policy as never, expected).findings.map(({ fault }) => fault);
      expect(faults).toEqual(policy === unused ? ['image_missing'] : []);
    }

    const named = await run([...setPolicy('--key', replica, '--pcr0', PCR0)], SECOND);
    expect(named).toMatchObject({ ok: true, applied: true });
    const allowed = keyPolicy({
      ...{ breakGlassArn: ADMIN_USER, instanceRoleArn: ENCLAVE_ROLE, pcr0s: [PCR0] },
      isMultiRegion: true,
    });
    expect([await policyOf(replica, SECOND), await policyOf(primary, 'us-east-1')]).toEqual([allowed, unused]);
    expect(await qvJson(...setPolicy('--print', '--pcr0', PCR0, '--multi-region'))).toMatchObject({ policy: allowed });

    expect(await run([...init, '--region', SECOND, '--replica-of', primary])).toMatchObject({
      ok: false,
      error: { code: 'kms_refused', value: expect.stringContaining('AlreadyExistsException') },
    });
    const both = await run([...init, '--region', SECOND, '--replica-of', primary, '--multi-region']);
    expect(both).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
    const alias = await run([...init, '--region', SECOND, '--replica-of', 'alias/a']);
    expect(alias).toMatchObject({ exit: 2, error: { code: 'field_malformed' } });
  });

  test('whoever is not the break-glass role makes no replica', async () => {
    const made = await run(['init', 'kms-key', '--break-glass', ADMIN_USER, '--region', 'us-east-1', '--multi-region']);
    const asked = kmsClient(at('us-east-1').endpoint, at('us-east-1').caPem, ENCLAVE);
    const replicate = new ReplicateKeyCommand({ KeyId: String(made['keyArn']), ReplicaRegion: SECOND });
    expect((await refusal(asked.send(replicate))).name).toBe('AccessDeniedException');
    asked.destroy();
  });

  test('a key of another account opens by its policy and the role’s own, together', async () => {
    at(SECOND).principals = [RULER, ENCLAVE];
    const breakGlass = RULER.arn;
    const made = await run(['init', 'kms-key', '--break-glass', breakGlass, '--region', SECOND], SECOND);
    const foreign = String(made['keyArn']);
    expect(foreign).toContain(`:${OTHER_ACCOUNT}:`);
    const argv = setPolicy('--key', foreign, '--pcr0', PCR0);
    argv[argv.indexOf(ADMIN_USER)] = breakGlass;
    expect(await run(argv, SECOND)).toMatchObject({ applied: true });
    const printed = await qvJson('key-policy', 'role', '--key', keyArn, '--key', foreign, '--key', keyArn);
    expect(printed).toMatchObject({ ok: true, policy: instancePolicy([keyArn, foreign]) });
    const { stdout } = await qv('key-policy', 'role', '--key', foreign);
    const generate = async (identityPolicy: string): Promise<unknown> => {
      at(SECOND).principals = [RULER, { ...ENCLAVE, identityPolicy }];
      const asked = kmsClient(at(SECOND).endpoint, at(SECOND).caPem, ENCLAVE, { region: SECOND });
      const request = { KeyId: foreign, KeySpec: 'AES_256', Recipient: await attested() } as const;
      try {
        return (await asked.send(new GenerateDataKeyCommand(request))).CiphertextForRecipient;
      } catch (error) {
        return (error as Error).name;
      } finally {
        asked.destroy();
      }
    };
    expect(await generate(stdout)).toBeInstanceOf(Uint8Array);
    expect(await generate(JSON.stringify(instancePolicy([keyArn])))).toBe('AccessDeniedException');
    at(SECOND).principals = [ADMIN, ENCLAVE];
  });

  test.each([[['--key', 'alias/a']], [[]]])('qv key-policy role %j is unusable', async (argv) => {
    expect(await qvJson('key-policy', 'role', ...argv)).toMatchObject({ ok: false, exit: 2 });
  });
});

describe('qv key-policy check, of a key', () => {
  const check = (...more: readonly string[]): Promise<JsonAnswer> => {
    const who = ['--instance-role', ENCLAVE_ROLE, '--break-glass', ADMIN_USER];
    return call(['key-policy', 'check', ...who, '--key', keyArn, '--endpoint', kms.kms.endpoint, ...more]);
  };

  test('reads the policy that holds, over an upgrade and behind it', async () => {
    const where = ['--key', keyArn, '--endpoint', kms.kms.endpoint];
    const next = 'b0'.repeat(48);
    await call(setPolicy(...where, '--pcr0', PCR0, '--pcr0', next));
    expect(await check('--pcr0', PCR0, '--pcr0', next)).toMatchObject({ ok: true, images: [PCR0, next] });
    const early = await check('--pcr0', next, '--retired-pcr0', PCR0);
    expect(early).toMatchObject({ exit: 1, holds: false });
    expect(early['findings']).toMatchObject([
      { fault: 'image_unexpected', what: PCR0 },
      { fault: 'image_retired', what: PCR0 },
    ]);
    await call(setPolicy(...where, '--pcr0', next));
    expect(await check('--pcr0', next, '--retired-pcr0', PCR0)).toMatchObject({ ok: true, images: [next] });
  });

  test('finds a grant, which no policy shows', async () => {
    const policy = keyPolicy({ breakGlassArn: ADMIN_USER, instanceRoleArn: ENCLAVE_ROLE, pcr0s: [PCR0] });
    const own = { Effect: 'Allow', Principal: { AWS: ADMIN_USER }, Action: 'kms:*', Resource: '*' };
    const admin = kms.client(ADMIN);
    const put = (Policy: unknown) =>
      admin.send(new PutKeyPolicyCommand({ KeyId: keyArn, Policy: JSON.stringify(Policy) }));
    await put({ Version: '2012-10-17', Statement: own });
    const granted = { KeyId: keyArn, GranteePrincipal: ENCLAVE_ROLE, Operations: ['Decrypt' as const] };
    await admin.send(new CreateGrantCommand(granted));
    await put(policy);
    expect(await check('--pcr0', PCR0)).toMatchObject({
      exit: 1,
      findings: [{ fault: 'grant_exists', what: expect.stringContaining(`Decrypt for ${ENCLAVE_ROLE}`) }],
    });
  });

  test('an answer that KMS refuses is KMS’s refusal', async () => {
    const nobody = keyArn.replace(/[^/]+$/, '00000000-0000-0000-0000-000000000000');
    const argv = ['key-policy', 'check', '--instance-role', ENCLAVE_ROLE, '--break-glass', ADMIN_USER];
    const answer = await call([...argv, '--key', nobody, '--endpoint', kms.kms.endpoint, '--pcr0', PCR0]);
    expect(answer).toMatchObject({ exit: 1, error: { code: 'kms_refused' } });
  });
});
