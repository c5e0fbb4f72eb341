/** A witness over HTTP, request by request, as C2SP tlog-witness says it answers. */
import { createPublicKey, verify } from 'node:crypto';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { hash } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatCheckpoint, openCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { formatNote, parseSignatureLines } from '@quantumvault/shared/tlog/note.ts';
import { EMPTY_ROOT, MAX_LEAVES } from '@quantumvault/shared/tlog/tree.ts';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logSigner, verify as verifyNacl, witnessSigner } from '../../shared/tlog/keys.ts';
import { expectProblem } from '../../support/codes.ts';
import { noteCode } from '../../support/codes-seen.ts';
import { TestLog, type TestWitness, testWitness, WITNESS_NAME } from './kit.ts';

let witness: TestWitness;
beforeAll(async () => {
  witness = await testWitness();
});
afterAll(() => witness.remove());

async function admitted(size = 1): Promise<TestLog> {
  const log = (await TestLog.boot()).grow(size - 1);
  expect((await witness.addLog(log.bootRecord)).status).toBe(200);
  return log;
}

async function expectCosigned(response: Response, text: string): Promise<bigint> {
  const body = await response.text();
  expect([response.status, body]).toEqual([200, expect.stringMatching(/^\u2014 /)]);
  // By the specification's own words, without the product's code.
  const [, name, base64 = ''] = /^\u2014 (\S+) (\S+)\n$/.exec(body) ?? [];
  expect(name).toBe(WITNESS_NAME);
  const bytes = Buffer.from(base64, 'base64');
  expect(bytes.length).toBe(4 + 8 + 64);
  expect(bytes.readUInt32BE(0)).toBe(witness.key.id);
  const time = bytes.readBigUInt64BE(4);
  const x = Buffer.from(witness.key.publicKey).toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  const message = Buffer.from(`cosignature/v1\ntime ${time}\n${text}`, 'utf8');
  expect(verify(null, message, key, bytes.subarray(12))).toBe(true);
  return time;
}

async function expectSize(response: Response, size: number): Promise<void> {
  expect(response.status).toBe(409);
  expect(response.headers.get('content-type')).toBe('text/x.tlog.size');
  expect(await response.text()).toBe(`${size}\n`);
  noteCode('witness_size_mismatch');
}

describe('a log that grows', () => {
  it('is cosigned at each size, now', async () => {
    const log = await admitted(3);
    const before = BigInt(Math.floor(Date.now() / 1000));
    const time = await expectCosigned(await witness.addCheckpoint(log.request(0)), log.text());
    expect(time).toBeGreaterThanOrEqual(before);
    expect(time).toBeLessThanOrEqual(BigInt(Math.floor(Date.now() / 1000)));
    for (let old = 3; old < 40; old = log.size) {
      log.grow(1 + (old % 5));
      await expectCosigned(await witness.addCheckpoint(log.request(old)), log.text());
    }
  });

  it('is cosigned again at the same size', async () => {
    const log = await admitted(5);
    await expectCosigned(await witness.addCheckpoint(log.request(0)), log.text());
    await expectCosigned(await witness.addCheckpoint(log.request(5)), log.text());
  });

  it('may be empty at first', async () => {
    const log = await admitted();
    const text = formatCheckpoint({ origin: log.origin, size: 0n, root: EMPTY_ROOT, extensions: [] });
    const note = formatNote({ text, signatures: [log.signer.sign(text)] });
    await expectCosigned(await witness.addCheckpoint(log.request(0, 1, { note })), text);
    await expectCosigned(await witness.addCheckpoint(log.request(0)), log.text());
  });

  it('is cosigned with its extension lines, and whoever else has signed', async () => {
    const log = await admitted(2);
    const text = log.text(2, ['an extension', 'ä']);
    const others = [logSigner('other').sign(text), witnessSigner('witness.example/w2', 1n).sign(text)];
    const stranger = logSigner(log.origin).sign(text);
    const note = formatNote({ text, signatures: [...others, stranger, log.signer.sign(text)] });
    await expectCosigned(await witness.addCheckpoint(log.request(0, 2, { note })), text);
  });
});

