/** The real process: its ready line, its end, what survives it, and two of them on one directory. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WitnessClient } from '@quantumvault/host/witness/client.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { parseNote, parseSignatureLines, verifyNote } from '@quantumvault/shared/tlog/note.ts';
import { parseVerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { verify } from '../../shared/tlog/keys.ts';
import { type StackProcess, startProcess } from '../../stack/process.ts';
import { type LocalWitness, makeWitness, witnessArguments, writeMeasurements } from '../../stack/witness.ts';
import { temporaryFolder, until } from '../../support/temporary.ts';
import { qvJson } from '../cli/call.ts';
import { bodyOf, CONFIG_HASH, LOG_ORIGIN, PCR_SET, requestsTo, sharedNsm, TestLog, WITNESS_NAME } from './kit.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let local: LocalWitness;
let args: readonly string[];
const running: StackProcess[] = [];

beforeAll(async () => {
  folder = await temporaryFolder();
  local = makeWitness(join(folder.path, 'witness'), WITNESS_NAME);
  const { rootCertificateDer } = await sharedNsm();
  const rootPem = join(folder.path, 'root.pem');
  const base64 = Buffer.from(rootCertificateDer).toString('base64').replace(/.{64}/g, '$&\n');
  writeFileSync(rootPem, `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`);
  const pcrs = Object.fromEntries([...PCR_SET.pcrs].map(([index, value]) => [index, toHex(value)]));
  const pcrsFile = writeMeasurements(join(folder.path, 'pcrs.json'), pcrs);
  const configHash = toHex(CONFIG_HASH);
  args = witnessArguments({ dir: local.dir, logOrigin: LOG_ORIGIN, pcrsFile, rootPem, configHash });
});
afterEach(async () => {
  for (const process of running.splice(0)) {
    process.kill('SIGKILL');
    await process.exited;
  }
});
afterAll(() => folder.remove());

async function start(): Promise<{ process: StackProcess; url: string } & ReturnType<typeof requestsTo>> {
  const process = await startProcess('witness', args, join(folder.path, 'witness.log'));
  running.push(process);
  const url = String(process.ready['url']);
  return { process, url, ...requestsTo(url) };
}

describe('the process', () => {
  it('says where it listens and who it is, cosigns, and ends with 0', async () => {
    const { process, url } = await start();
    expect(process.ready).toEqual({
      ready: true,
      url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      key: local.vkey,
    });
    const key = parseVerifierKey(String(process.ready['key']));
    const client = new WitnessClient({ url: new URL(url), key });
    const log = (await TestLog.boot()).grow(5);
    const signature = await client.cosign(log.cosignRequest());
    expect(verifyNote({ text: log.text(), signatures: [signature] }, [key], verify)).toHaveLength(1);
    for (const file of ['witness.db', 'witness.db-wal', 'witness.db-shm'])
      expect(statSync(join(local.dir, file)).mode & 0o077).toBe(0);
    await process.stop();
    expect(await process.exited).toBe(0);
  });

  it('ends with its parent, and does not wait for idle connections', async () => {
    const child = spawn(process.execPath, [...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    const exit = once(child, 'exit');
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const { url } = JSON.parse(line.toString()) as { url: string };
    await fetch(`${url}/healthz`);
    const { hostname, port } = new URL(url);
    const idle = createConnection({ host: hostname, port: Number(port) });
    idle.on('error', () => {});
    await once(idle, 'connect');
    let rest = '';
    child.stdout.on('data', (chunk) => {
      rest += chunk;
    });
    const asked = performance.now();
    child.stdin.end();
    expect(await exit).toEqual([0, null]);
    expect(performance.now() - asked).toBeLessThan(8_000);
    expect(rest).toBe('');
  });

  it('finishes what is under way', async () => {
    const { process, url, addLog } = await start();
    const log = await TestLog.boot();
    await addLog(log.bootRecord);
    const body = log.request(0);
    const { hostname, port } = new URL(url);
    const socket = createConnection({ host: hostname, port: Number(port) });
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.write(`POST /add-checkpoint HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n`);
    socket.write(body.subarray(0, 10));
    await sleep(100);
    process.kill('SIGTERM');
    await sleep(100);
    socket.write(body.subarray(10));
    await once(socket, 'close');
    expect(answer).toMatch(/^HTTP\/1\.1 200 .*connection: close.*\u2014 /is);
    expect(await process.exited).toBe(0);
  });

  it('remembers across a restart, and across kill -9', async () => {
    const log = (await TestLog.boot()).grow(4);
    let witness = await start();
    await witness.addLog(log.bootRecord);
    expect((await witness.addCheckpoint(log.request(0))).status).toBe(200);
    await witness.process.stop();
    witness = await start();
    const fork = log.forkAt(4);
    expect((await witness.addCheckpoint(fork.request(5))).status).toBe(409);
    expect((await witness.addCheckpoint(log.request(0, 3))).status).toBe(409);
    expect((await witness.addCheckpoint(log.grow(3).request(5))).status).toBe(200);
    witness.process.kill('SIGKILL');
    await witness.process.exited;
    witness = await start();
    const forgotten = await witness.addCheckpoint(log.request(0));
    expect([forgotten.status, await forgotten.text()]).toEqual([409, '8\n']);
    expect((await witness.addCheckpoint(log.request(8))).status).toBe(200);
  });

  it('killed at any moment, it has stored whatever it cosigned', async () => {
    const log = await TestLog.boot();
    for (let round = 0; round < 3; round++) {
      const witness = await start();
      await witness.addLog(log.bootRecord);
      const client = new WitnessClient({ url: new URL(witness.url), key: local.key });
      let cosigned = 0;
      const asking = (async () => {
        for (;;) {
          await client.cosign(log.grow(1).cosignRequest());
          cosigned = log.size;
        }
      })().catch(() => undefined);
      await until('it cosigned', () => cosigned > 0);
      await sleep(Math.random() * 60);
      witness.process.kill('SIGKILL');
      await asking;
      await witness.process.exited;
      const again = await start();
      const response = await again.addCheckpoint(log.request(0));
      expect(response.status).toBe(409);
      expect(Number(await response.text())).toBeGreaterThanOrEqual(cosigned);
      await again.process.stop();
    }
  });
});

/** Sizes and roots in what was cosigned; throws when one size has two roots. */
class Statements {
  readonly #roots = new Map<string, string>();

