/** The key that a sweep makes for itself. */
import { withRequester } from '@quantumvault/host/cli/sweep/requester.ts';
import type { Signer } from '@quantumvault/host/client/client.ts';
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import nacl from 'tweetnacl';
import { expect, it } from 'vitest';
import { expectCode } from '../../../support/codes.ts';

it('is another one each time, signs while it is needed, and signs nothing behind that', async () => {
  const seen: Signer[] = [];
  for (let time = 0; time < 3; time++)
    await withRequester(async (requester) => {
      seen.push(requester);
      const signature = await requester.sign(utf8('a request'));
      expect(nacl.sign.detached.verify(utf8('a request'), signature, addressBytes(requester.address))).toBe(true);
    });
  expect(new Set(seen.map(({ address }) => address)).size).toBe(3);
  for (const requester of seen) await expectCode(async () => requester.sign(utf8('later')), 'secret_exposed');
});

it('is gone, too, when what it was for has failed', async () => {
  let kept: Signer | undefined;
  const failing = withRequester(async (requester) => {
    kept = requester;
    throw new RangeError('in the middle');
  });
  await expect(failing).rejects.toThrow('in the middle');
  await expectCode(async () => kept?.sign(utf8('later')), 'secret_exposed');
});
