/** Enclave and host as they run on Nitro, but for the security module: every step uses what the steps before left. */
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { ERRORS, isErrorCode } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { untilReady } from '../../stack/stack.ts';
import { throwawayKey } from '../../stack/throwaway.ts';
import { imageNodeFlags } from '../../support/image-command.ts';
import type { Check } from '../checks.ts';
import { FOREIGN_PARENT_CID, STANDS_IN, vsockAddresses } from './layout.ts';
import { type Burst, burst, neverReads } from './peer.ts';
import { assert, logOf, openWallet, refusalOf, type Scene, sign, signAtLast, signOnce } from './scene.ts';

const MEBIBYTE = 1024 * 1024;
const READY_MILLISECONDS = 60_000;
/** Of the enclave, whatever its peers do. */
const GROWTH_MEBIBYTES = 64;
/** A peer that never reads costs the replies to all small requests of a chunk or two, and garbage. */
const STUCK_PEER_MEBIBYTES = 96;

async function standIn(scene: Scene): Promise<string> {
  assert(!existsSync('/dev/nsm'), 'there is a /dev/nsm');
  assert(logOf(scene, 'enclave').includes(STANDS_IN), 'the enclave did not say that the stack stands in');
  return STANDS_IN;
}

async function onlyVsock({ stack }: Scene): Promise<string> {
  const { pid } = stack.processes.enclave;
  const paths = readFileSync('/proc/net/unix', 'utf8');
  assert(!paths.includes('enclave.sock') && !paths.includes('tunnel.sock'), 'a Unix socket leads to the enclave');
  const unix = inodesIn('unix', 6);
  const network = new Set(['tcp', 'tcp6', 'udp', 'udp6'].flatMap((table) => [...inodesIn(table, 9)]));
  const sockets = readdirSync(`/proc/${pid}/fd`)
    .map((descriptor) => /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${descriptor}`))?.[1])
    .filter((inode) => inode !== undefined);
  const onVsock = sockets.filter((inode) => !network.has(inode) && !unix.has(inode));
  assert(!sockets.some((inode) => network.has(inode)), 'the enclave has a network socket');
  // Two listeners, and the host's connection to each.
  assert(onVsock.length === 4, `${onVsock.length} vsock sockets`);
  return `${onVsock.length} of ${sockets.length} sockets of the enclave are vsock, the others the kms-agent's and the module's`;
}

/** Of the sockets that the kernel lists in /proc/net, by the column that has the inode. */
function inodesIn(table: string, column: number): Set<string> {
  const lines = readFileSync(`/proc/net/${table}`, 'utf8').trim().split('\n').slice(1);
  return new Set(lines.map((line) => line.trim().split(/\s+/)[column] ?? ''));
}

async function makeWallet(scene: Scene): Promise<string> {
  scene.wallet = await openWallet(scene);
  return scene.wallet.wallet;
}

async function signs(scene: Scene): Promise<string> {
  const { leaf, lamportsOut } = await sign(scene, 1_000_000n);
  assert(lamportsOut === 1_000_000n, `${lamportsOut} lamports leave the wallet`);
  const refused = await refusalOf(sign(scene, 50_000_001n));
  assert(refused === 'policy_denied', `over the limit: ${refused}`);
  return `leaf ${leaf.sequence}; over the limit: ${refused}`;
}

/** Two connections more than the enclave takes, and twenty-five times the requests that it has under way at once. */
const FLOOD = { connections: LIMITS.connections + 2, requests: 100 };

async function flood(scene: Scene): Promise<string> {
  const { stack } = scene;
  const { data } = stack.enclaveAddresses;
  const before = residentMebibytes(stack.processes.enclave.pid);
  const bursts = Promise.all(Array.from({ length: FLOOD.connections }, () => burst(data, FLOOD.requests)));
  // The stop button, for somebody who is not of this scenario, while the flood lasts.
  const scope = `requester:${throwawayKey().signer.address}`;
  const frozen = await freezeUntilHeld(scene, scope);
  const total = (await bursts).reduce(sum);
  const grown = residentMebibytes(stack.processes.enclave.pid) - before;
  const codes = Object.keys(total.refused);
  assert(
    codes.every((code) => code === 'overloaded'),
    `refused with ${codes.join(', ')}`,
  );
  assert(total.answered > 0, 'nothing was answered');
  const settled = total.answered + (total.refused['overloaded'] ?? 0) + total.hungUp;
  assert(settled === FLOOD.connections * FLOOD.requests, `${settled} requests came to an end`);
  assert(grown <= GROWTH_MEBIBYTES, `the enclave grew by ${grown} MiB`);
  await signAtLast(scene, 1n);
  const { answered, refused, hungUp } = total;
  return `${answered} answered, ${refused['overloaded'] ?? 0} overloaded, ${hungUp} hung up on; frozen meanwhile at attempt ${frozen}; grew by ${grown} MiB`;
}

function sum(a: Burst, b: Burst): Burst {
  const refused = { ...a.refused };
  for (const [code, times] of Object.entries(b.refused)) refused[code] = (refused[code] ?? 0) + times;
  return { answered: a.answered + b.answered, refused, hungUp: a.hungUp + b.hungUp };
}

/** @returns how often it was asked */
async function freezeUntilHeld({ stack }: Scene, scope: string): Promise<number> {
  const attempts = 20;
  let answer: unknown;
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const report = await adminCall(stack.adminSocket, 'freeze', { scope, reason: 'drill' });
    const { enclaves, host, database } = report;
    if (host.held && database.held && enclaves.length === 1 && enclaves[0]?.held === true) return attempt;
    answer = { host, database, enclaves };
  }
  throw new Error(`a freeze of ${scope} was not held after ${attempts} attempts: ${JSON.stringify(answer)}`);
}

/** More signing requests at once than the host passes on. */
async function httpFlood(scene: Scene): Promise<string> {
  const outcomes = new Map<string, number>();
  const requests = Array.from({ length: LIMITS.inFlightRequests + 44 }, async (_, index) => {
    const outcome = await signOnce(scene, `flood-${index}`);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  });
  await Promise.all(requests);
  // Every refusal is one that a backend may repeat.
  const odd = [...outcomes.keys()].filter(
    (outcome) => outcome !== 'signed' && !(isErrorCode(outcome) && ERRORS[outcome].retryable),
  );
  assert(odd.length === 0, `neither signed nor cleanly refused: ${odd.join(', ')}`);
  assert((outcomes.get('signed') ?? 0) > 0, 'nothing was signed');
  await signAtLast(scene, 1n);
  return [...outcomes].map(([outcome, times]) => `${times} ${outcome}`).join(', ');
}

async function stalledPeers(scene: Scene): Promise<string> {
  const { stack } = scene;
  const before = residentMebibytes(stack.processes.enclave.pid);
  const peers = await Promise.all([1, 2].map(() => neverReads(stack.enclaveAddresses.data)));
  const stuck = peers.map((peer) => peer.stuckBytes());
  assert(
    stuck.every((bytes) => bytes > 0),
    'the enclave read on although its replies were not',
  );
  await signAtLast(scene, 2n);
  const grown = residentMebibytes(stack.processes.enclave.pid) - before;
  assert(grown <= peers.length * STUCK_PEER_MEBIBYTES, `the enclave grew by ${grown} MiB`);
  for (const peer of peers) peer.letGo();
  await signAtLast(scene, 3n);
  return `two peers that never read, stuck with ${stuck.join(', ')} bytes; the enclave grew by ${grown} MiB`;
}

/** The enclave stands still, as under a debugger or a starved processor. */
async function stalledEnclave(scene: Scene): Promise<string> {
  const { stack } = scene;
  stack.processes.enclave.kill('SIGSTOP');
  let code: string;
  try {
    const refused = refusalOf(sign(scene, 4n));
    const health = await fetch(`${stack.url}/healthz`);
    assert(health.status === 200, `the host's health: ${health.status}`);
    const { host, database, enclaves } = await adminCall(stack.adminSocket, 'freeze', {
      scope: `requester:${throwawayKey().signer.address}`,
      reason: 'drill',
    });
    assert(host.held && database.held && enclaves[0]?.held === false, 'who holds a freeze is told wrongly');
    code = await refused;
  } finally {
    stack.processes.enclave.kill('SIGCONT');
  }
  assert(['deadline_exceeded', 'enclave_unavailable', 'enclave_not_ready', 'overloaded'].includes(code), code);
  await untilReady(stack.url, READY_MILLISECONDS);
  await signAtLast(scene, 5n);
  return `a signing request: ${code}; a freeze held by host and database alone; signing again afterwards`;
}

