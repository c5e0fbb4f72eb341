/** Documents that nobody signed, as emulated security modules write them: refused unless one option says otherwise. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GenerateRandomCommand, type GenerateRandomCommandOutput } from '@aws-sdk/client-kms';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createSimulatedRoot } from './nsm/root.ts';
import type { SimulatedNsm } from './nsm/simulated-nsm.ts';
import {
  documentOf,
  ENCLAVE,
  openEnvelope32,
  recipientKey,
  refusal,
  type TestKms,
  testKms,
  testNsm,
} from './support.ts';

const OPTION = 'unsafeAcceptUnsignedDocuments';
const SIGNATURE_BYTES = 96;
const key = recipientKey();
const root = createSimulatedRoot();
let offset = 0;
let nsm: SimulatedNsm;
let strict: TestKms;
let unsafe: TestKms;

beforeAll(async () => {
  nsm = await testNsm({ root, now: () => Date.now() + offset });
  strict = await testKms(nsm.rootCertificateDer);
  unsafe = await testKms(nsm.rootCertificateDer, { [OPTION]: true });
});
afterAll(async () => {
  await strict.close();
  await unsafe.close();
});

const signedDocument = (): Promise<Uint8Array> => documentOf(nsm, { publicKey: key.spki });

/** The signature is the last field of the envelope. */
async function unsignedDocument(): Promise<Uint8Array> {
  const document = await signedDocument();
  return document.fill(0, document.length - SIGNATURE_BYTES);
}

function random({ client }: TestKms, document: Uint8Array): Promise<GenerateRandomCommandOutput> {
  const Recipient = { KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256' as const, AttestationDocument: document };
  return client(ENCLAVE).send(new GenerateRandomCommand({ NumberOfBytes: 32, Recipient }));
}

it('without the option an unsigned document is refused, and a signed one is not', async () => {
  expect((await refusal(random(strict, await unsignedDocument()))).message).toContain('attestation_signature_invalid');
  const answer = await random(strict, await signedDocument());
  expect(openEnvelope32(answer.CiphertextForRecipient ?? new Uint8Array(), key)).toHaveLength(32);
});

it('with it an unsigned document is answered, and a signed one is refused, because nothing would verify it', async () => {
  const answer = await random(unsafe, await unsignedDocument());
  expect(openEnvelope32(answer.CiphertextForRecipient ?? new Uint8Array(), key)).toHaveLength(32);
  expect((await refusal(random(unsafe, await signedDocument()))).message).toContain('attestation_signature_invalid');
});

it('with it a document still has to be whole and of this hour', async () => {
  expect((await refusal(random(unsafe, Uint8Array.of(1, 2, 3)))).message).toContain('attestation_envelope_malformed');
  for (const minutes of [-6, 6]) {
    offset = minutes * 60_000;
    const document = await unsignedDocument();
    offset = 0;
    expect((await refusal(random(unsafe, document))).message).toContain('attestation_stale');
  }
});

it('nobody sets it but the test of the emulated enclave', () => {
  const tests = join(import.meta.dirname, '..');
  const repository = join(tests, '..');
  const files = ['shared', 'enclave', 'host', 'test'].flatMap((folder) =>
    readdirSync(join(repository, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.includes('node_modules'))
      .map((name) => join(folder, name)),
  );
  const setting = files.filter((file) => readFileSync(join(repository, file), 'utf8').includes(`${OPTION}: true`));
  expect(setting).toEqual(['test/nitro/deployment.ts']);
});