describe('a log that does not', () => {
  it('older sizes, in every way to ask, get the size', async () => {
    const log = await admitted(9);
    await expectCosigned(await witness.addCheckpoint(log.request(0)), log.text());
    for (const [old, size] of [
      [0, 9],
      [0, 4],
      [4, 9],
      [8, 8],
      [4, 8],
      [0, 1],
    ] as const) {
      await expectSize(await witness.addCheckpoint(log.request(old, size)), 9);
    }
    await expectSize(await witness.addCheckpoint(log.grow(2).request(10)), 9);
    await expectCosigned(await witness.addCheckpoint(log.request(9)), log.text());
  });

  it('an old size above the checkpoint’s is no request', async () => {
    const log = await admitted(4);
    await witness.addCheckpoint(log.request(0));
    const problem = await expectProblem(await witness.addCheckpoint(log.request(4, 3)), 'witness_request_malformed');
    expect(problem.path).toBe('old');
  });

  it('another root of one size is a fork, and logged', async () => {
    const log = await admitted(6);
    const fork = log.forkAt(5);
    await expectCosigned(await witness.addCheckpoint(log.request(0)), log.text());
    const refused = await witness.addCheckpoint(fork.request(6));
    await expectProblem(refused, 'witness_root_mismatch');
    const line = witness.logLines.map((text) => JSON.parse(text)).find(({ msg }) => msg === 'fork');
    expect(line).toMatchObject({ origin: log.origin, size: '6' });
    // Two notes that the log's key has signed, of one size and two roots: anybody can check that.
    const known = { origin: log.origin, key: log.signer.key, witnesses: [] };
    const shown = [line.cosigned, line.refused].map(
      (note) => openCheckpoint(fromBase64(note), known, verifyNacl).checkpoint,
    );
    expect(shown).toMatchObject([
      { size: 6n, root: log.root() },
      { size: 6n, root: fork.root() },
    ]);
    // Not even with a proof that would be good for something.
    await expectProblem(
      await witness.addCheckpoint(fork.request(6, 6, { proof: log.proof(3) })),
      'witness_root_mismatch',
    );
    const other = formatCheckpoint({ origin: log.origin, size: 0n, root: hash(new Uint8Array(32)), extensions: [] });
    const empty = await admitted();
    const text = other.replace(log.origin, empty.origin);
    const note = formatNote({ text, signatures: [empty.signer.sign(text)] });
    await expectProblem(await witness.addCheckpoint(empty.request(0, 1, { note })), 'witness_root_mismatch');
  });

  it('a larger tree of another history has no proof', async () => {
    const log = await admitted(6);
    await expectCosigned(await witness.addCheckpoint(log.request(0)), log.text());
    const fork = log.forkAt(5).grow(4, 'fork');
    const honest = log.forkAt(6).grow(3);
    for (const proof of [
      fork.proof(6),
      honest.proof(6),
      log.proof(3),
      [],
      [hash(new Uint8Array(32))],
      Array(63).fill(log.root()),
    ]) {
      await expectProblem(await witness.addCheckpoint(fork.request(6, 10, { proof })), 'witness_proof_invalid');
    }
    // A good root with a proof that is not.
    log.grow(5);
    for (const proof of [[], log.proof(6).slice(1), log.proof(6).toReversed(), [...log.proof(6), log.root()]])
      await expectProblem(await witness.addCheckpoint(log.request(6, 11, { proof })), 'witness_proof_invalid');
    await expectCosigned(await witness.addCheckpoint(log.request(6)), log.text());
  });

  it('from nothing takes no proof, and no bounds are missed at the largest tree', async () => {
    const log = await admitted(3);
    await expectProblem(
      await witness.addCheckpoint(log.request(0, 3, { proof: [log.root()] })),
      'witness_proof_invalid',
    );
    const text = formatCheckpoint({ origin: log.origin, size: MAX_LEAVES, root: log.root(), extensions: [] });
    const note = formatNote({ text, signatures: [log.signer.sign(text)] });
    await expectCosigned(await witness.addCheckpoint(log.request(0, 3, { note })), text);
    const response = await witness.addCheckpoint(log.request(0));
    expect([response.status, await response.text()]).toEqual([409, `${MAX_LEAVES}\n`]);
    await expectCosigned(await witness.addCheckpoint(log.request(0, 3, { oldSize: MAX_LEAVES, note })), text);
  });
});

describe('who signed', () => {
  it('an unknown origin is asked to register', async () => {
    const log = await TestLog.boot();
    await expectProblem(await witness.addCheckpoint(log.request(0)), 'witness_log_unknown');
  });

  it('nobody but the log’s own key', async () => {
    const log = await admitted(2);
    const text = log.text();
    const sign = (...signatures: ReturnType<typeof log.signer.sign>[]) =>
      witness.addCheckpoint(log.request(0, 2, { note: formatNote({ text, signatures }) }));
    const good = log.signer.sign(text);
    const forged = { ...good, signature: logSigner(log.origin).sign(text).signature };
    await expectProblem(await sign(logSigner(log.origin).sign(text)), 'log_note_unsigned');
    await expectProblem(await sign(logSigner('other').sign(text)), 'log_note_unsigned');
    await expectProblem(await sign(forged), 'log_note_signature_invalid');
    await expectProblem(await sign(forged, good), 'log_note_signature_invalid');
    await expectProblem(await sign(good, good), 'log_note_signature_repeated');
    await expectProblem(await sign({ ...good, signature: good.signature.subarray(1) }), 'log_note_signature_invalid');
    await expectProblem(await sign(log.signer.sign(log.text(1))), 'log_note_signature_invalid');
  });

  it('one log’s key says nothing of another’s', async () => {
    const [mine, other] = [await admitted(2), await admitted(2)];
    const text = other.text();
    const note = formatNote({ text, signatures: [mine.signer.sign(text)] });
    await expectProblem(await witness.addCheckpoint(other.request(0, 2, { note })), 'log_note_unsigned');
  });
});

