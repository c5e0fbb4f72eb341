/**
 * Fifty thousand webhooks that must not count: none does. How signing fares beside them is measured by
 * test/bench/webhooks.ts.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keyed, SECRET, secretLine, symmetric, TEXT_SECRET } from '../host/webhooks/sources.ts';
import { type StackProcess, startProcess } from '../stack/process.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { residentBytes } from './resident-bytes.ts';
import { flood, floodSources, KNOWN } from './webhook-flood.ts';

const COUNT = 50_000;
const MEGABYTE = 1024 * 1024;
const key = keyed().address;

async function deliver(url: string, id: string, body: string): Promise<number> {
  const { headers } = symmetric({ id, body });
  return (await fetch(`${url}/v1/webhooks/alpha`, { method: 'POST', body, headers })).status;
}

describe('without a pace', () => {
  let host: StackProcess;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeAll(async () => {
    folder = await temporaryFolder();
    // The options of the unit in host/deploy/systemd.
    const args = ['--optimize-for-size', '--max-semi-space-size=4', join(import.meta.dirname, 'flood-host.ts'), key];
    host = await startProcess('flooded host', args, join(folder.path, 'log'));
  });
  afterAll(async () => {
    await host?.stop();
    await folder?.remove();
  });

  it(`none of ${COUNT} is accepted, one that is right still is, and memory stays`, async () => {
    const url = String(host.ready['url']);
    expect(await deliver(url, KNOWN.id, KNOWN.body)).toBe(200);
    const database = new DatabaseSync(String(host.ready['database']), { readOnly: true });
    const rows = () => database.prepare('SELECT * FROM signals').all();
    const before = rows();
    const first = await flood(url, COUNT / 10, 32);
    const early = residentBytes(host.pid);
    const rest = await flood(url, COUNT - COUNT / 10, 32);
    expect(residentBytes(host.pid) - early).toBeLessThan(20 * MEGABYTE);
    expect(rows()).toEqual(before);
    // Forged, with a changed body, or of no key; from elsewhere; the known one with another body; too large; replayed.
    for (const [{ answers }, tenth] of [[first, COUNT / 100] as const, [rest, (COUNT - COUNT / 10) / 10] as const])
      expect(answers).toEqual({ 200: tenth, 401: 5 * tenth, 403: 2 * tenth, 413: tenth, 422: tenth });
    expect(await deliver(url, 'msg-after', '{}')).toBe(200);
    expect(rows()).toHaveLength(2);
    database.close();
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
    await flood(stack.url, 2_000, 64);
    const warm = residentBytes(stack.host.pid);
    const { answers } = await flood(stack.url, 3_000, 64);
    expect(residentBytes(stack.host.pid) - warm).toBeLessThan(20 * MEGABYTE);
    expect(answers['200']).toBe(300);
    expect(rows()).toEqual(before);
    database.close();
    expect(await deliver(stack.url, 'msg-after', '{}')).toBe(200);
  }, 120_000);
});
