/** Creation statements, and peers that break the protocol: over the enclave's own socket. */
import { connect } from 'node:net';
import { encodeCbor } from '@quantumvault/shared/cbor.ts';
import { framePieces } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeRequest } from '@quantumvault/shared/protocol/messages.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { creation, party, secondsFromNow } from '../support/wallet-kit.ts';

let host: MaliciousHost;
let wallet: KitWallet;

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
  wallet = await host.openWallet();
});
afterAll(() => host?.stop());

const sign = () => host.data.request('sign', host.request(wallet));

describe('creation', () => {
  it('happens once per statement, and only as its owner signed it', async () => {
    const { deployment } = host.backend;
    const [owner, requester] = [party(), party()];
    const request = creation(deployment, owner, [requester]);
    const [first, second] = await Promise.all([
      host.data.request('walletCreate', request),
      host.data.request('walletCreate', request),
    ]);
    expect(second).toEqual(first);
    const reuse = creation(deployment, owner, [requester, party()], { nonce: request.nonce });
    await expectCode(host.data.request('walletCreate', reuse), 'nonce_reused');
    await expectCode(
      host.data.request('walletCreate', { ...request, requesters: [party().address] }),
      'statement_signature_invalid',
    );
    await expectCode(
      host.data.request('walletCreate', { ...request, owner: party().address }),
      'statement_signature_invalid',
    );
    await expectCode(host.data.request('walletCreate', creation('other', owner, [requester])), 'deployment_mismatch');
    await expectCode(
      host.data.request('walletCreate', creation(deployment, owner, [requester], { createBefore: secondsFromNow(-1) })),
      'statement_expired',
    );
    const ahead = secondsFromNow(LIMITS.statementMaxAheadSeconds + 60);
    await expectCode(
      host.data.request('walletCreate', creation(deployment, owner, [requester], { createBefore: ahead })),
      'statement_expired',
    );
    const twice = [requester.address, requester.address];
    await expectCode(host.data.request('walletCreate', { ...request, requesters: twice }), 'field_malformed');
  });
});

describe('broken peers', () => {
  /** Sends raw bytes on a connection of its own; resolves with what came back when it ends. */
  const raw = (bytes: Uint8Array): Promise<Buffer> =>
    new Promise((resolve) => {
      const socket = connect(host.backend.enclaveAddresses.data.slice('unix:'.length));
      const chunks: Buffer[] = [];
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(Buffer.concat(chunks)));
      socket.end(bytes);
    });

  it('lose their connection and harm nobody else', async () => {
    const garbage = [
      Uint8Array.of(0, 0, 0, 0),
      Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 2, 3),
      Buffer.concat(framePieces(Uint8Array.of(0xff))),
      Buffer.concat(
        framePieces(
          encodeCbor(
            new Map([
              [0, 200],
              [1, 1],
              [2, new Map()],
            ] as never),
          ),
        ),
      ),
      Buffer.concat(framePieces(encodeCbor('text'))),
      Uint8Array.of(0, 0, 0, 50, 1),
      Buffer.alloc(200_000, 0x41),
    ];
    for (const bytes of garbage) expect(await raw(bytes)).toHaveLength(0);
    expect((await sign()).signature).toHaveLength(64);
  });

  it('get a refusal for a body that does not parse, on a connection that lives on', async () => {
    const frame = encodeCbor(
      new Map([
        [0, 8],
        [1, 77],
        [2, new Map([[0, 'x']])],
      ] as never),
    );
    const reply = await raw(Buffer.concat([...framePieces(frame), ...framePieces(encodeRequest(78, 'status', {}))]));
    expect(reply.includes('message_malformed')).toBe(true);
    expect(reply.includes('local-stack')).toBe(true);
  });

  it('get the replies to what they sent, also when they have finished sending', async () => {
    const request = host.request(wallet);
    const reply = await raw(Buffer.concat(framePieces(encodeRequest(5, 'sign', request))));
    expect(reply.length).toBeGreaterThan(400);
  });

  it('cannot keep more connections open than the limit, nor close the control connection’s door', async () => {
    const path = host.backend.enclaveAddresses.data.slice('unix:'.length);
    const sockets = Array.from({ length: LIMITS.connections + 10 }, () => connect(path));
    for (const socket of sockets) socket.on('error', () => undefined).resume();
    await expect
      .poll(() => sockets.filter((socket) => socket.destroyed || socket.readableEnded).length)
      .toBeGreaterThanOrEqual(10);
    expect((await host.control.request('status', {})).phase).toBe('serving');
    expect((await sign()).signature).toHaveLength(64);
    for (const socket of sockets) socket.destroy();
  });

  it('cannot reach signing through the control connection', async () => {
    await expectCode(host.control.request('sign', host.request(wallet)), 'enclave_not_ready');
    expect((await host.control.request('status', {})).phase).toBe('serving');
  });
});
