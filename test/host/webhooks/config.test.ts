/** `webhooks` in the host's configuration: what is filled in, and what is refused and where. */
import { parseHostConfig } from '@quantumvault/host/config.ts';
import { TRADINGVIEW_ADDRESSES } from '@quantumvault/host/webhooks/config.ts';
import { addressOf } from '@quantumvault/shared/brands.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';

const HOST = {
  deployment: 'test',
  listen: { host: '127.0.0.1', port: 0 },
  trustedProxies: ['10.0.0.0/8'],
  adminSocket: { path: '/run/qv/admin.sock' },
  enclave: { data: 'unix:/run/qv/data.sock', control: 'unix:/run/qv/control.sock' },
  store: { sqlite: '/var/lib/qv/host.db' },
  kmsTunnel: { listen: 'unix:/run/qv/tunnel.sock', endpoint: 'kms.eu-west-1.amazonaws.com:443' },
  credentialsFile: '/run/qv/credentials.json',
};
const parse = (webhooks: unknown, change = {}) =>
  parseHostConfig(Buffer.from(JSON.stringify({ ...HOST, webhooks, ...change })));
const { publicKey } = nacl.sign.keyPair();
const STANDARD = { name: 'alpha', kind: 'standard', secretsFile: '/etc/qv/alpha' };
const TRADINGVIEW = { name: 'tv.main', kind: 'tradingview', secretsFile: '/etc/qv/tv' };

describe('webhook sources', () => {
  it('are none unless configured', () => {
    expect(parse(undefined).webhooks).toEqual([]);
  });

  it('have defaults', () => {
    const [standard, tradingView] = parse([STANDARD, TRADINGVIEW]).webhooks;
    expect(standard).toEqual({ ...STANDARD, keys: [], keepSeconds: 3_600, toleranceSeconds: 300 });
    expect(tradingView).toEqual({
      ...TRADINGVIEW,
      addresses: TRADINGVIEW_ADDRESSES.map((text) => ({ bytes: text.split('.').map(Number), prefixBits: 32 })),
      keepSeconds: 3_600,
      secretField: 'secret',
      repeatSeconds: 60,
    });
    expect(Object.isFrozen(standard)).toBe(true);
  });

  it('take keys in both spellings, and every setting', () => {
    const keys = [addressOf(publicKey), `whpk_${toBase64(publicKey)}`];
    const { secretsFile: _, ...keyed } = STANDARD;
    expect(parse([{ ...keyed, keys }]).webhooks[0]).toMatchObject({ keys: [publicKey, publicKey] });
    const certificate = { header: 'x-client-cert', name: 'CN=TradingView Webhooks,O=TradingView, Inc.' };
    const all = { secretField: 'password', idField: 'id', repeatSeconds: 5, keepSeconds: 60, certificate };
    expect(parse([{ ...TRADINGVIEW, ...all, addresses: ['2001:db8::/32'] }]).webhooks[0]).toMatchObject(all);
  });

  const wrong: [string, string, unknown][] = [
    ['no list', 'webhooks', {}],
    ['too many', 'webhooks', Array.from({ length: 65 }, (_, at) => ({ ...STANDARD, name: `s${at}` }))],
    ['no object', 'webhooks[0]', ['alpha']],
    ['an unknown key', 'webhooks[0].secret', [{ ...STANDARD, secret: 'whsec_AAAA' }]],
    ['a key of the other kind', 'webhooks[0].idField', [{ ...STANDARD, idField: 'id' }]],
    ['a kind that is none', 'webhooks[0].kind', [{ ...STANDARD, kind: 'github' }]],
    ['a name that no policy has', 'webhooks[0].name', [{ ...STANDARD, name: 'a b' }]],
    ['a name twice', 'webhooks[1].name', [STANDARD, { ...TRADINGVIEW, name: 'alpha' }]],
    ['neither secret nor key', 'webhooks[0].secretsFile', [{ name: 'a', kind: 'standard' }]],
    ['a relative path', 'webhooks[0].secretsFile', [{ ...STANDARD, secretsFile: 'alpha' }]],
    ['no secret', 'webhooks[0].secretsFile', [{ name: 'a', kind: 'tradingview' }]],
    ['nobody admitted', 'webhooks[0].addresses', [{ ...STANDARD, addresses: [] }]],
    ['an address by name', 'webhooks[0].addresses', [{ ...STANDARD, addresses: ['example.org'] }]],
    ['too many keys', 'webhooks[0].keys', [{ ...STANDARD, keys: Array(5).fill(addressOf(publicKey)) }]],
    ['a key that is none', 'webhooks[0].keys[1]', [{ ...STANDARD, keys: [addressOf(publicKey), 'whpk_AAAA'] }]],
    ['a key that is no text', 'webhooks[0].keys[0]', [{ ...STANDARD, keys: [7] }]],
    ['no time at all', 'webhooks[0].toleranceSeconds', [{ ...STANDARD, toleranceSeconds: 0 }]],
    ['too much time', 'webhooks[0].toleranceSeconds', [{ ...STANDARD, toleranceSeconds: 3_601 }]],
    ['ids forgotten too soon', 'webhooks[0].keepSeconds', [{ ...STANDARD, keepSeconds: 330 }]],
    ['signals kept too long', 'webhooks[0].keepSeconds', [{ ...STANDARD, keepSeconds: 31 * 86_400 + 1 }]],
    ['repeats known for longer', 'webhooks[0].keepSeconds', [{ ...TRADINGVIEW, repeatSeconds: 61, keepSeconds: 60 }]],
    ['no name of a member', 'webhooks[0].secretField', [{ ...TRADINGVIEW, secretField: '' }]],
    ['no name of a header', 'webhooks[0].certificate.header', [{ ...TRADINGVIEW, certificate: { header: 'A B' } }]],
    [
      'no value of a header',
      'webhooks[0].certificate.name',
      [{ ...TRADINGVIEW, certificate: { header: 'x-cn', name: ' a' } }],
    ],
  ];
  it.each(wrong)('refuses %s', async (_, path, webhooks) => {
    expect((await expectCode(() => parse(webhooks), 'config_invalid')).facts.path).toBe(path);
  });

  it('refuses certificates that nobody is trusted to pass on', async () => {
    const certificate = { header: 'x-client-cert', name: 'CN=TradingView Webhooks' };
    const refused = () => parse([{ ...TRADINGVIEW, certificate }], { trustedProxies: [] });
    expect((await expectCode(refused, 'config_invalid')).facts.path).toBe('webhooks[0].certificate');
  });
});
