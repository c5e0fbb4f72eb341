import { Nsm } from '@quantumvault/enclave/nsm.ts';
import { fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { encodeCbor } from '@quantumvault/shared/cbor.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';

const respond = (bytes: Uint8Array) => new Nsm({ request: async () => bytes }, () => performance.now());
const document = (name: string, key: string, value: Uint8Array) =>
  encodeCbor(new Map([[name, new Map([[key, value]])]]));

describe('the security module', () => {
  it('is asked in its own CBOR', async () => {
    const asked: Uint8Array[] = [];
    const nsm = new Nsm(
      {
        request: async (bytes) => {
          asked.push(bytes);
          return document('Attestation', 'document', utf8('doc'));
        },
      },
      () => performance.now(),
    );
    expect((await nsm.attest({ nonce: utf8('nonce') }, 'own')).document).toEqual(utf8('doc'));
    expect(Buffer.from(asked[0] ?? []).toString('latin1')).toContain('Attestation');
  });

  it('may answer in maps of definite or indefinite length', async () => {
    // {"GetRandom": {"random": h'01'}}
    const definite = fromHex('a16947657452616e646f6da16672616e646f6d4101');
    const indefinite = fromHex('bf6947657452616e646f6dbf6672616e646f6d4101ffff');
    expect(await respond(definite).random()).toEqual(Uint8Array.of(1));
    expect(await respond(indefinite).random()).toEqual(Uint8Array.of(1));
  });

  it.each([
    ['its own error', encodeCbor(new Map([['Error', 'InvalidOperation']]))],
    ['another kind', document('DescribeNSM', 'random', utf8('x'))],
    ['another field', document('GetRandom', 'other', utf8('x'))],
    ['nothing', new Uint8Array(0)],
    ['an empty value', document('GetRandom', 'random', new Uint8Array(0))],
    ['too much randomness', document('GetRandom', 'random', new Uint8Array(257))],
    ['trailing bytes', fromHex('a16947657452616e646f6da16672616e646f6d410100')],
    ['a map that does not end', fromHex('bf6947657452616e646f6dbf6672616e646f6d4101ff')],
    ['a string', encodeCbor('GetRandom')],
    ['more than the driver gives', new Uint8Array(0x3001)],
  ])('is not believed when it answers %s', async (_, bytes) => {
    await expectCode(respond(bytes).random(), 'nsm_failed');
  });

  it('never leads to anything but its one error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async (bytes) => {
        await respond(bytes)
          .random()
          .catch((error: { code: string }) => expect(error.code).toBe('nsm_failed'));
      }),
    );
  });

  it('that fails is an error of its own, and does not stop the queue', async () => {
    let failing = true;
    const nsm = new Nsm(
      {
        request: async () => {
          if (failing) throw new Error('ioctl failed');
          return document('GetRandom', 'random', utf8('r'));
        },
      },
      () => performance.now(),
    );
    await expectCode(nsm.random(), 'nsm_failed');
    failing = false;
    expect(await nsm.random()).toEqual(utf8('r'));
  });

  it('serves our own documents before those of strangers, and bounds both', async () => {
    const order: string[] = [];
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const nsm = new Nsm(
      {
        request: async (bytes) => {
          await gate;
          order.push(Buffer.from(bytes).includes('own') ? 'own' : 'public');
          return document('Attestation', 'document', utf8('d'));
        },
      },
      () => performance.now(),
    );
    const asked = [nsm.attest({ nonce: utf8('public-0') }, 'public')];
    for (let index = 0; index < LIMITS.nsmQueue; index++)
      asked.push(nsm.attest({ nonce: utf8(`public${index}`) }, 'public'));
    await expectCode(nsm.attest({ nonce: utf8('one too many') }, 'public'), 'overloaded');
    asked.push(nsm.attest({ nonce: utf8('own') }, 'own'));
    release();
    await Promise.all(asked);
    expect(order.indexOf('own')).toBe(1);
  });
});
