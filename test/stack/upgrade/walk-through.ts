/** `npm run demo -- --upgrade`: each step either holds or throws; what is returned is what `--json` prints. */
import { HostProblem, PolicyDenied } from '@quantumvault/host/client/client.ts';
import type { Address } from '@quantumvault/shared/brands.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import type { Narrator } from '../narrator.ts';
import { transfer } from '../scenario.ts';
import { untilReady } from '../stack.ts';
import { throwawayKey } from '../throwaway.ts';
import { NEXT_THRESHOLD, NEXT_VERSION } from './next-image.ts';
import type { QvAnswer } from './qv.ts';
import { startTrader, type Trader } from './trader.ts';
import { type Images, type OwnedWallet, PATIENCE_MILLISECONDS, Upgrade } from './upgrade.ts';

export const UPGRADE_STEPS = 10;

/** How many wallets move beside the three that are looked at. */
const MORE_WALLETS = 5;
const WINDOW_LAMPORTS = '2500';

interface Scene {
  readonly upgrade: Upgrade;
  readonly tell: Narrator;
}

/** Starts two images' worth of processes, runs the steps, and stops everything however they end. */
export async function upgradeWalkThrough(tell: Narrator, signal: AbortSignal) {
  const startedAt = performance.now();
  const checked = (write: (text: string) => void) => (text: string) => {
    signal.throwIfAborted();
    write(text);
  };
  const interruptible = { ...tell, step: checked(tell.step), progress: checked(tell.progress) };
  interruptible.step('The old image serves');
  const upgrade = await Upgrade.start({ onStep: interruptible.progress, logLevel: 'warn' });
  let trader: Trader | undefined;
  try {
    const scene = { upgrade, tell: interruptible };
    const wallets = await serveOld(scene);
    const { trading } = wallets;
    trader = startTrader(upgrade.clientOf(upgrade.front.url, 'old', 'next'), trading, trading.requesterKey);
    await trader.more(5);
    interruptible.ok('a trading backend, which trusts both images, signs one transfer after the other from now on');
    const found = {
      policy: await extendPolicy(scene),
      boots: await startBeside(scene, trader),
      crashed: await crash(scene, trader, wallets),
      moved: await move(scene, trader),
      travelled: await whatTravelled(scene, wallets),
      operators: await whoOperates(scene, wallets),
      retired: await retire(scene, trader, wallets),
    };
    await trader.more(5);
    await trader.stop();
    check(trader.failures.length === 0, `requests failed: ${trader.failures.join(', ')}`);
    const log = await audit(scene, trader);
    interruptible.step('Stop everything');
    await upgrade.stop();
    tell.ok('all processes ended, all files removed');
    const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
    const signatures = Object.fromEntries(trader.signed);
    const { failures, repeats } = trader;
    return { ...found, log, signatures, failures: failures.length, repeats: repeats(), seconds };
  } finally {
    await trader?.stop();
    await upgrade.stop();
  }
}

async function serveOld({ upgrade, tell }: Scene) {
  const { stack, front } = upgrade;
  const client = upgrade.clientOf(front.url, 'old');
  const trading = await upgrade.openWallet(client);
  const windowed = await upgrade.openWallet(client, (policy) => ({
    ...policy,
    sol: { ...policy.sol, window: { seconds: 3600, max: WINDOW_LAMPORTS } },
  }));
  const frozen = await upgrade.openWallet(client);
  const others: OwnedWallet[] = [];
  while (others.length < MORE_WALLETS) others.push(await upgrade.openWallet(client));
  for (let count = 0; count < 2; count++) await signAs(upgrade, windowed);
  await upgrade.freezeWallet(frozen.wallet, stack.adminSocket);
  tell.ok(`${MORE_WALLETS + 3} wallets, each with its owner’s policy`);
  tell.ok(`of one, 2000 of ${WINDOW_LAMPORTS} lamports an hour are spent; another one is frozen`);
  tell.facts([
    ['Old image', `PCR0 ${stack.pcrs['0'] ?? ''}`],
    ['Boot', await upgrade.bootOf(stack)],
  ]);
  return { trading, windowed, frozen, others };
}

type Wallets = Awaited<ReturnType<typeof serveOld>>;

async function extendPolicy({ upgrade, tell }: Scene) {
  tell.step('The next image is measured, and the key policy allows both');
  const { pcrs } = upgrade.next;
  tell.facts([
    ['Next image', `version ${NEXT_VERSION}, other operators`],
    ['PCR0', pcrs['0'] ?? ''],
    ['PCR2', pcrs['2'] ?? ''],
  ]);
  check(pcrs['0'] !== upgrade.stack.pcrs['0'], 'both images measure the same');
  const before = await requirePolicy(upgrade, ['old']);
  tell.ok('qv key-policy check: before, the old image alone can open keys');
  await upgrade.allow('old', 'next');
  const both = await requirePolicy(upgrade, ['old', 'next']);
  tell.ok('qv init kms-policy names both; qv key-policy check: exactly these two can open keys');
  await upgrade.tellWitnesses();
  tell.ok('the witnesses were told of the next image, one after the other');
  return { before: before['images'], both: both['images'] };
}

