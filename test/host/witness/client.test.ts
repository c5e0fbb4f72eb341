/** The log's side: against a real witness, and against ones that lie or say nothing. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { WitnessClient } from '@quantumvault/host/witness/client.ts';
import { concatBytes, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatSignatureLines, parseNote, verifyNote } from '@quantumvault/shared/tlog/note.ts';
import {
  type AddCheckpoint,
  formatSize,
  parseAddCheckpoint,
  SIZE_TYPE,
} from '@quantumvault/shared/tlog/witness-request.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logSigner, type NoteSigner, verify, witnessSigner } from '../../shared/tlog/keys.ts';
import { expectCode } from '../../support/codes.ts';
import { noteCode } from '../../support/codes-seen.ts';
import { TestLog, type TestWitness, testWitness, WITNESS_NAME } from './kit.ts';

let witness: TestWitness;
beforeAll(async () => {
  witness = await testWitness();
});
afterAll(() => witness.remove());

interface Counted {
  readonly client: WitnessClient;
  /** Paths asked for, with the old size of add-checkpoint. */
  readonly asked: string[];
}

/** A client that notes what it asks. */
function counted(url: string, key = witness.key, timeoutMilliseconds?: number): Counted {
  const asked: string[] = [];
  const counting: typeof fetch = (input, init) => {
    const path = new URL(String(input)).pathname.split('/').at(-1) ?? '';
    const body = init?.body as Uint8Array;
    asked.push(path === 'add-checkpoint' ? `old ${parseAddCheckpoint(body).oldSize}` : path);
    return fetch(input, init);
  };
  const options = { fetch: counting, ...(timeoutMilliseconds !== undefined && { timeoutMilliseconds }) };
  return { client: new WitnessClient({ url: new URL(url), key }, options), asked };
}

describe('a witness that does as it should', () => {
  it('is told of the log once, and asked once for each checkpoint from then on', async () => {
    const log = (await TestLog.boot()).grow(2);
    const { client, asked } = counted(witness.url);
    for (const grow of [0, 1, 7, 0, 30]) {
      log.grow(grow);
      const signature = await client.cosign(log.cosignRequest());
      const [verified] = verifyNote({ text: log.text(), signatures: [signature] }, [witness.key], verify);
      expect(verified?.key).toBe(witness.key);
    }
    expect(asked).toEqual(['old 0', 'add-log', 'old 0', 'old 3', 'old 4', 'old 11', 'old 11']);
  });

  it('tells a client that has forgotten where it was', async () => {
    const log = (await TestLog.boot()).grow(9);
    await counted(witness.url).client.cosign(log.cosignRequest(6));
    const { client, asked } = counted(witness.url);
    await client.cosign(log.cosignRequest());
    await client.cosign(log.grow(1).cosignRequest());
    expect(asked).toEqual(['old 0', 'old 6', 'old 10']);
  });

  it('tells one whose log somebody else moved', async () => {
    const log = (await TestLog.boot()).grow(3);
    const [mine, other] = [counted(witness.url), counted(witness.url)];
    await mine.client.cosign(log.cosignRequest());
    await other.client.cosign(log.grow(5).cosignRequest());
    await mine.client.cosign(log.grow(5).cosignRequest());
    expect(mine.asked).toEqual(['old 0', 'add-log', 'old 0', 'old 4', 'old 9']);
    // A checkpoint that is older than what was cosigned.
    const late = await expectCode(other.client.cosign(log.cosignRequest(11)), 'witness_size_mismatch');
    expect(late.facts.value).toBe('14');
    // Known without asking.
    await expectCode(mine.client.cosign(log.cosignRequest(11)), 'witness_size_mismatch');
    expect(mine.asked).toHaveLength(5);
  });

  it('may be below a path', async () => {
    const seen: string[] = [];
    for (const prefix of ['http://w.example/a/b', 'http://w.example/a/b/']) {
      const lost: typeof fetch = async (input) => {
        seen.push(String(input));
        throw new TypeError('lost');
      };
      const client = new WitnessClient({ url: new URL(prefix), key: witness.key }, { fetch: lost });
      const error = await expectCode(client.cosign((await TestLog.boot()).cosignRequest()), 'witness_unavailable');
      expect(error.facts.value).toBe('w.example');
    }
    expect(new Set(seen)).toEqual(new Set(['http://w.example/a/b/add-checkpoint']));
  });

  it('refuses a fork', async () => {
    const log = (await TestLog.boot()).grow(5);
    const { client } = counted(witness.url);
    await client.cosign(log.cosignRequest());
    await expectCode(client.cosign(log.forkAt(5).cosignRequest()), 'witness_root_mismatch');
    const error = await expectCode(client.cosign(log.forkAt(5).grow(1).cosignRequest()), 'witness_refused');
    expect(error.facts.value).toBe('witness_proof_invalid');
  });

  it('refuses a log it is not to follow', async () => {
    const { client, asked } = counted(witness.url);
    const log = await TestLog.boot({ userData: { logOrigin: 'example.com/other' } });
    const error = await expectCode(client.cosign(log.cosignRequest()), 'witness_refused');
    expect(error.facts.value).toBe('attestation_user_data_mismatch');
    expect(asked).toEqual(['old 0', 'add-log']);
  });

  it('keeps its connection', async () => {
    const log = await TestLog.boot();
    let connections = 0;
    const { client, server, stop } = await fake(async (request, response, signer) =>
      cosigned(request, response, signer),
    );
    server.on('connection', () => connections++);
    for (let round = 0; round < 5; round++) await client.cosign(log.grow(1).cosignRequest());
    // A second one when the first is not yet given back at the moment of asking.
    expect(connections).toBeLessThan(3);
    await stop();
  });

  it('forgets logs of long ago, and nothing comes of it', async () => {
    const { client, asked, stop } = await fake(async (request, response, signer) =>
      cosigned(request, response, signer),
    );
    const logs = await Promise.all(Array.from({ length: LIMITS.witnessRemembered + 1 }, () => TestLog.boot()));
    for (const log of logs) await client.cosign(log.cosignRequest());
    asked.length = 0;
    for (const log of [logs[0], logs.at(-1)]) if (log) await client.cosign(log.grow(1).cosignRequest());
    expect(asked).toEqual(['old 0', 'old 1']);
    await stop();
  });
});