describe('bytes that are no request', () => {
  it('are refused, however they are broken, and nothing is cosigned', async () => {
    const log = await admitted(9);
    await expectCosigned(await witness.addCheckpoint(log.request(0, 4)), log.text(4));
    const good = log.request(4);
    const edit = fc.record({ at: fc.nat(good.length - 1), cut: fc.nat(4), put: fc.uint8Array({ maxLength: 4 }) });
    const edited = edit.map(({ at, cut, put }) => Buffer.concat([good.subarray(0, at), put, good.subarray(at + cut)]));
    const bodies = fc.oneof(
      edited,
      fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(bodies, async (body) => {
        if (body.equals(good)) return;
        const response = await witness.addCheckpoint(body);
        const said = await response.text();
        expect([400, 403, 404, 409, 422]).toContain(response.status);
        expect(said).not.toContain('\u2014');
        if (response.headers.get('content-type')?.startsWith('application/problem+json'))
          noteCode(JSON.parse(said).code);
      }),
      { numRuns: Number(process.env['PROPERTY_RUNS'] ?? 300) },
    );
    await expectCosigned(await witness.addCheckpoint(good), log.text());
  });

  it('name what is wrong', async () => {
    const log = await admitted();
    const code = async (body: Uint8Array | string) =>
      (
        JSON.parse(await (await witness.addCheckpoint(typeof body === 'string' ? utf8(body) : body)).text()) as {
          code: string;
        }
      ).code;
    expect(await code('')).toBe('witness_request_malformed');
    expect(await code('old 0\n\nno note')).toBe('log_note_malformed');
    expect(
      await code(log.request(0, 1, { note: formatNote({ text: 'text\n', signatures: [log.signer.sign('text\n')] }) })),
    ).toBe('log_checkpoint_malformed');
  });

  it('are bounded', async () => {
    const fits = await witness.addCheckpoint(new Uint8Array(LIMITS.witnessRequestBytes).fill(65));
    await expectProblem(fits, 'witness_request_malformed');
    const more = new Uint8Array(LIMITS.witnessRequestBytes + 1);
    await expectProblem(await witness.addCheckpoint(more), 'body_too_large');
    await expectProblem(await witness.addLog('x'.repeat(more.length)), 'body_too_large');
  });

  it('are bounded without a length, too', async () => {
    const { hostname, port } = new URL(witness.url);
    const socket = createConnection({ host: hostname, port: Number(port) });
    socket.on('error', () => {});
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    const closed = once(socket, 'close');
    socket.write('POST /add-checkpoint HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n');
    const chunk = `4000\r\n${'A'.repeat(0x4000)}\r\n`;
    for (let sent = 0; sent <= LIMITS.witnessRequestBytes && !socket.destroyed; sent += 0x4000) {
      socket.write(chunk);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await closed;
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toMatch(/connection: close/i);
  });

  it('are for routes that exist', async () => {
    for (const [method, path] of [
      ['GET', '/add-checkpoint'],
      ['PUT', '/add-checkpoint'],
      ['POST', '/add-checkpoint/'],
      ['POST', '/add-checkpoint?x'],
      ['POST', '/'],
      ['GET', '/toString'],
    ] as const) {
      await expectProblem(await fetch(witness.url + path, { method }), 'route_unknown');
    }
    const health = await fetch(`${witness.url}/healthz`);
    expect([health.status, await health.json()]).toEqual([200, { alive: true }]);
  });
});

describe('what the log of the witness says', () => {
  it('is one line per request with nothing that callers wrote', async () => {
    const log = await admitted();
    await fetch(`${witness.url}/${log.boot}?secret`, { method: 'POST' });
    const line = JSON.parse(witness.logLines.at(-1) ?? '{}');
    expect(line).toMatchObject({ msg: 'request', status: 404, code: 'route_unknown' });
    expect(JSON.stringify(line)).not.toContain('secret');
  });

  it('signature lines are what notes have', async () => {
    const log = await admitted();
    const response = await witness.addCheckpoint(log.request(0));
    const [signature] = parseSignatureLines(new Uint8Array(await response.arrayBuffer()));
    expect(signature).toMatchObject({ name: WITNESS_NAME, keyId: witness.key.id });
    expect(fromBase64(toBase64(signature?.signature ?? new Uint8Array())).length).toBe(72);
  });
});
