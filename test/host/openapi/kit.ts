/** A host with everything configured that has a route, and one right request for each operation. */
import { createHash, randomBytes } from 'node:crypto';
import type { Address } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import type { SuccessionAct } from '@quantumvault/shared/policy/succession-statement.ts';
import { expect } from 'vitest';
import { retiring, retiringJson } from '../../support/retire-kit.ts';
import { cancelling, claiming, completing, naming, successionJson } from '../../support/successor-kit.ts';
import { type Party, party } from '../../support/wallet-kit.ts';
import { Harness } from '../harness.ts';
import { base32, codeAt } from '../remote-freeze/kit.ts';
import { keyed, SECRET, secretLine, symmetric, TEXT_SECRET } from '../webhooks/sources.ts';
import { Contract, type Sent } from './contract.ts';

export const TOKENS = {
  backend: `qvt_${'b'.repeat(43)}`,
  auditor: `qvt_${'a'.repeat(43)}`,
  support: `qvt_${'s'.repeat(43)}`,
} as const;
export const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

const ANN = new Uint8Array(randomBytes(20));
export const alphaKey = keyed();

export class OpenApiHarness extends Harness {
  panicCode = '';
  /** Of the last policy that was enabled. */
  policyHash = '';
  /** To be retired: it has no policy, and nothing else is asked of it. */
  spare!: Address;
  /** To be taken over. */
  heirloom!: Address;
  readonly heir = party();
  #epoch = 0;

  constructor() {
    super();
    this.logins = [{ name: 'ann', secret: base32(ANN) }];
    this.webhookRefusalsPerSecond = 1e9;
    this.moreConfig = () => this.sources();
  }

  sources(): Record<string, unknown> {
    const tokens = Object.entries(TOKENS).map(([role, token]) => ({
      ...{ name: role, role },
      sha256: createHash('sha256').update(token).digest('hex'),
    }));
    return {
      apiTokensFile: this.writePrivate('tokens.json', JSON.stringify({ tokens })),
      webhooks: [
        {
          ...{ name: 'alpha', kind: 'standard', keys: [alphaKey.address] },
          secretsFile: this.writePrivate('secrets', secretLine(SECRET)),
        },
        {
          ...{ name: 'tv', kind: 'tradingview', addresses: ['127.0.0.1'] },
          secretsFile: this.writePrivate('text-secrets', `${TEXT_SECRET}\n`),
        },
        { name: 'elsewhere', kind: 'standard', keys: [alphaKey.address], addresses: ['192.0.2.1'] },
      ],
    };
  }

  /** Enables the next policy, so that there is one, and a panic code. */
  async enableNext(): Promise<void> {
    const { path, body } = this.enablingNext();
    const response = await this.send('PUT', path, body);
    if (response.status !== 200) throw new Error(await response.text());
    const reply = (await response.json()) as { panicCode: string; policyHash: string };
    this.panicCode = reply.panicCode;
    this.policyHash = reply.policyHash;
  }