type Handler = (request: AddCheckpoint, response: ServerResponse, signer: NoteSigner, raw: IncomingMessage) => void;

/** A witness that a test writes; its key is `signer`. */
async function fake(handler: Handler, timeoutMilliseconds?: number) {
  const signer = witnessSigner(WITNESS_NAME, 1_800_000_000n);
  const server: Server = createServer(async (raw, response) => {
    if (raw.url === '/add-log') return void response.end('{}');
    handler(parseAddCheckpoint(await buffer(raw)), response, signer, raw);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const stop = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { ...counted(`http://127.0.0.1:${port}`, signer.key, timeoutMilliseconds), server, stop };
}

function cosigned({ note }: AddCheckpoint, response: ServerResponse, signer: NoteSigner): void {
  response.end(formatSignatureLines([signer.sign(parseNote(note).text)]));
}

const answer =
  (status: number, body: string | Uint8Array = '', type = 'text/plain'): Handler =>
  (_, response) =>
    void response.writeHead(status, { 'content-type': type }).end(body);
const size = (of: bigint | string): Handler => answer(409, typeof of === 'string' ? of : formatSize(of), SIZE_TYPE);

async function outcome(handler: Handler, timeoutMilliseconds?: number) {
  const { client, asked, stop } = await fake(handler, timeoutMilliseconds);
  const log = (await TestLog.boot()).grow(4);
  const error = await client.cosign(log.cosignRequest()).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  await stop();
  if (error instanceof QvError) noteCode(error.code);
  return { error, asked };
}

describe('a witness that does not', () => {
  const textOf = ({ note }: AddCheckpoint) => parseNote(note).text;
  it.each<[string, Handler]>([
    ['nothing', answer(200)],
    ['no signature lines', answer(200, 'cosigned\n')],
    ['HTML', answer(200, '<html></html>')],
    [
      'a line of another key alone',
      (request, response) => cosigned(request, response, witnessSigner(WITNESS_NAME, 1n)),
    ],
    ['a line under another name', (request, response) => cosigned(request, response, witnessSigner('other', 1n))],
    [
      'a signature on another text',
      (_, response, signer) => void response.end(formatSignatureLines([signer.sign('text\n')])),
    ],
    [
      'itself twice',
      (request, response, signer) => {
        const line = signer.sign(textOf(request));
        response.end(formatSignatureLines([line, line]));
      },
    ],
    [
      'a bare signature',
      (request, response, signer) => {
        const { name, keyId, signature } = signer.sign(textOf(request));
        response.end(formatSignatureLines([{ name, keyId, signature: signature.subarray(8) }]));
      },
    ],
    [
      'a note instead of lines',
      ({ note }, response, signer) =>
        void response.end(concatBytes(note, utf8(formatSignatureLines([signer.sign(parseNote(note).text)])))),
    ],
    [
      'more and more',
      (_, response) => {
        const more = (): void => {
          while (!response.destroyed && response.write('x'.repeat(65_536)));
        };
        response.on('drain', more);
        more();
      },
    ],
    ['a size that is none', size('01\n')],
    ['a size without its newline', size('3')],
    ['a size beyond all', size(`${2n ** 63n}\n`)],
    ['no size', size('')],
  ])('answers with %s', async (_, handler) => {
    const { error } = await outcome(handler);
    expect(error).toMatchObject({ code: 'witness_response_invalid' });
  });

  it('is still believed about its own line among others', async () => {
    const { error } = await outcome((request, response, signer) => {
      const lines = [witnessSigner('w2', 1n), logSigner('x'), signer].map(({ sign }) => sign(textOf(request)));
      response.end(formatSignatureLines(lines));
    });
    expect(error).toBeUndefined();
  });

  it.each<[number, string, string]>([
    [400, 'witness_refused', 'HTTP 400'],
    [403, 'witness_refused', 'HTTP 403'],
    [422, 'witness_refused', 'HTTP 422'],
    [204, 'witness_refused', 'HTTP 204'],
    [429, 'witness_unavailable', 'HTTP 429'],
    [500, 'witness_unavailable', 'HTTP 500'],
    [503, 'witness_unavailable', 'HTTP 503'],
  ])('answers with %i', async (status, code, value) => {
    expect((await outcome(answer(status))).error).toMatchObject({ code, facts: { value } });
  });

  it('repeats itself: each remedy is tried once', async () => {
    const unknown = await outcome(answer(404));
    expect(unknown).toMatchObject({ error: { code: 'witness_refused', facts: { value: 'HTTP 404' } } });
    expect(unknown.asked).toEqual(['old 0', 'add-log', 'old 0']);
    const conflict = await outcome(size(3n));
    expect(conflict).toMatchObject({ error: { code: 'witness_size_mismatch', facts: { value: '3' } } });
    expect(conflict.asked).toEqual(['old 0', 'old 3']);
    const ahead = await outcome(size(6n));
    expect(ahead).toMatchObject({ error: { code: 'witness_size_mismatch', facts: { value: '6' } } });
    expect(ahead.asked).toEqual(['old 0']);
    const forked = await outcome(answer(409));
    expect(forked).toMatchObject({ error: { code: 'witness_root_mismatch' } });
    expect(forked.asked).toEqual(['old 0']);
    const all = await outcome(({ oldSize }, response, signer, raw) => {
      if (oldSize === 0n) return size(2n)({ oldSize, proof: [], note: utf8('') }, response, signer, raw);
      answer(404)({ oldSize, proof: [], note: utf8('') }, response, signer, raw);
    });
    expect(all).toMatchObject({ error: { code: 'witness_refused' }, asked: ['old 0', 'old 2'] });
  });

  it('has forgotten the log is told of it again', async () => {
    let asked = 0;
    const {
      client,
      asked: paths,
      stop,
    } = await fake((request, response, signer, raw) => {
      if (++asked === 2) answer(404)(request, response, signer, raw);
      else cosigned(request, response, signer);
    });
    const log = await TestLog.boot();
    await client.cosign(log.cosignRequest());
    await client.cosign(log.grow(1).cosignRequest());
    expect(paths).toEqual(['old 0', 'old 1', 'add-log', 'old 0']);
    await stop();
  });

  it('said a wrong size once is asked again', async () => {
    let lies = 1;
    const { client, stop } = await fake((request, response, signer, raw) => {
      if (lies-- > 0) size(1_000n)(request, response, signer, raw);
      else cosigned(request, response, signer);
    });
    const log = await TestLog.boot();
    await expectCode(client.cosign(log.cosignRequest()), 'witness_size_mismatch');
    expect((await client.cosign(log.cosignRequest())).name).toBe(WITNESS_NAME);
    await stop();
  });

  it('redirects is not followed', async () => {
    const { error } = await outcome(
      (_, response) => void response.writeHead(307, { location: `${witness.url}/add-checkpoint` }).end(),
    );
    expect(error).toMatchObject({ code: 'witness_unavailable' });
  });

  it.each<[string, Handler]>([
    ['says nothing', () => {}],
    ['stops in the middle', (_, response) => void response.writeHead(200, { 'content-length': '100' }).write('x')],
    [
      'never ends',
      (_, response) => {
        const timer = setInterval(() => response.write(' '), 10);
        response.once('close', () => clearInterval(timer));
      },
    ],
  ])('%s is given up in time', async (_, handler) => {
    const started = performance.now();
    expect((await outcome(handler, 300)).error).toMatchObject({
      code: 'witness_unavailable',
      facts: { value: 'timeout' },
    });
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it('uses up its time in all, our own work included', async () => {
    const { client, stop } = await fake(size(2n), 200);
    const log = (await TestLog.boot()).grow(4);
    const hanging = { ...log.cosignRequest(), prove: () => new Promise<never>(() => {}) };
    const error = await expectCode(client.cosign(hanging), 'witness_unavailable');
    expect(error.facts.value).toBe('timeout');
    const failing = { ...log.cosignRequest(), prove: () => Promise.reject(new Error('no tile')) };
    await expect(client.cosign(failing)).rejects.toThrow('no tile');
    await stop();
  });

  it('is not there', async () => {
    const { client } = counted('http://127.0.0.1:1');
    await expectCode(client.cosign((await TestLog.boot()).cosignRequest()), 'witness_unavailable');
  });

  it('has no key of a log', () => {
    const { key } = logSigner('log');
    expect(() => new WitnessClient({ url: new URL(witness.url), key })).toThrow('log_key_malformed');
    expect(toBase64(key.publicKey)).toHaveLength(44);
  });
});
