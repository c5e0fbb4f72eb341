/** The text an owner signs: its exact lines, its size, and that nothing can break out of a line. */
import { type Address, addressOf, bootIdOf, hash, timeMs } from '@quantumvault/shared/brands.ts';
import { POLICY_FEATURES, parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import {
  renderCreationStatement,
  renderImportStatement,
  renderPolicyStatement,
  renderRetireStatement,
} from '@quantumvault/shared/policy/statement.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { anyAddress } from '../solana/generated.ts';
import { corpus, fullPolicy, OWNER, simplePolicy } from './cases.ts';

const before = timeMs(Date.parse('2026-11-22T13:00:00Z'));
const PRINTABLE = /^[\x20-\x7e\n]*$/;

function render(document: unknown, deployment = 'prod-eu-1'): string {
  const policy = parsePolicy(document, { support: POLICY_FEATURES });
  const hash = policyHash(policyBytes(policy));
  return renderPolicyStatement({
    policy,
    policyHash: hash,
    deployment,
    previousHash: undefined,
    enableBeforeMs: before,
  });
}

const codeOf = (action: () => unknown): string | undefined => refusalOf(action)?.code;

describe('policy statements', () => {
  it('of a simple policy', () => {
    expect(render(simplePolicy())).toMatchInlineSnapshot(`
      "qv/enable-policy/v1: enable this policy
      Deployment: prod-eu-1
      Wallet: AXQZghs6Pm6C8JWSA8ASoHXemyetSLoGERrhTZKU1fbN
      Owner: A33DLsX9NtxMY6vBKWCfu52gKnb3xdVBZr6KDbhQwN9q
      Epoch: 3
      Previous policy: none
      Enable before: 2026-11-22T13:00:00Z
      Valid: 2026-11-01T00:00:00Z until 2026-12-31T00:00:00Z
      Requesters: 2CFnHtiWX7NV2SxGmBcb4PNRu9rTcs4h65QLvicfRmyg
      Transactions: legacy, 0, 1; 8 instructions
      Fee: up to 0.0001 SOL each
      SOL: up to 1 each, to ANNqrEP92gxiVEguotNsYTqHA6sp3bLbqTatdGy76J5q
      Tokens: none
      Programs: none
      Policy SHA-256: 645bdc30fc238e233aacf1d82f65969afac916572d04ec0f1ff6bd16704bcc3b"
    `);
  });

  it('of a policy with tokens and a program, each in full', () => {
    const { tokens, programs } = fullPolicy();
    const text = render({ ...simplePolicy(), tokens, programs }).split('\n');
    expect(text.filter((line) => /^(Token|Program|WARNING)/.test(line))).toMatchInlineSnapshot(`
      [
        "Token EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v, 6 decimals: up to 500 each, 2000 per 86400 s, to ANNqrEP92gxiVEguotNsYTqHA6sp3bLbqTatdGy76J5q",
        "Program 675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8: swap, SHA-256 7adba6cacfa260b76bae9ce70c917e29",
        "WARNING: an upgradeable program can take what it is passed",
      ]
    `);
  });

  it('of a policy with everything', () => {
    expect(render(fullPolicy())).toMatchInlineSnapshot(`
      "qv/enable-policy/v1: enable this policy
      Deployment: prod-eu-1
      Wallet: AXQZghs6Pm6C8JWSA8ASoHXemyetSLoGERrhTZKU1fbN
      Owner: A33DLsX9NtxMY6vBKWCfu52gKnb3xdVBZr6KDbhQwN9q
      Epoch: 3
      Previous policy: none
      Enable before: 2026-11-22T13:00:00Z
      Valid: 2026-11-01T00:00:00Z until 2026-12-31T00:00:00Z
      Requesters: 2CFnHtiWX7NV2SxGmBcb4PNRu9rTcs4h65QLvicfRmyg
      Signals required, 2 per signal, 60 s: 2 entries, SHA-256 72a173a037306c933c1da6baadec82fe
      WARNING: only the host verifies 1 of the signal sources
      Transactions: legacy, 0; 16 instructions
      Lookup tables: 1 entry, SHA-256 d39bdf5a09268957a914344cfbde6585
      Fee: up to 0.002 SOL each, 0.009 per 86400 s
      SOL: up to 0.000000005 each, 18446744073.709551615 per 60 s, to nobody
      Tokens: 1 entry, SHA-256 eacfc10ba52d38195c890a3930f63a4b
      Programs: 1 entry, SHA-256 c1f2aeaa4b2ee5ac3f34194587b0630f
      WARNING: an upgradeable program can take what it is passed
      Rate: 60/minute, 5000/day
      Policy SHA-256: d93b2ecff91dde89298c7dbf26f596bee1bc7add54339d97f7b266665b3e71fa"
    `);
  });

  it.each(Object.keys(corpus.policies))('of %s: printable, small, the same each time', (name) => {
    const text = render(corpus.policies[name]);
    expect(text).toMatch(PRINTABLE);
    expect(text.length).toBeLessThanOrEqual(1000);
    expect(render(structuredClone(corpus.policies[name]))).toBe(text);
    expect(text.startsWith('qv/enable-policy/v1: ')).toBe(true);
  });

  it('name the previous policy', () => {
    const policy = parsePolicy(simplePolicy());
    const hash = policyHash(policyBytes(policy));
    const statement = { policy, policyHash: hash, deployment: 'd', enableBeforeMs: before };
    const text = renderPolicyStatement({ ...statement, previousHash: policyHash(new Uint8Array(1)) });
    expect(text).toContain('\nPrevious policy: 6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d\n');
  });

  it('differ whenever the policies do, also where lists are shown as hashes', () => {
    const many = {
      ...simplePolicy(),
      requesters: Array.from({ length: 16 }, (_, i) => addressOf(new Uint8Array(32).fill(i + 1))),
    };
    const text = render(many);
    expect(text).toMatch(/\nRequesters: 16 entries, SHA-256 [0-9a-f]{32}\n/);
    expect(render({ ...many, requesters: many.requesters.slice().reverse() })).not.toBe(text);
  });

  it('of random destination lists fit', () => {
    fc.assert(
      fc.property(fc.uniqueArray(anyAddress, { maxLength: 40 }), (destinations) => {
        const text = render({ ...simplePolicy(), sol: { maxPerTransaction: '1', destinations } });
        expect(text.length).toBeLessThanOrEqual(1000);
        expect(text).toMatch(PRINTABLE);
      }),
      { numRuns: 50 },
    );
  });

  it.each(['', 'two\nlines', 'ümlaut', 'a b', 'x'.repeat(65)])('refuse the deployment %j', (deployment) => {
    expect(codeOf(() => render(simplePolicy(), deployment))).toBe('field_malformed');
  });

  it('refuse to be too long', () => {
    const sources = [{ name: 'x'.repeat(64), hostVerified: true }];
    const signals = { required: true, sources, maxAgeSeconds: 1, signaturesPerSignal: 1 };
    const longest = '18446744073709551615';
    const window = { seconds: 86400, max: longest };
    const sol = { maxPerTransaction: longest, window, destinations: [OWNER] };
    const longer = { ...fullPolicy(), signals, sol, fees: { maxLamports: longest, window } };
    expect(codeOf(() => render(longer, 'd'.repeat(64)))).toBe('statement_too_long');
  });
});

describe('creation statements', () => {
  const statement = {
    deployment: 'prod-eu-1',
    owner: addressOf(new Uint8Array(32).fill(9)),
    nonce: new Uint8Array(16).fill(7),
    requesters: [addressOf(new Uint8Array(32).fill(8))],
    createBeforeMs: before,
  };

  it('say who and what', () => {
    expect(renderCreationStatement(statement)).toMatchInlineSnapshot(`
      "qv/create-wallet/v1: create a wallet
      Deployment: prod-eu-1
      Owner: cGfHiC6Kgg3FpFZvgwGcswsCRtp4aBP2fzuXRQPizuN
      Nonce: 07070707070707070707070707070707
      Create before: 2026-11-22T13:00:00Z
      Requesters: 1
      YMN9Qj5jPNp7j14VPcML1B6xGgcPWVZUGLFU3Mnyfaf"
    `);
  });

  it('fit with 16 requesters', () => {
    const requesters = Array.from({ length: 16 }, (_, index) => addressOf(new Uint8Array(32).fill(200 + index)));
    expect(requesters.every((requester) => requester.length === 44)).toBe(true);
    expect(renderCreationStatement({ ...statement, requesters }).length).toBeLessThanOrEqual(1000);
    const longest = renderCreationStatement({ ...statement, requesters, deployment: 'd'.repeat(64) });
    expect(longest.length).toBeLessThanOrEqual(1000);
  });

  it('refuse nobody, everybody, anybody twice, and a short nonce', () => {
    const bad = [
      { requesters: [] },
      { requesters: Array.from({ length: 17 }, (_, index) => addressOf(new Uint8Array(32).fill(index))) },
      { requesters: [...statement.requesters, ...statement.requesters] },
      { nonce: new Uint8Array(15) },
      { deployment: `x\nOwner: ${OWNER}` },
    ];
    for (const change of bad)
      expect(codeOf(() => renderCreationStatement({ ...statement, ...change }))).toBe('field_malformed');
  });
});

describe('import statements', () => {
  const statement = {
    deployment: 'prod-eu-1',
    owner: addressOf(new Uint8Array(32).fill(9)),
    wallet: addressOf(new Uint8Array(32).fill(6)),
    nonce: new Uint8Array(16).fill(7),
    requesters: [addressOf(new Uint8Array(32).fill(8))],
    boot: bootIdOf(new Uint8Array(32).fill(5)),
    importKey: new Uint8Array(32).fill(0xab),
    importBeforeMs: before,
  };
  const many = Array.from({ length: 16 }, (_, index) => addressOf(new Uint8Array(32).fill(200 + index)));

  it('say who, what, and which enclave', () => {
    expect(renderImportStatement(statement)).toMatchInlineSnapshot(`
      "qv/import-wallet/v1: import a key that exists outside
      Deployment: prod-eu-1
      Owner: cGfHiC6Kgg3FpFZvgwGcswsCRtp4aBP2fzuXRQPizuN
      Wallet: QWmroo4YnnMqYW3cnxWkFdaTxGD3P7vMSzwMHGbUzwF
      Nonce: 07070707070707070707070707070707
      Import before: 2026-11-22T13:00:00Z
      Boot: LbUiWL3xVV8hTFYBVdbTNrpDo41NKS6o3LHHuDzjfcY
      Import key: abababababababababababababababababababababababababababababababab
      Requesters: 1
      YMN9Qj5jPNp7j14VPcML1B6xGgcPWVZUGLFU3Mnyfaf"
    `);
  });

  it('name every requester while that fits, and then their number and hash', () => {
    const listed = renderImportStatement({ ...statement, requesters: many.slice(0, 12) });
    expect(listed.endsWith(`Requesters: 12\n${many.slice(0, 12).join('\n')}`)).toBe(true);
    expect(listed.length).toBeLessThanOrEqual(1000);
    const deployment = 'd'.repeat(64);
    const hashed = renderImportStatement({ ...statement, requesters: many, deployment });
    expect(hashed).toMatch(/\nRequesters: 16 entries, SHA-256 [0-9a-f]{32}$/);
    const reversed = renderImportStatement({ ...statement, requesters: [...many].reverse(), deployment });
    expect(reversed).not.toBe(hashed);
  });

  it('differ in every fact', () => {
    const changes: Partial<typeof statement>[] = [
      { deployment: 'prod-eu-2' },
      { owner: many[0] as Address },
      { wallet: many[0] as Address },
      { nonce: new Uint8Array(16) },
      { requesters: many.slice(0, 2) },
      { boot: bootIdOf(new Uint8Array(32).fill(4)) },
      { importKey: new Uint8Array(32) },
      { importBeforeMs: timeMs(before + 1000) },
    ];
    const texts = changes.map((change) => renderImportStatement({ ...statement, ...change }));
    expect(new Set([renderImportStatement(statement), ...texts]).size).toBe(changes.length + 1);
  });

  it('refuse nobody, everybody, anybody twice, a short nonce or import key, and a broken line', () => {
    const bad = [
      { requesters: [] },
      { requesters: [...many, addressOf(new Uint8Array(32).fill(1))] },
      { requesters: [...statement.requesters, ...statement.requesters] },
      { nonce: new Uint8Array(15) },
      { importKey: new Uint8Array(31) },
      { deployment: `x\nOwner: ${OWNER}` },
    ];
    for (const change of bad)
      expect(codeOf(() => renderImportStatement({ ...statement, ...change }))).toBe('field_malformed');
  });
});

describe('retire statements', () => {
  const statement = {
    deployment: 'prod-eu-1',
    wallet: addressOf(new Uint8Array(32).fill(2)),
    owner: addressOf(new Uint8Array(32).fill(3)),
    policyHash: hash(new Uint8Array(32).fill(4)),
    boot: bootIdOf(new Uint8Array(32).fill(5)),
    nonce: new Uint8Array(16).fill(7),
    retireBeforeMs: before,
  };

  it('say what ends, and what that means', () => {
    expect(renderRetireStatement(statement)).toMatchInlineSnapshot(`
      "qv/retire-wallet/v1: retire this wallet for good
      Deployment: prod-eu-1
      Wallet: 8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR
      Owner: CktRuQ2mttgRGkXJtyksdKHjUdc2C4TgDzyB98oEzy8
      Policy: 0404040404040404040404040404040404040404040404040404040404040404
      Boot: LbUiWL3xVV8hTFYBVdbTNrpDo41NKS6o3LHHuDzjfcY
      Nonce: 07070707070707070707070707070707
      Retire before: 2026-11-22T13:00:00Z
      It never signs again: what is left in the wallet stays there for good.
      Copies of its ciphertext elsewhere cannot be destroyed."
    `);
    expect(renderRetireStatement({ ...statement, policyHash: undefined })).toContain('\nPolicy: none\n');
  });

  it('fit the bytes that every wallet shows', () => {
    const longest = renderRetireStatement({ ...statement, deployment: 'd'.repeat(64) });
    expect(longest.length).toBeLessThanOrEqual(1000);
    expect(longest).toMatch(PRINTABLE);
  });

  it('differ in every fact', () => {
    const changes: Partial<Parameters<typeof renderRetireStatement>[0]>[] = [
      { deployment: 'prod-eu-2' },
      { wallet: addressOf(new Uint8Array(32).fill(9)) },
      { owner: addressOf(new Uint8Array(32).fill(9)) },
      { policyHash: hash(new Uint8Array(32)) },
      { policyHash: undefined },
      { boot: bootIdOf(new Uint8Array(32).fill(9)) },
      { nonce: new Uint8Array(16) },
      { retireBeforeMs: timeMs(before + 1000) },
    ];
    const texts = changes.map((change) => renderRetireStatement({ ...statement, ...change }));
    expect(new Set([renderRetireStatement(statement), ...texts]).size).toBe(changes.length + 1);
  });

  it('refuse a short nonce or policy hash, and a broken line', () => {
    const bad = [
      { nonce: new Uint8Array(15) },
      { policyHash: new Uint8Array(31) as typeof statement.policyHash },
      { deployment: `x\nOwner: ${OWNER}` },
    ];
    for (const change of bad)
      expect(codeOf(() => renderRetireStatement({ ...statement, ...change }))).toBe('field_malformed');
  });
});