async function killedHost(scene: Scene): Promise<string> {
  const { stack } = scene;
  stack.host.kill('SIGKILL');
  await stack.host.exited;
  await stack.restartHost();
  await untilReady(stack.url, READY_MILLISECONDS);
  const { leaf } = await signAtLast(scene, 6n);
  return `the next host signs for the same wallet, leaf ${leaf.sequence}`;
}

async function restartedEnclave(scene: Scene): Promise<string> {
  const { stack } = scene;
  stack.processes.enclave.kill('SIGKILL');
  await stack.processes.enclave.exited;
  const gone = await refusalOf(sign(scene, 7n));
  assert(ERRORS[gone].status === 503, `without an enclave: ${gone}`);
  await stack.restartEnclave();
  await untilReady(stack.url, READY_MILLISECONDS);
  const held = await refusalOf(sign(scene, 8n));
  assert(held === 'wallet_held_elsewhere', `a wallet of the enclave before: ${held}`);
  await makeWallet(scene);
  await signAtLast(scene, 9n);
  return `without an enclave: ${gone}; the old wallet: ${held}; a new one signs`;
}

async function freezes(scene: Scene): Promise<string> {
  await freezeUntilHeld(scene, 'fleet');
  const refused = await refusalOf(sign(scene, 10n));
  assert(refused === 'frozen', `after the freeze: ${refused}`);
  const direct = await burst(scene.stack.enclaveAddresses.control, 1);
  assert(direct.answered === 1, 'the control connection does not answer');
  return `after the freeze: ${refused}`;
}

