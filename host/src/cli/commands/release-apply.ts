/** qv release apply: gives an order to the old host, and writes down what its enclave gave away. */
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import type { ReleaseOrder } from '@quantumvault/shared/evidence/succession.ts';
import { operatorSignedJson, stateJson } from '../../admin/succession-json.ts';
import type { AdminCommands } from '../../admin-protocol.ts';
import { signedBytesJson } from '../../wire-json.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Command } from '../command.ts';
import { inWallets, progressBar } from '../progress.ts';
import { readOrderFile } from '../succession/files.ts';
import {
  eachOf,
  everyRow,
  type Failure,
  failureOf,
  type Moves,
  moveCall,
  movesExit,
  movesText,
  publishLog,
} from '../succession/moves.ts';
import { ReleasesFile, readReleases } from '../succession/releases-file.ts';
import { printable, table } from '../terminal.ts';
import { oneOperand } from '../text-input.ts';

export const releaseApply: Command = {
  name: 'release apply',
  summary: 'Have the old host’s enclave release its wallets as an order says, into a file.',
  details: [
    'From its release on the old enclave signs nothing for a wallet. Each release is on the disk before the',
    'next is asked for; given again, the command goes on where it ended, and the enclave answers as before.',
    'At the end the old boot’s log is published, which has to show the releases before that boot ends.',
    'Keep the old host and enclave running until qv release take is done: then no release can be lost.',
    'With --take the new host’s enclave takes each wallet as soon as it is released, so that wallets move one',
    'after the other while both hosts serve. When one is not taken, no further ones are released.',
  ],
  operands: '<order file>',
  options: {
    admin: ADMIN_OPTION,
    out: { value: '<file>', help: 'releases, for qv release take; goes on with one of the same order', required: true },
    take: {
      value: '<socket>',
      help: 'admin socket of the new host, on this machine: have its enclave take them at once',
    },
  },
  run: async (args, { stderr }) => {
    const { signed, order } = readOrderFile(oneOperand(args, 'order file'));
    const socket = adminSocket(args);
    const successor = args.optional('take');
    if (successor !== undefined) await requireTaker(successor, order);
    const out = args.text('out');
    const json = operatorSignedJson(signed);
    const file = await ReleasesFile.open(out, order);
    const before = file.size;
    // What an earlier call released and nobody took signs nowhere: it goes first.
    const taker = successor === undefined ? undefined : await Taker.after(successor, before === 0 ? undefined : out);
    const bar = progressBar(stderr, 'moving', { amounts: inWallets });
    const failures: Failure[] = [];
    let [elsewhere, retired] = [0, 0];
    try {
      const total = order.wallets?.length ?? (await heldBy(socket));
      await eachOf(order.wallets ?? everyRow(socket), async (wallet) => {
        if (file.has(wallet) || taker?.hasFailed === true) return;
        try {
          const released = await moveCall(socket, 'release', { wallet, order: json });
          file.add(wallet, released);
          await taker?.take({ wallet, ...released });
          bar.update(file.size, total);
        } catch (error) {
          // Of all rows some are others' wallets; of those that were named none should be.
          if (order.wallets === undefined && codeOf(error) === 'wallet_unknown') elsewhere++;
          // It signs nothing, and has no use for a successor.
          else if (codeOf(error) === 'wallet_retired') retired++;
          else failures.push(failureOf(wallet, error));
        }
      });
    } finally {
      bar.clear();
      file.close();
    }
    const released = file.size - before;
    const moves: Moves = {
      counts: [
        ['released', released],
        ['released before', before],
        ...(taker === undefined ? [] : [['taken', taker.taken] as const]),
        ['not held here', elsewhere],
        ['retired, which stay', retired],
      ],
      failures: [...failures, ...(taker?.failures ?? [])],
      unpublished: (await publishLog(socket)) ?? (successor === undefined ? undefined : await publishLog(successor)),
    };
    const published = moves.unpublished === undefined;
    return {
      exit: movesExit(moves),
      json: {
        ...{ out, released, before, elsewhere, retired, published, failures: moves.failures },
        ...(taker && { taken: taker.taken, already: taker.already }),
      },
      text: (style) => [...movesText(moves, style), ...table([['Written', printable(out)]], style)],
    };
  },
};

/** Takes wallets where they were released to. */
class Taker {
  readonly #socket: string;
  readonly failures: Failure[] = [];
  taken = 0;
  already = 0;

  private constructor(socket: string) {
    this.#socket = socket;
  }

  /** @param out a file of releases that are to be taken before any other */
  static async after(socket: string, out: string | undefined): Promise<Taker> {
    const taker = new Taker(socket);
    if (out === undefined) return taker;
    await eachOf(readReleases(out), ({ wallet, release, state }) =>
      taker.take({ wallet, release: signedBytesJson(release), state: stateJson(state) }),
    );
    return taker;
  }

  get hasFailed(): boolean {
    return this.failures.length > 0;
  }

  async take(released: AdminCommands['take']['arguments']): Promise<void> {
    try {
      if ((await moveCall(this.#socket, 'take', released)).already) this.already++;
      else this.taken++;
    } catch (error) {
      this.failures.push(failureOf(released.wallet, error));
    }
  }
}

/**
 * Before anything is released: whoever is to take it is there, and is whom the order names.
 * @throws QvError succession_mismatch, enclave_not_ready, host_unavailable
 */
async function requireTaker(socket: string, { successor }: ReleaseOrder): Promise<void> {
  const { enclave } = await moveCall(socket, 'status', {});
  if (enclave === null || !['serving', 'frozen'].includes(enclave.phase)) throw new QvError('enclave_not_ready');
  if (enclave.boot !== successor)
    throw new QvError('succession_mismatch', { path: 'successor', value: enclave.boot ?? 'no boot' });
}

/** How many wallets the enclave behind a host holds, as the host last heard. */
async function heldBy(socket: string): Promise<number> {
  const { enclave } = await moveCall(socket, 'status', {});
  return enclave?.wallets ?? 0;
}
