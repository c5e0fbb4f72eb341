/** Batches at the host: stored whole, told once, denied with a verdict each. The enclave's part: test/e2e/batches.test.ts. */
import { fromBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectProblem } from '../support/codes.ts';
import { Harness } from './harness.ts';

interface Item {
  readonly signature: string;
  readonly messageHash: string;
  readonly lamportsOut: string;
  readonly receipt: { readonly leaf: string; readonly signature: string };
}

let host: Harness;
beforeAll(async () => {
  host = await Harness.withWallet();
});
afterAll(() => host.stop());
afterEach(() => {
  delete host.enclave.handlers.signBatch;
});

const batchBody = (count: number, changes: Record<string, unknown> = {}) => {
  const { transaction, ...rest } = host.signBody() as Record<string, string>;
  return { ...rest, purpose: 'qv/sign-batch/v1', transactions: Array(count).fill(transaction), ...changes };
};
const ask = (id: string, body: Record<string, unknown>) => {
  const request = host.signRequest({ id, body });
  return host.send('POST', '/v1/sign/batch', request.body, request.headers);
};

describe('a batch', () => {
  it('is answered with a signature, sums and a receipt each, all of it stored together', async () => {
    const response = await ask('batch-1', batchBody(3));
    expect(response.status).toBe(200);
    const { signed } = (await response.json()) as { signed: Item[] };
    expect(signed).toHaveLength(3);
    const sequences = signed.map(({ receipt }) => decodeLeaf(fromBase64(receipt.leaf)).sequence);
    expect(sequences.map((sequence) => sequence - (sequences[0] ?? 0n))).toEqual([0n, 1n, 2n]);
    expect(signed.map(({ lamportsOut }) => lamportsOut)).toEqual(Array(3).fill('1000000'));
    const kept = host.rows('leaves').map((row) => row['sequence']);
    expect(kept).toEqual(expect.arrayContaining(sequences.map(Number)));
    expect(host.rows('wallets')[0]?.['state_version']).toBe(Number(host.enclave.stateVersion));
    expect(host.rows('replies')).toContainEqual(expect.objectContaining({ id: 'batch-1', status: 200 }));
    // The row's state has no place in its frame.
    const asked = host.enclave.requests.filter(({ name }) => name === 'signBatch').at(-1)?.body;
    expect(Object.keys((asked as { blobs: object }).blobs).sort()).toEqual(['executionKey', 'salt', 'sealedSeed']);
  });

  it('of the largest size is answered, stored and told again', async () => {
    host.enclave.handlers.signBatch = () => {
      const messageHash = sha256(utf8('largest'));
      const verdicts = Array.from({ length: 32 }, () => {
        const leaf = new Uint8Array(1_100).fill(7);
        const receipt = host.enclave.leaf({
          ...{ kind: 'signed', requestId: 'largest', messageHash, attestation: leaf },
          amounts: { lamportsOut: 1n, feeLamports: 5_000n },
        });
        return { messageHash, allow: true, signature: new Uint8Array(64) as never, receipt };
      });
      return { verdicts, state: { blob: new Uint8Array(90), version: ++host.enclave.stateVersion } };
    };
    const response = await ask('largest', batchBody(32));
    expect(response.status).toBe(200);
    const first = await response.text();
    expect(await (await ask('largest', batchBody(32))).text()).toBe(first);
    expect(host.rows('replies')).toContainEqual(expect.objectContaining({ id: 'largest', status: 200 }));
  });

  it('is one request: the same again, another body, or a single one of its id', async () => {
    const first = await (await ask('batch-2', batchBody(2))).text();
    expect(await (await ask('batch-2', batchBody(2))).text()).toBe(first);
    await expectProblem(await ask('batch-2', batchBody(3)), 'request_id_reused');
    await expectProblem(await host.sign({ id: 'batch-2' }), 'request_id_reused');
  });

  it('that is denied names the first denial and has a verdict on each, now and when it is asked again', async () => {
    host.enclave.handlers.signBatch = () => {
      const hashes = ['a', 'b', 'c'].map((text) => sha256(utf8(text)));
      const receipt = host.enclave.leaf({ kind: 'denied', requestId: 'batch-3', rule: 'sol.window', value: '11' });
      const verdicts = hashes.map((messageHash, index) =>
        index === 1
          ? { messageHash, allow: false, rule: 'sol.window', value: '11', receipt }
          : { messageHash, allow: true },
      );
      return { verdicts };
    };
    const asked = () => host.enclave.requests.filter(({ name }) => name === 'signBatch').length;
    const before = asked();
    for (let round = 0; round < 2; round++) {
      const problem = (await expectProblem(await ask('batch-3', batchBody(3)), 'policy_denied')) as unknown as {
        index: number;
        verdicts: { verdict: string; rule?: string; receipt?: object }[];
      };
      expect(problem).toMatchObject({ rule: 'sol.window', value: '11', index: 1 });
      expect(problem.verdicts.map(({ verdict, rule }) => [verdict, rule])).toEqual([
        ['allow', undefined],
        ['deny', 'sol.window'],
        ['allow', undefined],
      ]);
      expect(problem.verdicts[1]?.receipt).toEqual((problem as unknown as { receipt: object }).receipt);
    }
    expect(asked()).toBe(before + 1);
  });

  it('is judged by a dry run, which stores nothing', async () => {
    const before = host.rows('replies').length;
    const response = await ask('dry', batchBody(2, { dryRun: true }));
    expect(await response.json()).toMatchObject({
      verdict: 'allow',
      verdicts: [{ verdict: 'allow' }, { verdict: 'allow' }],
    });
    expect(host.rows('replies').length).toBe(before);
  });

  it('has its own purpose and bounds', async () => {
    await expectProblem(await ask('p1', batchBody(1, { purpose: 'qv/sign/v1' })), 'purpose_mismatch');
    await expectProblem(await host.sign({ id: 'p2', body: batchBody(1) }), 'purpose_mismatch');
    await expectProblem(await ask('p3', batchBody(0)), 'field_malformed');
    await expectProblem(await ask('p4', batchBody(33)), 'field_malformed');
    await expectProblem(await ask('p5', batchBody(1, { padding: 'x'.repeat(40_000) })), 'body_too_large');
  });
});