/** In a loopback everybody is CID 1, which this enclave's configuration does not name. */
async function foreignParent({ stack }: Scene): Promise<string> {
  const first = JSON.parse(readFileSync(join(stack.dir, 'enclave.json'), 'utf8')) as object;
  const configFile = join(stack.dir, 'foreign.json');
  writeFileSync(configFile, JSON.stringify({ ...first, parentCid: FOREIGN_PARENT_CID }));
  const { data, control, tunnel } = vsockAddresses(1);
  const nsm = `unix:${join(stack.dir, 'nsm.sock')}`;
  await stack.start('foreign', [...imageNodeFlags(), stack.bundle.vault, configFile, nsm, data, control, tunnel]);
  for (const address of [data, control]) {
    const { answered, hungUp, refused } = await burst(address, 3);
    assert(answered === 0 && Object.keys(refused).length === 0, `it answered on ${address}`);
    assert(hungUp === 3, 'it did not hang up');
  }
  const served = await burst(stack.enclaveAddresses.data, 3);
  assert(served.answered === 3, 'the enclave whose parent this is does not answer either');
  return `an enclave of parent CID ${FOREIGN_PARENT_CID} hung up on both ports`;
}

async function stops({ stack }: Scene): Promise<string> {
  const { nsm, kms, enclave } = stack.processes;
  const all = [stack.host, enclave, kms, nsm];
  await stack.stop();
  const ends = await Promise.all(all.map(async ({ name, exited }) => `${name} ${await exited}`));
  assert(
    all.every(({ pid }) => !existsSync(`/proc/${pid}`)),
    'a process is left',
  );
  return ends.join(', ');
}

function residentMebibytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round((Number(kibibytes) * 1024) / MEBIBYTE);
}

export const SCENARIO: readonly Check<Scene>[] = [
  { name: 'the security module of the stack stands in for /dev/nsm, and the log says so', run: standIn },
  { name: 'what connects enclave and host is vsock', run: onlyVsock },
  { name: 'a wallet is created, its policy enabled', run: makeWallet },
  { name: 'a transfer is signed, one over the limit denied', run: signs },
  { name: 'a flood is answered or refused, and the stop button works meanwhile', run: flood, limitSeconds: 180 },
  { name: 'more signing requests than fit are signed or cleanly refused', run: httpFlood, limitSeconds: 180 },
  { name: 'peers that never read stop nobody else', run: stalledPeers, limitSeconds: 180 },
  { name: 'a stalled enclave leaves a host that answers, and that goes on with it afterwards', run: stalledEnclave },
  { name: 'a killed host comes back to the same enclave and wallet', run: killedHost, limitSeconds: 180 },
  {
    name: 'a restarted enclave is found again, and does not sign for the last one',
    run: restartedEnclave,
    limitSeconds: 120,
  },
  { name: 'an enclave hangs up on whoever is not its parent', run: foreignParent },
  { name: 'after a freeze nothing is signed', run: freezes },
  { name: 'everything ends when it is told to', run: stops },
];
