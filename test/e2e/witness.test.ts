/** A witness of the real enclave's log: what the host has at hand is all it takes. */
import { join } from 'node:path';
import { verifyEd25519 } from '@quantumvault/host/ed25519.ts';
import { WitnessClient } from '@quantumvault/host/witness/client.ts';
import { addressBytes, type BootId, signature } from '@quantumvault/shared/brands.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { bootLogOrigin } from '@quantumvault/shared/evidence/leaf.ts';
import { parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { formatNote, parseNote, verifyNote } from '@quantumvault/shared/tlog/note.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Backend, type Stack, startStack } from '../stack/stack.ts';
import { makeWitness, witnessArguments, writeMeasurements } from '../stack/witness.ts';
import { expectCode } from '../support/codes.ts';

const LOG_ORIGIN = 'local-stack.example/qv';
let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack?.stop());

async function startWitness(name: string, pcrs: Backend['pcrs']): Promise<WitnessClient> {
  const { dir, key } = makeWitness(join(stack.dir, name), `witness.example/${name}`);
  const pcrsFile = writeMeasurements(join(stack.dir, `${name}.json`), pcrs);
  const process = await stack.start(
    name,
    witnessArguments({ dir, logOrigin: LOG_ORIGIN, pcrsFile, rootPem: join(stack.dir, 'nsm-root', 'root.pem') }),
  );
  return new WitnessClient({ url: new URL(String(process.ready['url'])), key });
}

it('follows the log of an image it allows, and of no other', async () => {
  const { boot, bootRecord } = (await (await fetch(`${stack.url}/v1/attestation?nonce=${'ab'.repeat(16)}`)).json()) as {
    boot: BootId;
    bootRecord: { leaf: string; signature: string };
  };
  const note = new Uint8Array(await (await fetch(`${stack.url}/v1/log/checkpoint`)).arrayBuffer());
  const { text, signatures } = parseNote(note);
  const request = {
    note,
    origin: bootLogOrigin(LOG_ORIGIN, boot),
    size: parseCheckpoint(text).size,
    prove: async () => [],
    bootRecord: { leaf: fromBase64(bootRecord.leaf), signature: signature(fromBase64(bootRecord.signature)) },
  };
  const client = await startWitness('w1', stack.pcrs);
  const cosigned = parseNote(formatNote({ text, signatures: [...signatures, await client.cosign(request)] }));
  const logKey = verifierKey(request.origin, 'ed25519', addressBytes(boot));
  const verified = verifyNote(cosigned, [logKey, client.endpoint.key], verifyEd25519);
  expect(verified.map(({ key }) => key.name)).toEqual([request.origin, 'witness.example/w1']);

  const strict = await startWitness('w2', { ...stack.pcrs, '0': 'ab'.repeat(48) });
  const error = await expectCode(strict.cosign(request), 'witness_refused');
  expect(error.facts.value).toBe('attestation_pcrs_not_allowed');
});