  enablingNext(): Sent {
    const previous = this.policy === undefined ? undefined : policyHash(policyBytes(this.policy));
    const document = this.policyJson({ epoch: ++this.#epoch });
    const body = this.enabling(document, previous);
    return { path: `/v1/wallets/${this.wallet}/policy`, body };
  }

  support(change: Record<string, unknown> = {}) {
    const scope = `wallet:${this.wallet}`;
    return {
      login: 'ann',
      code: codeAt(ANN, Date.now() + this.clockSkew),
      scope,
      reason: 'the owner called',
      ...change,
    };
  }

  signed(path: string, body: unknown): Sent {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const request = this.signRequest({ body: text });
    return { path, body: request.body, headers: request.headers };
  }

  batchBody(change: Record<string, unknown> = {}) {
    const { transaction, ...rest } = this.signBody();
    return { ...rest, purpose: 'qv/sign-batch/v1', transactions: [transaction, transaction], ...change };
  }

  get draft() {
    const { policy, enableBefore } = this.enabling(this.policyJson({ epoch: 4_000 }));
    return { policy, enableBefore };
  }

  retiring(): Record<string, unknown> {
    const { boot, deployment } = this.enclave;
    return retiringJson(retiring({ deployment, boot, wallet: this.spare, owner: this.owner as Party }));
  }

  succession(act: SuccessionAct): Record<string, unknown> {
    const { boot, deployment } = this.enclave;
    const wallet = act === 'complete' ? this.heirloom : this.wallet;
    const facts = { deployment, boot, wallet, owner: this.owner as Party, change: 1 };
    const statements: Readonly<Record<SuccessionAct, () => Parameters<typeof successionJson>[1]>> = {
      name: () => naming(facts, { key: this.heir.address, delayDays: 30 }),
      claim: () => claiming(facts, this.heir),
      cancel: () => cancelling(facts, this.heir.address),
      complete: () => completing(facts, this.heir),
    };
    return successionJson(act, statements[act]());
  }

  webhook(id = this.nextId()): Sent {
    const { body, headers } = symmetric({ id });
    return { path: '/v1/webhooks/alpha', body, headers };
  }

  /** One right request for each operation. Those that change something change it each time. */
  get right(): Readonly<Record<string, () => Sent>> {
    const wallet = `/v1/wallets/${this.wallet}`;
    const boot: Address | string = this.enclave.boot;
    const headers = bearer(TOKENS.auditor);
    return {
      sign: () => this.signed('/v1/sign', this.signBody()),
      signBatch: () => this.signed('/v1/sign/batch', this.batchBody()),
      createWallet: () => ({ path: '/v1/wallets', body: this.creation() }),
      importWallet: () => ({ path: '/v1/wallets/import', body: this.importing() }),
      getWallet: () => ({ path: wallet }),
      renderPolicyStatement: () => ({ path: `${wallet}/policy/statement`, body: this.draft }),
      enablePolicy: () => this.enablingNext(),
      retireWallet: () => ({ path: `/v1/wallets/${this.spare}/retire`, body: this.retiring() }),
      nameSuccessor: () => ({ path: `/v1/wallets/${this.wallet}/successor`, body: this.succession('name') }),
      claimWallet: () => ({ path: `/v1/wallets/${this.wallet}/takeover`, body: this.succession('claim') }),
      cancelClaim: () => ({ path: `/v1/wallets/${this.wallet}/takeover/cancel`, body: this.succession('cancel') }),
      completeTakeover: () => ({
        path: `/v1/wallets/${this.heirloom}/takeover/complete`,
        body: this.succession('complete'),
      }),
      receiveWebhook: () => this.webhook(),
      freeze: () => ({ path: '/v1/freeze', body: { panicCode: this.panicCode } }),
      listWallets: () => ({ path: '/v1/wallets', headers }),
      getBudgets: () => ({ path: `${wallet}/budgets`, headers }),
      listDecisions: () => ({ path: '/v1/decisions?limit=50', headers }),
      listFreezes: () => ({ path: '/v1/freezes', headers }),
      getAttestation: () => ({ path: `/v1/attestation?nonce=${toHex(new Uint8Array(randomBytes(32)))}` }),
      getReceipt: () => ({ path: '/v1/receipts/known' }),
      listLogs: () => ({ path: '/v1/log/boots' }),
      getNewestCheckpoint: () => ({ path: '/v1/log/checkpoint' }),
      getCheckpoint: () => ({ path: `/v1/log/${boot}/checkpoint` }),
      getNewestTile: () => ({ path: '/v1/log/tile/0/000.p/1' }),
      getTile: () => ({ path: `/v1/log/${boot}/tile/entries/000.p/1` }),
      getLoggedPolicy: () => ({ path: `/v1/log/policies/${this.policyHash}` }),
      getHealth: () => ({ path: '/healthz' }),
      getReadiness: () => ({ path: '/readyz' }),
      getOpenApi: () => ({ path: '/v1/openapi.json' }),
      getReferencePage: () => ({ path: '/docs' }),
      getVerifyPage: () => ({ path: '/verify' }),
    };
  }
}

/** Each member left out, of a wrong type, and one too many. */
export function* mutations(body: Readonly<Record<string, unknown>>): Generator<[string, Record<string, unknown>]> {
  for (const key of Object.keys(body)) {
    const { [key]: _, ...rest } = body;
    yield [`${key} is left out`, rest];
    yield [`${key} is a number`, { ...body, [key]: 7 }];
    yield [`${key} is an empty object`, { ...body, [key]: {} }];
    yield [`${key} is another text`, { ...body, [key]: '?' }];
  }
  yield ['one member too many', { ...body, extra: 1 }];
}

/** A host and the document, and what tests of both do. */
export function scene() {
  const contract = new Contract();
  const host = new OpenApiHarness();
  const call = (id: string, sent: Sent): Promise<Response> => contract.call(host.host.url, id, sent);
  const rightOf = (id: string): Sent => {
    const make = host.right[id];
    if (make === undefined) throw new Error(`test/host/openapi/kit.ts has no right request for ${id}: add one`);
    return make();
  };
  const refused = async (id: string, sent: Sent, code: ErrorCode): Promise<void> => {
    const problem = (await (await call(id, sent)).json()) as { code: string };
    expect(problem.code, `${id} ${JSON.stringify(sent).slice(0, 200)}`).toBe(code);
  };
  /** With a wallet, a policy, and the signature of a request `known`. */
  const start = async (): Promise<void> => {
    await host.start();
    host.spare = await host.createWallet();
    host.heirloom = await host.createWallet();
    await host.createWallet();
    await host.enableNext();
    host.policy = parsePolicy(host.policyJson());
    const known = host.signRequest({ id: 'known' });
    expect((await host.send('POST', '/v1/sign', known.body, known.headers)).status).toBe(200);
  };
  return { contract, host, call, rightOf, refused, start };
}
