import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Harness } from './harness.ts';

let host: Harness;
beforeAll(async () => {
  host = await new Harness().start();
  await host.createWallet();
  await host.enablePolicy();
});
afterAll(() => host.stop());

describe('POST /v1/sign', () => {
  it('answers signature, amounts and receipt', async () => {
    const response = await host.sign();
    expect(response.status).toBe(200);
  });
});
