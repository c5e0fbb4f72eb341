/**
 * Fifty thousand webhooks that must not count: none does. How signing fares beside them, and their memory at length, is
 * measured by test/bench/webhooks.ts.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Harness } from '../host/harness.ts';
import { keyed, SECRET, secretLine, symmetric, TEXT_SECRET } from '../host/webhooks/sources.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { residentBytes } from './resident-bytes.ts';
import { flood, floodSources, KNOWN } from './webhook-flood.ts';

const COUNT = 50_000;
const key = keyed().address;

async function deliver(url: string, id: string, body: string): Promise<number> {
  const { headers } = symmetric({ id, body });
  return (await fetch(`${url}/v1/webhooks/alpha`, { method: 'POST', body, headers })).status;
}

describe('without a pace', () => {
  let host: Harness;
  beforeAll(async () => {
    host = new Harness();
    host.webhookRefusalsPerSecond = 1e9;
    host.logLevel = 'error';
    host.moreConfig = () => {
      const files = [host.writePrivate('secrets', secretLine(SECRET)), host.writePrivate('text', TEXT_SECRET)] as const;
      return { webhooks: floodSources(...files, key) };
    };
    await host.start();
  });
  afterAll(() => host?.stop());

  it(`none of ${COUNT} is accepted, and one that is right still is`, async () => {
    const { url } = host.host;
    expect(await deliver(url, KNOWN.id, KNOWN.body)).toBe(200);
    const before = host.rows('signals');
    const { answers } = await flood(url, COUNT, 32);
    expect(host.rows('signals')).toEqual(before);
    const tenth = COUNT / 10;
    // Forged, with a changed body, or of no key; from elsewhere; the known one with another body; too large; replayed.
    expect(answers).toEqual({ 200: tenth, 401: 5 * tenth, 403: 2 * tenth, 413: tenth, 422: tenth });
    expect(await deliver(url, 'msg-after', '{}')).toBe(200);
    expect(host.rows('signals')).toHaveLength(2);
  }, 300_000);
});

describe('at the pace that is told', () => {
  let stack: Stack;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeAll(async () => {
    folder = await temporaryFolder();
    const file = (name: string, text: string): string => {
      writeFileSync(join(folder.path, name), text, { mode: 0o600 });
      return join(folder.path, name);
    };
    const webhooks = floodSources(file('secrets', secretLine(SECRET)), file('text', TEXT_SECRET), key);
    stack = await startStack({ witnesses: 'none', logLevel: 'error', hostConfig: { webhooks } });
  }, 60_000);
  afterAll(async () => {
    await stack?.stop();
    await folder?.remove();
  });

  it('none is accepted, and memory stays', async () => {
    expect(await deliver(stack.url, KNOWN.id, KNOWN.body)).toBe(200);
    const database = new DatabaseSync(stack.databaseFile, { readOnly: true });
    const rows = () => database.prepare('SELECT * FROM signals').all();
    const before = rows();
    await flood(stack.url, 1_500, 64);
    const warm = residentBytes(stack.host.pid);
    const { answers } = await flood(stack.url, 2_500, 64);
    expect(residentBytes(stack.host.pid) - warm).toBeLessThan(20 * 1024 * 1024);
    expect(answers['200']).toBe(250);
    expect(rows()).toEqual(before);
    database.close();
    expect(await deliver(stack.url, 'msg-after', '{}')).toBe(200);
  }, 120_000);
});
