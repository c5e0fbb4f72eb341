/** Publishing the log when the parts it needs fail or lie. The enclave is a fake; database and HTTP are real. */

import { boundedReads } from '@quantumvault/host/evidence/bounded-reads.ts';
import { LogPublisher, type PublisherDeps } from '@quantumvault/host/evidence/publisher.ts';
import { SealedStates } from '@quantumvault/host/evidence/sealed-states.ts';
import { cosignatures, type Witness } from '@quantumvault/host/evidence/witnesses.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { Records } from '@quantumvault/host/records.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { MessageName } from '@quantumvault/shared/protocol/messages.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode, expectProblem } from '../support/codes.ts';
import { holding, rowMacOf } from '../support/row-keys.ts';
import { until } from '../support/temporary.ts';
import { Harness } from './harness.ts';

let host: Harness;
beforeEach(async () => {
  host = await Harness.withWallet();
});
afterEach(() => host.stop());

const logs = () =>
  host.sql((database) =>
    database
      .prepare('SELECT boot, size FROM logs ORDER BY number')
      .all()
      .map(({ boot, size }) => [String(boot), Number(size)] as const),
  );
const published = (size: number) =>
  until(`${size} leaves are published`, () =>
    logs().some(([boot, found]) => boot === host.enclave.boot && found >= size),
  );
const complaints = () => host.logLines.filter((line) => line.includes('the log cannot be published'));

describe('the publisher', () => {
  it('publishes by itself, without anybody asking', async () => {
    for (let index = 0; index < 5; index++) await host.sign();
    await published(8);
  });

  it('gathers what no reply has brought, from the enclave', async () => {
    await published(1);
    host.enclave.leaf({ kind: 'key-failed', rule: 'kms_refused' });
    host.enclave.leaf({ kind: 'key-failed', rule: 'kms_refused' });
    await published(5);
    const kinds = host.rows('leaves').map((row) => decodeLeaf(row['leaf'] as Uint8Array).kind);
    expect(kinds.filter((kind) => kind === 'key-failed')).toHaveLength(2);
  });

  it('says so when leaves are lost for good, and keeps the later ones all the same', async () => {
    await published(3);
    for (let index = 0; index < 4; index++) host.enclave.leaf({ kind: 'key-failed', rule: 'kms_refused' });
    const give = host.enclave.defaultHandler('leavesGet');
    host.enclave.handlers.leavesGet = ({ from }) => give({ from: from < 5n ? 5n : from });
    await until('it says so', () => host.logLines.some((line) => line.includes('leaves are lost for good')));
    await until('the rest is stored', () => host.rows('leaves').length >= 5);
    await host.sign();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    // No tree without them.
    expect(logs()[0]?.[1]).toBeLessThan(5);
  });

  it('publishes nothing that is not the enclave’s tree', async () => {
    await published(3);
    const [before] = logs();
    const stranger = new Harness().enclave;
    stranger.leaf({ kind: 'boot' });
    // Another boot's, which is no checkpoint of ours.
    host.enclave.handlers.checkpoint = () => ({ note: stranger.checkpoint() });
    await host.sign();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(logs()).toEqual([before]);
    delete host.enclave.handlers.checkpoint;
    await published(4);
  });

  it('publishes nothing when the database holds other leaves than the enclave signed', async () => {
    await published(3);
    host.enclave.handlers.checkpoint = () => 'hang';
    await host.sign();
    host.sql((database) => {
      const row = database.prepare('SELECT leaf FROM leaves WHERE sequence = 3').get();
      const leaf = Buffer.from(row?.['leaf'] as Uint8Array);
      leaf.writeUInt8(leaf.readUInt8(leaf.length - 1) ^ 1, leaf.length - 1);
      database.prepare('UPDATE leaves SET leaf = ? WHERE sequence = 3').run(leaf);
    });
    delete host.enclave.handlers.checkpoint;
    host.enclave.hangUp();
    await until('it complains', () => complaints().some((line) => line.includes('log_proof_invalid')), 15_000);
    expect(logs()[0]?.[1]).toBe(3);
  });

  it('waits for a locked database, and then publishes all of it', async () => {
    await published(3);
    const unlock = host.lockDatabase();
    await Promise.all([host.sign(), host.sign()]);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    unlock();
    await published(5);
  });

  it('tells a new boot which log it continues, by the last checkpoint published, once', async () => {
    await published(3);
    const last = host.enclave.boot;
    host.enclave.reboot();
    await published(1);
    const said = host.enclave.requests.filter(({ name }) => name === 'follow');
    expect(said).toHaveLength(1);
    const [{ checkpoint }] = said.map(({ body }) => body) as [{ checkpoint: Uint8Array }];
    const note = new TextDecoder().decode(checkpoint);
    expect(note.split('\n').slice(0, 2)).toEqual([`fake.example/qv/${last}`, '3']);
    expect(logs().map(([boot]) => boot)).toEqual([last, host.enclave.boot]);
  });
});

