/** The one key that leaves the enclave: what is left of it in there, looked for in the memory of the processes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { writeFrame } from '@quantumvault/shared/frames.ts';
import { encodeRequest } from '@quantumvault/shared/protocol/messages.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { qvJson } from '../host/cli/call.ts';
import { Appliance, type ProcessName } from '../memory/appliance.ts';
import { readMemory } from '../memory/process-memory.ts';
import { requireProgram } from '../support/requires.ts';
import { until } from '../support/temporary.ts';

// The addon's, because Node's crypto leaves plaintext of the envelope in memory that it frees.
const compiler = requireProgram('cc', 'gcc libc6-dev');

describe.skipIf(compiler === undefined)('the row key', () => {
  const folder = mkdtempSync(join(tmpdir(), 'qv-row-key-'));
  let appliance: Appliance;
  let blob: Uint8Array;

  beforeAll(async () => {
    const addon = join(folder, 'qv-native.node');
    buildNative({ outFile: addon });
    appliance = await Appliance.start({ addon });
    const database = new DatabaseSync(appliance.stack.databaseFile, { readOnly: true });
    blob = new Uint8Array(database.prepare('SELECT value FROM meta WHERE name = ?').get('row-key')?.['value'] as never);
    database.close();
  });
  afterAll(async () => {
    await appliance?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** All that there have been, each once, the first one first. */
  function rowKeys(): readonly Uint8Array[] {
    const keys = appliance.records().filter(({ context }) => context['qv:purpose'] === 'row-key');
    return [...new Map(keys.map(({ secret }) => [toHex(secret), secret])).values()];
  }

  function rowKey(): Uint8Array {
    const keys = rowKeys();
    expect(keys).toHaveLength(1);
    return keys[0] ?? new Uint8Array();
  }

  /** Which forms of it a process holds. */
  async function formsIn(name: ProcessName, key = rowKey()): Promise<readonly string[]> {
    const forms: Record<string, Uint8Array> = {
      'first half': key.subarray(0, 16),
      'second half': key.subarray(16),
      hex: utf8(toHex(key)),
      base64: utf8(toBase64(key)),
      base58: utf8(toBase58(key)),
    };
    const { bytes } = await readMemory(appliance.pidOf(name));
    return Object.keys(forms).filter((form) => bytes.includes(Buffer.from(forms[form] ?? [])));
  }

  it('is in the host, and the search finds it there', async () => {
    expect(await formsIn('host')).toEqual(['first half', 'second half']);
  });

  it('leaves nothing of itself in the enclave, however often it was asked for', async () => {
    for (let round = 0; round < 50; round++) {
      const reply = await appliance.enclave.request('rowKeyUnwrap', { blob });
      expect(toHex(reply.rowKey)).toBe(toHex(rowKey()));
    }
    // The reply may be here before the enclave has heard that it left.
    await until('nothing is left', async () => (await formsIn('enclave')).length === 0);
    expect(await formsIn('kms-agent')).toEqual([]);
  });

  it('nor when who asked for it has gone, or does not read', async () => {
    const address = parseTransportAddress(appliance.stack.enclaveAddresses.data);
    const decrypts = () => appliance.records().filter(({ operation }) => operation === 'Decrypt').length;
    const before = decrypts();
    const [gone, silent] = [unixTransport.connect(address), unixTransport.connect(address)];
    for (const stream of [gone, silent]) stream.on('error', () => undefined);
    for (let id = 0; id < 8; id++)
      for (const stream of [gone, silent]) writeFrame(stream, encodeRequest(id, 'rowKeyUnwrap', { blob }));
    await until('KMS is asked', () => decrypts() > before);
    gone.destroy();
    await until('all are unwrapped', () => decrypts() === before + 16);
    await until('nothing is left', async () => (await formsIn('enclave')).length === 0);
    silent.destroy();
  });

  it('that was replaced is gone from the host, too, which has the next one', async () => {
    const old = rowKey();
    expect(await qvJson('rotate', 'row-key', '--admin', appliance.stack.adminSocket)).toMatchObject({
      state: 'current',
    });
    const [, next = old] = rowKeys();
    expect(next).not.toEqual(old);
    expect(await formsIn('host', next)).toEqual(['first half', 'second half']);
    await until('the old one is gone', async () => (await formsIn('host', old)).length === 0, 60_000);
    for (const key of [old, next])
      await until('nothing is left in the enclave', async () => (await formsIn('enclave', key)).length === 0);
  });
});
