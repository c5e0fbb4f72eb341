/** The host's doors: the admin socket, HTTP, metrics; and what stands in front of HTTP. */
import { get } from './ask.ts';
import { type Facts, hostStatus, isLoopback, urlOf } from './facts.ts';
import { type Finding, failed, networkFaultOf, ok, reasonOf, skipped, systemCodeOf, warning } from './finding.ts';

const START = 'Start it, and read its log: systemctl status qv-host@a, journalctl -u qv-host@a';

export function checkAdminSocket({ said, config: { adminSocket, deployment } }: Facts): Finding {
  const { path } = adminSocket;
  if ('value' in said) {
    const { value } = said;
    if (value.deployment !== deployment)
      return failed(
        'admin-socket',
        `${path}: the host there is of deployment ${value.deployment}, the configuration of ${deployment}`,
        'Two configurations name one socket: correct adminSocket.path or deployment.',
      );
    if (value.draining)
      return warning('admin-socket', `${path}: the host is stopping`, 'Wait for its end, then start it again.');
    return ok('admin-socket', `${path}: the host answers for ${deployment}`);
  }
  const found = `${path}: ${reasonOf(said.error)}`;
  const code = 'host_unavailable';
  switch (systemCodeOf(said.error)) {
    case 'ENOENT':
      return failed('admin-socket', `${path}: no host has made it`, START, code);
    case 'ECONNREFUSED':
      return failed('admin-socket', `${path}: left behind by a host that is dead`, START, code);
    case 'EACCES':
      return failed('admin-socket', `${path}: not for this user`, 'Call qv as root, or join the socket’s group.', code);
    default:
      return failed('admin-socket', found, 'The host hangs: look at its log and its load, then restart it.', code);
  }
}

export async function checkHttp(facts: Facts): Promise<Finding> {
  const { url, config, options } = facts;
  const isVerified = options.url !== undefined;
  if (url === undefined)
    return skipped('http', 'the configuration leaves the port to the system (listen.port 0): give --url');
  try {
    const alive = await get(new URL('healthz', slashed(url)), { isVerified });
    if (alive.status !== 200 || !alive.text.includes('"alive"'))
      return failed('http', `${url} answers HTTP ${alive.status}, but not as a host`, 'Which program listens there?');
    const ready = await get(new URL('readyz', slashed(url)), { isVerified });
    if (ready.status === 200) return ok('http', `${url} answers, and is ready`);
    const missing = failingIn(ready.text);
    return failed('http', `${url} answers, but is not ready${missing}`, 'The checks below say what is missing.');
  } catch (error) {
    const fix =
      hostStatus(facts) === undefined
        ? START
        : `The host lives: does it listen at ${config.listen.host}:${config.listen.port}, and may this machine reach it?`;
    return failed('http', `${url} does not answer: ${networkFaultOf(error)}`, fix, 'host_unreachable');
  }
}

function failingIn(text: string): string {
  const [, list = ''] = /"failing":\[([a-z",-]*)\]/.exec(text) ?? [];
  return list === '' ? '' : `: ${list.replaceAll('"', '').replaceAll(',', ', ')}`;
}

/** TLS ends in front of the host, and whom it believes about that is the configuration's to say. */
export function checkProxy({ config: { listen, tls, trustedProxies, alerts }, options }: Facts): readonly Finding[] {
  const findings: Finding[] = [];
  const given = options.url === undefined ? undefined : new URL(options.url);
  if (given !== undefined && isPlain(given))
    findings.push(
      warning(
        'proxy',
        `${given.origin} is plain HTTP over a network`,
        'Put TLS in front: a proxy, or a load balancer.',
      ),
    );
  if (!isLoopback(listen.host) && tls === undefined)
    findings.push(
      warning(
        'proxy',
        `HTTP listens on ${listen.host}, without TLS`,
        'Listen on 127.0.0.1 behind a proxy that ends TLS, or let a security group admit that proxy alone.',
      ),
    );
  for (const { url } of alerts.filter((endpoint) => isPlain(endpoint.url)))
    findings.push(warning('proxy', `alerts go to ${url.origin} over plain HTTP`, 'Give an address with https://.'));
  if (trustedProxies.some(({ prefixBits }) => prefixBits === 0))
    findings.push(
      warning(
        'proxy',
        'trustedProxies names every address there is: any client can claim to be another',
        'Name the addresses of your proxies alone.',
      ),
    );
  if (findings.length > 0) return findings;
  if (trustedProxies.length > 0)
    return [ok('proxy', `X-Forwarded-For is believed from ${trustedProxies.length} networks of proxies`)];
  if (!isLoopback(listen.host)) return [ok('proxy', `HTTPS listens on ${listen.host}, and no proxy is believed`)];
  const hint = 'With a proxy in front, name it in trustedProxies: else all behind it are one client to rate limits.';
  return [ok('proxy', 'HTTP is for this machine alone, and no proxy is believed', hint)];
}

const isPlain = ({ protocol, hostname }: URL): boolean =>
  protocol === 'http:' && !isLoopback(hostname.replace(/^\[|\]$/g, ''));

export async function checkMetrics(facts: Facts): Promise<Finding> {
  const { metrics } = facts.config;
  if (metrics === undefined) return skipped('metrics', 'not configured; qv metrics asks over the admin socket');
  const url = urlOf(metrics);
  if (url === undefined) return skipped('metrics', 'the configuration leaves the port to the system (metrics.port 0)');
  try {
    const { status, text } = await get(new URL('/metrics', url));
    if (status !== 200 || !text.includes('qv_host_info'))
      return failed(
        'metrics',
        `${url}/metrics answers HTTP ${status}, but not as a host`,
        'Which program listens there?',
      );
    if (isLoopback(metrics.host)) return ok('metrics', `${url}/metrics answers`);
    const fix = 'Admit Prometheus alone: by a security group, or listen on 127.0.0.1.';
    return warning('metrics', `${url}/metrics answers to whoever reaches it, over plain HTTP`, fix);
  } catch (error) {
    return failed('metrics', `${url}/metrics does not answer: ${networkFaultOf(error)}`, START);
  }
}

export async function checkOpsPage({ config: { opsPage } }: Facts): Promise<Finding> {
  if (opsPage === undefined) return skipped('ops-page', 'not configured');
  const url = urlOf(opsPage);
  if (url === undefined) return skipped('ops-page', 'the configuration leaves the port to the system (opsPage.port 0)');
  try {
    const { status } = await get(new URL('/', url));
    if (status === 200) return ok('ops-page', `${url} answers`);
    return failed('ops-page', `${url} answers HTTP ${status}`, 'Which program listens there?');
  } catch (error) {
    return failed('ops-page', `${url} does not answer: ${networkFaultOf(error)}`, START);
  }
}

const slashed = (url: string): string => (url.endsWith('/') ? url : `${url}/`);