describe('reading the published log', () => {
  it('goes on while those who want the newest checkpoint wait for an enclave that hangs', async () => {
    await published(3);
    host.enclave.handlers.checkpoint = () => 'hang';
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const waiting = Array.from({ length: LIMITS.logReads + 2 }, () => host.get('/v1/log/checkpoint'));
    await until('they wait', () => host.enclave.count('checkpoint') > 0);
    expect((await host.get(`/v1/log/${host.enclave.boot}/tile/entries/000.p/3`)).status).toBe(200);
    delete host.enclave.handlers.checkpoint;
    for (const { status } of await Promise.all(waiting)) expect([200, 503]).toContain(status);
  });

  it('gives no bundle out of which the database has lost a leaf, nor has anybody keep what it gives', async () => {
    await published(3);
    const path = `/v1/log/${host.enclave.boot}/tile/entries/000.p/3`;
    expect((await host.get(path)).headers.get('cache-control')).toContain('immutable');
    host.sql((database) => database.prepare('DELETE FROM leaves WHERE sequence = 1').run());
    const response = await host.get(path);
    expect(response.headers.get('cache-control')).toBe('no-store');
    await expectProblem(response, 'log_unpublished');
  });

  it('has an end: more at a time are refused, and those that follow are not', async () => {
    const bounded = boundedReads();
    const { promise, resolve } = Promise.withResolvers<void>();
    const reads = Array.from({ length: LIMITS.logReads }, () => bounded(() => promise));
    await expectCode(
      bounded(async () => undefined),
      'overloaded',
    );
    resolve();
    await Promise.all(reads);
    await expectCode(
      bounded(() => Promise.reject(new QvError('log_unknown'))),
      'log_unknown',
    );
    expect(await bounded(async () => 'read')).toBe('read');
  });
});

describe('a round with witnesses', () => {
  const keyOf = (index: number) => verifierKey(`w${index}`, 'cosignature', new Uint8Array(32).fill(index + 1));

  /** One publisher, its enclave's replies as the fake gives them, a store that takes everything. */
  function round(witnessCount: number, onAsked: (session: { status: unknown }) => void = () => undefined) {
    const enclave = new Harness().enclave;
    const bootRecord = enclave.leaf({ kind: 'boot' });
    const session = {
      status: { witnessThreshold: 2 } as unknown,
      requireBoot: () => ({ id: enclave.boot, record: bootRecord }),
    };
    const notes: string[] = [];
    enclave.handlers.cosign = ({ note }) => {
      notes.push(new TextDecoder().decode(note));
      return { covered: 1n };
    };
    const request = async (name: MessageName, body: never) =>
      (enclave.handlers[name] ?? enclave.defaultHandler(name))(body);
    const published: bigint[] = [];
    const store = {
      getLogs: async () => [],
      getLeaves: async () => [],
      putTiles: async () => undefined,
      firstMissingLeaf: async () => 100n,
      publishLog: async ({ size }: { size: bigint }) => void published.push(size),
    };
    const list = Array.from({ length: witnessCount }, (_, index) => ({
      endpoint: { url: new URL('http://w.example'), key: keyOf(index) },
      cosign: async () => {
        onAsked(session);
        if (index > 1) await new Promise((resolve) => setTimeout(resolve, 10));
        return { name: `w${index}`, keyId: keyOf(index).id, signature: new Uint8Array(72) };
      },
    }));
    const deps = { enclave: { request }, session, store, records: { recovered: () => undefined }, log: silentLog };
    const publisher = new LogPublisher({ ...deps, witnesses: list } as unknown as PublisherDeps);
    return { enclave, publisher, notes, published };
  }

  it('hands the cosignatures to the enclave also if that stopped answering for a moment', async () => {
    const { publisher, notes, published } = round(2, (session) => {
      session.status = undefined;
    });
    await publisher.publish();
    expect(notes).toHaveLength(1);
    expect(published).toEqual([1n]);
  });

  it('asks all when some that were faster are not measured into the image', async () => {
    const { enclave, publisher, notes, published } = round(3);
    const take = enclave.handlers.cosign;
    enclave.handlers.cosign = (body) => {
      const reply = take?.(body);
      if (!notes.at(-1)?.includes('\u2014 w2 ')) throw new QvError('witnesses_too_few');
      return reply ?? 'hang';
    };
    await publisher.publish();
    expect(notes).toHaveLength(2);
    expect(published).toEqual([1n]);
  });
});