  note(text: string): void {
    const [, size = '', root = ''] = text.split('\n');
    const known = this.#roots.get(size) ?? root;
    expect(known).toBe(root);
    this.#roots.set(size, root);
  }

  get count(): number {
    return this.#roots.size;
  }

  get sizes(): readonly string[] {
    return [...this.#roots.keys()];
  }
}

describe('many at once', () => {
  it.each([1, 2])('two histories of one log, asked of %i process(es) on one directory: never both', async (count) => {
    const log = (await TestLog.boot()).grow(9);
    const processes = await Promise.all(Array.from({ length: count }, start));
    await processes[0]?.addLog(log.bootRecord);
    expect((await processes[0]?.addCheckpoint(log.request(0)))?.status).toBe(200);
    const statements = new Statements();
    // From every size one history may have reached, to the next sizes of it, from everybody at the same time.
    const histories = [log.forkAt(10).grow(7, 'left'), log.forkAt(10).grow(7, 'right')];
    const requests = histories.flatMap((history) =>
      Array.from({ length: 8 }, (_, step) => 10 + step).flatMap((old) =>
        Array.from({ length: Math.min(history.size - old, 2) + 1 }, (_, more) => ({
          body: history.request(old, old + more),
          text: history.text(old + more),
        })),
      ),
    );
    const statuses = new Map<number, number>();
    const ask = async ({ body, text }: (typeof requests)[number], index: number): Promise<void> => {
      const response = await fetch(`${processes[index % count]?.url}/add-checkpoint`, {
        method: 'POST',
        body: bodyOf(body),
      });
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      const lines = new Uint8Array(await response.arrayBuffer());
      if (response.status !== 200) return;
      verifyNote({ text, signatures: parseSignatureLines(lines) }, [local.key], verify);
      statements.note(text);
    };
    const shuffled = [...requests, ...requests].sort(() => Math.random() - 0.5);
    await Promise.all(shuffled.map(ask));
    // However far that came, in order the history that won goes on to its end, and the other one does not.
    for (const [index, request] of requests.entries()) await ask(request, index);
    expect(statements.sizes).toContain(String(histories[0]?.size));
    expect(statements.count).toBeGreaterThan(1);
    expect([...statuses.keys()].every((status) => [200, 409, 422, 503].includes(status))).toBe(true);
    expect(statuses.get(200)).toBeGreaterThan(1);
    // One of the histories is what it is, for both processes.
    const sizes = await Promise.all(
      processes.map(async ({ addCheckpoint }) => await (await addCheckpoint(log.request(0, 1))).text()),
    );
    expect(new Set(sizes).size).toBe(1);
  });

  it('two publishers through two processes move one log together', async () => {
    const log = await TestLog.boot();
    const processes = [await start(), await start()];
    const clients = processes.map(({ url }) => new WitnessClient({ url: new URL(url), key: local.key }));
    log.grow(60);
    let cosigned = 0;
    await Promise.all(
      clients.map(async (client, mine) => {
        for (let size = 1 + mine; size <= log.size; size += 2) {
          const request = log.cosignRequest(size);
          await client.cosign(request).then(
            (signature) => {
              verifyNote({ text: parseNote(request.note).text, signatures: [signature] }, [local.key], verify);
              cosigned++;
            },
            (error: unknown) => expect(error).toMatchObject({ code: 'witness_size_mismatch' }),
          );
        }
      }),
    );
    expect(cosigned).toBeGreaterThan(10);
  });
});

describe('a start that cannot be', () => {
  const withOption = (name: string, value: string): string[] => {
    // Without interpreter file and --exit-with-parent: standard input is this test's.
    const rest = args.slice(1).filter((word) => word !== '--exit-with-parent');
    rest[rest.indexOf(`--${name}`) + 1] = value;
    return rest;
  };

  it.each([
    ['dir', '/nowhere', 'config_invalid'],
    ['listen', 'nowhere', 'usage_invalid'],
    ['listen', '127.0.0.1:65536', 'usage_invalid'],
    ['listen', '192.0.2.1:0', 'config_invalid'],
    ['pcrs', '/nowhere', 'input_unreadable'],
    ['log-origin', 'a b', 'usage_invalid'],
    ['log-origin', 'a+b', 'usage_invalid'],
    ['config-hash', 'ab', 'usage_invalid'],
    ['config-hash', 'x', 'hex_malformed'],
    ['unsafe-trusted-root', '/dev/null', 'input_unreadable'],
  ])('--%s %s', async (name, value, code) => {
    expect(await qvJson(...withOption(name, value))).toMatchObject({ ok: false, exit: 2, error: { code } });
  });

  it('without an image that is allowed', async () => {
    const [, ...rest] = args;
    const at = rest.indexOf('--pcrs');
    rest.splice(at, 2);
    expect(await qvJson(...rest)).toMatchObject({ exit: 2, error: { value: '--pcrs is required' } });
    writeFileSync(join(folder.path, 'none.json'), '[]');
    expect(await qvJson(...withOption('pcrs', join(folder.path, 'none.json')))).toMatchObject({ exit: 2 });
  });
});