async function startBeside({ upgrade, tell }: Scene, trader: Trader) {
  tell.step('The next enclave starts beside the old one, behind a host of its own on the same database');
  await upgrade.startBeside();
  const { second } = upgrade;
  const next = await upgrade.verifyLive(second.url, ['next']);
  check(next.ok, `the next enclave does not verify: ${next.error?.code}`);
  tell.ok('qv verify attestation: live, over a fresh nonce, with the PCRs of the next image pinned');
  const other = await upgrade.verifyLive(second.url, ['old']);
  check(other.error?.code === 'attestation_pcrs_not_allowed', 'the old PCRs verify the next image');
  tell.ok('with those of the old one it is refused: attestation_pcrs_not_allowed');
  upgrade.pointFront(second);
  await trader.more(5);
  tell.ok('callers come to the new host, which passes on what the old enclave holds');
  const boots = { old: await upgrade.bootOf(upgrade.stack), next: await upgrade.bootOf(second) };
  check(trader.signed.get(boots.next) === undefined, 'the next enclave signs for a wallet that it does not hold');
  tell.facts([['Boot', boots.next]]);
  return boots;
}

/** Between a release and its take a wallet is nobody's. */
async function crash({ upgrade, tell }: Scene, trader: Trader, { trading, others }: Wallets) {
  tell.step('The old host dies when a wallet is released and not taken yet');
  const moving = [trading, others[0]].flatMap((own) => (own === undefined ? [] : ['--wallet', own.wallet]));
  await upgrade.order('first.json', ...moving);
  const released = await upgrade.release('first.json');
  check(released.ok && released['released'] === 2, `not released: ${JSON.stringify(released)}`);
  tell.ok('qv release apply: two wallets are released, the backend’s among them; from here on nobody signs for them');
  upgrade.stack.host.kill('SIGKILL');
  await upgrade.stack.host.exited;
  tell.no('the old host is killed');
  await upgrade.stack.restartHost();
  await untilReady(upgrade.stack.url, PATIENCE_MILLISECONDS);
  const moved = await upgrade.move('first.json');
  check(moved.ok && moved['taken'] === 2, `not taken: ${JSON.stringify(moved)}`);
  tell.ok('it is started again, and the step repeated: both are taken');
  await trader.more(3);
  tell.ok('the backend’s request waited meanwhile, and was signed by the next enclave');
  return { released: released['released'], taken: moved['taken'] };
}

async function move({ upgrade, tell }: Scene, trader: Trader) {
  tell.step('All other wallets move, one after the other, while the backend goes on');
  const ordered = await upgrade.order('order.json');
  tell.ok('qv release order: signed by one operator of the old image, behind a live attestation of the next');
  const answer = await upgrade.move('order.json');
  check(answer.ok, `not all wallets moved: ${JSON.stringify(answer)}`);
  tell.ok('qv release apply --take: each is taken as soon as it is released');
  const held = MORE_WALLETS + 3;
  await upgrade.untilHeld(0, upgrade.stack);
  await upgrade.untilHeld(held, upgrade.second);
  tell.ok(`the old enclave holds none, the next one ${held}`);
  await trader.more(5);
  const boot = await upgrade.bootOf(upgrade.second);
  check((trader.signed.get(boot) ?? 0) > 0, 'the next enclave has signed nothing');
  check(trader.failures.length === 0, `requests failed: ${trader.failures.join(', ')}`);
  tell.ok('the backend has signatures of both boots, and not one request has failed');
  return { operator: ordered['operator'], released: answer['released'], taken: answer['taken'], held };
}

async function whatTravelled({ upgrade, tell }: Scene, { windowed, frozen }: Wallets) {
  tell.step('Budgets and freezes came along');
  const denied = await refusalOf(signAs(upgrade, windowed));
  check(
    denied instanceof PolicyDenied && denied.facts.path === 'sol.window' && denied.facts.value === '3000',
    `the window does not hold: ${codeOf(denied)}`,
  );
  tell.no('1000 lamports more: policy_denied, rule sol.window, value 3000');
  const stopped = codeOf(await refusalOf(signAs(upgrade, frozen)));
  check(stopped === 'frozen', `the freeze does not hold: ${stopped}`);
  tell.no('the frozen wallet: frozen');
  return { window: '3000', frozen: stopped };
}