describe('sealed states', () => {
  const stored = () => Number(host.rows('wallets')[0]?.['state_version']);
  const blobOf = (version: bigint) => ({ state: { blob: new Uint8Array(90).fill(77), version } });
  /** A decision whose reply never comes: its leaf is all that there is. */
  const decide = (version: bigint, wallet = host.wallet) =>
    host.enclave.leaf({ kind: 'signed', wallet, stateVersion: version });
  const size = () => logs().find(([boot]) => boot === host.enclave.boot)?.[1] ?? 0;

  it('are stored before the leaves that need them are published, once for each wallet', async () => {
    await published(3);
    const asked = host.enclave.count('stateGet');
    let publishedBefore: number | undefined;
    host.enclave.handlers.stateGet = () => {
      publishedBefore ??= size();
      return blobOf(9n);
    };
    for (const version of [5n, 7n, 6n]) decide(version);
    await published(6);
    expect(publishedBefore).toBe(3);
    expect(stored()).toBe(9);
    expect(host.enclave.count('stateGet')).toBe(asked + 1);
    // A row like any other: the next signature finds it unedited.
    expect((await host.sign()).status).toBe(200);
    // Nothing is asked for what the database has.
    decide(9n);
    await published(8);
    expect(host.enclave.count('stateGet')).toBe(asked + 1);
  });

  it('that the enclave does not give hold the log back until it does', async () => {
    await published(3);
    host.enclave.handlers.stateGet = () => {
      throw new QvError('overloaded');
    };
    decide(5n);
    await until('it complains', () => complaints().some((line) => line.includes('overloaded')));
    expect(size()).toBe(3);
    host.enclave.handlers.stateGet = () => blobOf(5n);
    await published(4);
    expect(stored()).toBe(5);
  });

  it('of wallets without a row, and wallets that the enclave does not know, hold nothing back', async () => {
    await published(3);
    const asked = host.enclave.count('stateGet');
    decide(5n, host.owner.address);
    await published(4);
    expect(host.enclave.count('stateGet')).toBe(asked);
    host.enclave.handlers.stateGet = () => {
      throw new QvError('wallet_unknown');
    };
    decide(5n);
    await published(5);
    expect(host.logLines.some((line) => line.includes('the newest state of a wallet is not stored'))).toBe(true);
  });

  it('wait for a locked database no longer than one transaction does, and are published only when stored', async () => {
    const published = await host.admin('publish', {});
    expect(published).toEqual({ published: true });
    host.enclave.handlers.stateGet = () => blobOf(5n);
    const { store, records } = await storeWithRecords();
    const states = new SealedStates({
      enclave: { request: async () => blobOf(5n) } as never,
      session: { requireRowMac: () => undefined } as never,
      store,
      records,
      log: silentLog,
    });
    states.need(decide(5n).leaf);
    const unlock = host.lockDatabase();
    await states.secure();
    expect(records.statesWaiting).toBe(1);
    // What comes meanwhile takes its place, and costs no more time.
    await records.state(host.wallet, { state: { blob: new Uint8Array(90).fill(78), version: 6n } });
    unlock();
    await until('it is written', () => records.statesWaiting === 0);
    expect(stored()).toBe(6);
    records.close();
    await store.close();
  });

  async function storeWithRecords() {
    const store = await openSqliteStore({ path: host.database, log: silentLog });
    return { store, records: new Records(store, holding(rowMacOf(host.enclave.rowKey)), silentLog) };
  }
});

describe('asking witnesses', () => {
  const request = { note: new Uint8Array(), origin: 'o', size: 1n, prove: async () => [], bootRecord: {} as never };
  type Answer = () => Promise<void>;

  function witnesses(...answers: readonly Answer[]): { list: readonly Witness[]; asked: number[] } {
    const asked: number[] = [];
    const list = answers.map((answer, index) => {
      const key = verifierKey(`w${index}`, 'cosignature', new Uint8Array(32).fill(index));
      return {
        endpoint: { url: new URL('http://w.example'), key },
        cosign: async () => {
          asked.push(index);
          await answer();
          return { name: key.name, keyId: key.id, signature: new Uint8Array(72) };
        },
      };
    });
    return { list, asked };
  }
  const atOnce: Answer = async () => undefined;
  const never: Answer = () => new Promise(() => undefined);
  const refuses: Answer = async () => {
    throw new QvError('witness_refused');
  };
  const names = async (list: readonly Witness[], threshold: number) =>
    (await cosignatures(list, request, threshold, silentLog)).map(({ name }) => name);

  it('waits for as many as are needed and no more', async () => {
    expect(await names(witnesses(atOnce, never, atOnce).list, 2)).toEqual(['w0', 'w2']);
    expect(await names(witnesses(refuses, atOnce, atOnce).list, 2)).toEqual(['w1', 'w2']);
  });

  it('gives those there are when they are too few, or none is needed', async () => {
    expect(await names(witnesses(refuses, atOnce, refuses).list, 2)).toEqual(['w1']);
    expect(await names(witnesses(atOnce, refuses, atOnce).list, 0)).toEqual(['w0', 'w2']);
    expect(await names([], 0)).toEqual([]);
  });

  it('leaves one out that still works on an earlier checkpoint, unless it is needed', async () => {
    const { list, asked } = witnesses(never, atOnce, atOnce);
    await names(list, 2);
    await names(list, 2);
    expect(asked).toEqual([0, 1, 2, 1, 2]);
    await Promise.race([names(list, 3), new Promise((resolve) => setTimeout(resolve, 20))]);
    expect(asked.slice(5)).toEqual([0, 1, 2]);
  });
});
