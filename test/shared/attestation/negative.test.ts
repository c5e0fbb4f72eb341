/** Documents that must be refused, with the code each meets. Their sidecars say what the world expects of a verifier. */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { expect, test } from 'vitest';
import { outcome, ownSet, REPLAY } from './expect.ts';
import { negative, pcrsOf, realVector } from './vectors.ts';

const ENVELOPE = 'attestation_envelope_malformed';
const ALGORITHM = 'attestation_algorithm_unsupported';
const SIGNATURE = 'attestation_signature_invalid';

const CODES: Readonly<Record<string, ErrorCode | 'ok'>> = {
  'blocky-selfsigned': ENVELOPE,
  'cape-js-mangled-cose-shape': ENVELOPE,
  'cape-js-mangled-payload': ENVELOPE,
  'definite-alg-es256': ALGORITHM,
  'definite-alg-missing': ALGORITHM,
  'definite-huge-length-claim': ENVELOPE,
  // (r, n - s) is as good a signature as (r, s): ECDSA is malleable, so a document's hash is no replay key.
  'definite-malleated-s': 'ok',
  'definite-nested-depth-5000': ENVELOPE,
  'definite-outer-indefinite-array': ENVELOPE,
  'definite-payload-bitflip': SIGNATURE,
  'definite-payload-bstr-nonminimal-length': ENVELOPE,
  'definite-payload-nil': ENVELOPE,
  'definite-protected-empty-bstr': ALGORITHM,
  'definite-protected-indefinite-map': ALGORITHM,
  'definite-sig-der': ENVELOPE,
  'definite-sig-empty': ENVELOPE,
  'definite-sig-r-n': SIGNATURE,
  'definite-sig-short-64': ENVELOPE,
  'definite-sig-zero': SIGNATURE,
  'definite-tag-wrong-17': ENVELOPE,
  'definite-tag18': ENVELOPE,
  'definite-three-elements': ENVELOPE,
  'definite-trailing-byte': ENVELOPE,
  'definite-trailing-second-doc': ENVELOPE,
  'definite-truncated': ENVELOPE,
  'definite-unprotected-alg-override': ENVELOPE,
  'definite-unprotected-junk': ENVELOPE,
};

// Most derive from this document: its PCRs are the ones a verifier would expect.
const pcrSets = ownSet(pcrsOf(realVector('19b71700').sidecar));

test.each(negative)('$name', async ({ name, bytes, sidecar }) => {
  const result = await outcome(bytes, { mode: REPLAY, pcrSets });
  expect(result).toBe(CODES[name]);
  expect(result === 'ok').toBe(sidecar.expected.startsWith('ACCEPT'));
});

test('the table names every vector', () => {
  expect(negative.map(({ name }) => name).toSorted()).toEqual(Object.keys(CODES).toSorted());
});