/** The next image measured other operators: from the first second on it is theirs. */
async function whoOperates({ upgrade, tell }: Scene, { trading }: Wallets) {
  tell.step('The next enclave obeys its own operators, and not those of the old image');
  const someone = throwawayKey().signer.address;
  const freezeId = await upgrade.freezeRequester(someone);
  const old = [1, 2, 3].map((operator) => upgrade.oldOperatorPem(operator));
  const refused = [
    (await upgrade.resume(someone, freezeId, old)).error?.code,
    await upgrade.leaseByOld(trading.wallet),
    await upgrade.orderByOld(trading.wallet),
  ];
  check(
    refused.every((code) => code === 'operators_too_few'),
    `old operators are obeyed: ${refused.join(', ')}`,
  );
  tell.no('all three old operators resume, two lease a wallet, one orders its release: operators_too_few');
  const own = Array.from({ length: NEXT_THRESHOLD }, (_, index) => upgrade.next.operatorPem(index + 1));
  const few = (await upgrade.resume(someone, freezeId, own.slice(1))).error?.code;
  check(few === 'operators_too_few', `fewer new operators than measured are obeyed: ${few}`);
  const resumed = await upgrade.resume(someone, freezeId, own);
  check(resumed.ok, `the new operators are not obeyed: ${resumed.error?.code}`);
  tell.ok(`${NEXT_THRESHOLD} new operators resume`);
  return { refused, threshold: NEXT_THRESHOLD };
}

async function retire({ upgrade, tell }: Scene, trader: Trader, { trading }: Wallets) {
  tell.step('The old image is retired: its PCR0 leaves the key policy');
  const early = await upgrade.checkPolicy(['next'], ['old']);
  const faults = (early['findings'] as readonly { readonly fault: string }[]).map(({ fault }) => fault);
  check(early.exit === 1 && faults.includes('image_retired'), 'the check passes with the old PCR0 still there');
  tell.no(`qv key-policy check, before: ${faults.join(', ')}`);
  await upgrade.allow('next');
  const { images } = await requirePolicy(upgrade, ['next'], ['old']);
  tell.ok('qv key-policy check, behind it: the next image alone can open keys');
  // It still runs, with the host and the credentials that it had.
  const old = upgrade.clientOf(upgrade.stack.url, 'old');
  const refused = {
    sign: await problemOf(signAs(upgrade, trading, upgrade.stack.url)),
    create: await problemOf(upgrade.openWallet(old)),
  };
  check(
    refused.sign === 'kms_refused' && refused.create === 'kms_refused',
    `KMS answers it: ${JSON.stringify(refused)}`,
  );
  tell.no('the old enclave, which still runs, is asked to sign and to make a wallet: KMS refuses it both');
  await upgrade.stopOld();
  await trader.more(5);
  tell.ok('old host and enclave are stopped; the backend goes on');
  return { faults, images, refused };
}

async function audit({ upgrade, tell }: Scene, trader: Trader) {
  tell.step('Audit the logs of both boots: complete, linked, no gap');
  const report = await upgrade.audit();
  check(report.ok, `the logs do not verify: ${JSON.stringify(report['findings'])}`);
  const boots = report['boots'] as readonly { readonly boot: string; readonly follows?: string }[];
  const kinds = report['kinds'] as Readonly<Record<string, number>>;
  check(boots.length === 2 && boots[1]?.follows === boots[0]?.boot, 'the second log does not continue the first');
  tell.ok('qv verify log: every check passes, under both images and two of three witnesses');
  tell.ok('the log of the next boot continues that of the old one');
  const signed = [...trader.signed.values()].reduce((sum, count) => sum + count, 2);
  check(kinds['signed'] === signed, `the log has ${kinds['signed']} signatures, the backends ${signed}`);
  tell.ok(`${signed} signatures, as many as the backends have`);
  tell.facts(Object.entries(kinds).map(([kind, count]) => [kind, String(count)]));
  return { boots: boots.length, kinds, leaves: report['leaves'] };
}

async function requirePolicy(upgrade: Upgrade, allowed: Images, retired: Images = []): Promise<QvAnswer> {
  const answer = await upgrade.checkPolicy(allowed, retired);
  check(answer.ok, `the key policy does not hold: ${JSON.stringify(answer)}`);
  return answer;
}

/** @param url where it is asked; the one address of all callers unless given */
async function signAs(upgrade: Upgrade, own: OwnedWallet, url = upgrade.front.url): Promise<unknown> {
  const client = upgrade.clientOf(url, 'old', 'next');
  const { wire } = transfer(own.wallet, own.destination, 1_000n);
  return await client.sign({ wallet: own.wallet as Address, transaction: wire, requester: own.requesterKey.signer });
}

async function refusalOf(call: Promise<unknown>): Promise<unknown> {
  return await call.then(
    () => fail('it was signed'),
    (error: unknown) => error,
  );
}

async function problemOf(call: Promise<unknown>): Promise<string> {
  const error = await refusalOf(call);
  if (!(error instanceof HostProblem)) throw error;
  return error.code;
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) fail(otherwise);
}

function fail(why: string): never {
  throw new Error(why);
}
