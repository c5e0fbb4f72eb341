/** Webhooks that must not count, as fast as the host answers them: every way of being wrong, in turns. */
import { Agent, request } from 'node:http';
import { asymmetric, keyed, symmetric, TEXT_SECRET, type Webhook } from '../host/webhooks/sources.ts';

/** Sources that a host under this flood has: `floodSources` is its configuration, apart from the files. */
export function floodSources(secretsFile: string, textSecretsFile: string, key: string) {
  return [
    { name: 'alpha', kind: 'standard', secretsFile, keys: [key] },
    { name: 'elsewhere', kind: 'standard', secretsFile, addresses: ['192.0.2.0/24'] },
    { name: 'tv', kind: 'tradingview', secretsFile: textSecretsFile, addresses: ['127.0.0.0/8', '::1'] },
    { name: 'tv-published', kind: 'tradingview', secretsFile: textSecretsFile },
  ];
}

/** Delivered before the flood; what is replayed is this. */
export const KNOWN = { id: 'msg-known', body: '{"side":"buy","known":true}' };

interface Attempt extends Webhook {
  readonly source: string;
}

const BIG = 'x'.repeat(3_000);
const stranger = keyed();
const wrongSecret = new Uint8Array(32).fill(99);
const json = { 'content-type': 'application/json' };

/** Number `at` of them. All but the replay are refused; that is acknowledged and changes nothing. */
export function attempt(at: number): Attempt {
  const id = `flood-${at}`;
  const stale = Math.floor(Date.now() / 1000) - 400;
  switch (at % 10) {
    case 0:
      return { source: 'alpha', ...symmetric({ id }, wrongSecret) };
    case 1:
      return { source: 'alpha', ...asymmetric(stranger, { id }) };
    case 2:
      return { source: 'alpha', ...symmetric({ id, timestamp: stale }) };
    case 3:
      return { source: 'alpha', ...symmetric(KNOWN) };
    case 4:
      return { source: 'alpha', ...symmetric({ ...KNOWN, body: `{"side":"sell","n":${at}}` }) };
    case 5:
      return { source: 'alpha', ...symmetric({ id, body: BIG }) };
    case 6:
      return { source: 'elsewhere', ...symmetric({ id }) };
    case 7:
      return { source: 'tv', body: JSON.stringify({ secret: `wrong-${at}`, side: 'buy' }), headers: json };
    case 8:
      return { source: 'tv-published', body: JSON.stringify({ secret: TEXT_SECRET, n: at }), headers: json };
    default: {
      const { body, headers } = symmetric({ id });
      return { source: 'alpha', body: body.replace('buy', 'sell'), headers };
    }
  }
}

export interface FloodReport {
  readonly seconds: number;
  /** How often each status came; `closed` where the connection was closed without an answer. */
  readonly answers: Readonly<Record<string, number>>;
}

export async function flood(url: string, count: number, connections: number): Promise<FloodReport> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const answers: Record<string, number> = {};
  const started = performance.now();
  let next = 0;
  const loop = async (): Promise<void> => {
    while (next < count) {
      const status = await send(url, agent, attempt(next++));
      answers[status] = (answers[status] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: connections }, loop));
  agent.destroy();
  return { seconds: (performance.now() - started) / 1000, answers };
}

function send(url: string, agent: Agent, { source, body, headers }: Attempt): Promise<string> {
  return new Promise((resolve) => {
    const sent = request(`${url}/v1/webhooks/${source}`, { method: 'POST', agent, headers }, (response) => {
      response.on('error', () => resolve('closed'));
      response.on('end', () => resolve(String(response.statusCode)));
      response.resume();
    });
    sent.on('error', () => resolve('closed'));
    sent.end(body);
  });
}
