/** The status page as HTML: no script, one style sheet, which the policy of the page names by its hash. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { BASE_STYLE } from '../page-style/base-style.ts';
import type { OpsFacts } from './facts.ts';
import { Html, html } from './html.ts';
import { plot } from './plot.ts';

const STYLE = `${BASE_STYLE}\n${readFileSync(new URL('./page.css', import.meta.url), 'utf8')}`;
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
} as const;

export function renderPage(facts: OpsFacts): string {
  const { deployment, isSigning, now } = facts;
  const title = `${deployment}: ${isSigning ? 'signing' : 'not signing'}`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="${LIMITS.opsRefreshSeconds}">
<title>${title}</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
<main>
<header>
<h1>${deployment}</h1>
<p>As of <time>${formatTime(now)}</time>. This page changes nothing.</p>
</header>
${verdict(facts)}
${stateSection(facts)}
${plots(facts)}
${freezeSection(facts)}
${denialSection(facts)}
${witnessSection(facts)}
${enclaveSection(facts)}
</main>
</body>
</html>
`.text;
}

function verdict({ isSigning, missing }: OpsFacts): Html {
  if (isSigning) return html`<p id="verdict" class="good">✓ Signing</p>`;
  return html`<p id="verdict" class="bad">✗ Not signing: ${missing.join('; ')}</p>`;
}

function stateSection(facts: OpsFacts): Html {
  const { status, credentials, credentialsExpireAt, backlog, published, freezeCount } = facts;
  const age = (seconds: number | undefined, most: number): string =>
    seconds === undefined ? 'not known' : `${seconds} s (at most ${most})`;
  return section('State', 'state', [
    ['Phase of the enclave', status?.phase ?? 'unreachable'],
    ['Freezes', String(freezeCount)],
    ['Wallets held', status === undefined ? 'not known' : String(status.wallets)],
    [
      'Credentials',
      credentialsExpireAt === undefined ? credentials : `${credentials}, until ${formatTime(credentialsExpireAt)}`,
    ],
    ['Age of the attestation', age(status?.attestationAgeSeconds, LIMITS.attestationMaxAgeSeconds)],
    ['Age of trusted time', age(status?.timeAgeSeconds, LIMITS.trustedTimeMaxAgeSeconds)],
    [
      'KMS calls, failures',
      status === undefined ? 'not known' : `${status.kmsCalls ?? 0n}, ${status.kmsFailures ?? 0n}`,
    ],
    ['Waiting for the database', `${backlog} of ${LIMITS.storeBacklog}`],
    ['Log: leaves, published', `${status?.leaves ?? 'not known'}, ${published ?? 'not known'}`],
  ]);
}

function plots({ samples }: OpsFacts): Html {
  return html`<section id="plots"><h2>The last hour</h2>
${plot('Decisions', 'per minute', LIMITS.opsSamples, [
  { className: 'first', label: 'signed', values: samples.map(({ allowedPerMinute }) => allowedPerMinute) },
  { className: 'second', label: 'denied', values: samples.map(({ deniedPerMinute }) => deniedPerMinute) },
])}
${plot('Time of signing requests', 'ms', LIMITS.opsSamples, [
  { className: 'first', label: 'median', values: samples.map(({ medianMilliseconds }) => medianMilliseconds) },
  { className: 'second', label: 'slowest 5 %', values: samples.map(({ slowMilliseconds }) => slowMilliseconds) },
])}
</section>`;
}

function freezeSection({ freezes, freezeCount }: OpsFacts): Html {
  if (freezeCount === 0) return html``;
  const rest = freezeCount - freezes.length;
  return html`<section id="freezes"><h2>Freezes</h2>
${table(
  ['Scope', 'Since', 'Reason', 'Enclave'],
  freezes.map(({ scope, latchedAt, reason, freezeId }) => [
    scope,
    formatTime(latchedAt),
    reason,
    freezeId === undefined ? 'not acknowledged' : `acknowledged, ${toHex(freezeId)}`,
  ]),
)}
${rest === 0 ? '' : `and ${rest} more`}
</section>`;
}

function denialSection({ denials }: OpsFacts): Html {
  const rows = denials.map(({ at, rule, value, wallet }) => [formatTime(at), rule, value ?? '', wallet]);
  return html`<section id="denials"><h2>Last denials</h2>
${rows.length === 0 ? html`<p>None since this host started.</p>` : table(['Time', 'Rule', 'Value', 'Wallet'], rows)}
</section>`;
}

function witnessSection({ witnesses, status }: OpsFacts): Html {
  if (witnesses.length === 0) return html``;
  const rows = witnesses.map(([name, cosigned]) => [name, cosigned ? 'has cosigned what is published' : 'has not']);
  return html`<section id="witnesses"><h2>Witnesses</h2>
<p>${status?.witnessThreshold ?? 'Not known how many'} have to cosign before a signature leaves.</p>
${table(['Witness', 'Published checkpoint'], rows)}
</section>`;
}

function enclaveSection({ status, pcrs }: OpsFacts): Html {
  if (status === undefined) return html``;
  const note = pcrs.length === 0 ? 'not readable' : 'not verified here: qv verify attestation does that';
  return section('Enclave', 'enclave', [
    ['Boot', status.boot ?? 'not known'],
    ['Version', status.version],
    ['Configuration', toHex(status.configHash)],
    ['KMS key', status.kmsKeyArn],
    ...(status.kmsKeys ?? [])
      .filter(({ use, isAvoided }) => use !== 'current' || isAvoided)
      .map(({ keyArn, use, isAvoided }): [string, string] => [
        `KMS key, ${use}`,
        isAvoided ? `${keyArn}, does not answer` : keyArn,
      ]),
    ['Trusted time', timeOf(status.time)],
    ['PCRs', note],
    ...pcrs.map(([index, hex]): [string, string] => [`PCR${index}`, hex]),
  ]);
}

const timeOf = (time: TimeMs | undefined): string => (time === undefined ? 'not known' : formatTime(time));

function section(title: string, id: string, facts: readonly (readonly [string, string])[]): Html {
  return html`<section id="${id}"><h2>${title}</h2>
<dl>${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
</section>`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): Html {
  return html`<div class="scroll"><table>
<thead><tr>${head.map((cell) => html`<th scope="col">${cell}</th>`)}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody>
</table></div>`;
}
