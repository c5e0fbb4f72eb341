/** Mutators that know Solana transactions. */
import { type Address, addressOf } from '@quantumvault/shared/brands.ts';
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { encodeMessage, type Message } from '@quantumvault/shared/solana/message.ts';
import { COMPUTE_BUDGET_PROGRAM, SYSTEM_PROGRAM, TOKEN_PROGRAM } from '@quantumvault/shared/solana/programs.ts';
import { encodeTransaction, inspectTransaction } from '@quantumvault/shared/solana/transaction.ts';
import { type Mutator, splice } from '../engine/mutate.ts';

/** One part of a message that decodes, replaced, and the whole written again with counts that fit. */
export const changeMessage: Mutator = (wire, { random }) => {
  let message: Message;
  let signatures: readonly Uint8Array[];
  try {
    ({ message, signatures } = inspectTransaction(wire).transaction);
  } catch {
    return undefined;
  }
  const { header, accountKeys, instructions, lookups, config } = message;
  const index = random.below(instructions.length);
  const instruction = instructions[index];
  const withInstruction = (change: Partial<NonNullable<typeof instruction>>): Message => ({
    ...message,
    instructions: instructions.map((old, at) => (at === index ? { ...old, ...change } : old)),
  });
  const anyKey = (): Address => random.pick([SYSTEM_PROGRAM, TOKEN_PROGRAM, COMPUTE_BUDGET_PROGRAM, ...accountKeys]);
  const changed = ((): Message => {
    switch (random.below(10)) {
      case 0:
        return { ...message, header: { ...header, requiredSignatures: random.below(5) } };
      case 1:
        return {
          ...message,
          header: { ...header, readonlySigned: random.below(4), readonlyUnsigned: random.below(8) },
        };
      case 2:
        return { ...message, accountKeys: [...accountKeys, random.once(3) ? anyKey() : addressOf(random.bytes(32))] };
      case 3:
        return { ...message, accountKeys: accountKeys.map((key) => (random.once(4) ? anyKey() : key)) };
      case 4:
        return { ...message, instructions: [...instructions, ...instructions.slice(0, random.once(6) ? 64 : 1)] };
      case 5:
        return withInstruction({ programIndex: random.below(accountKeys.length + 2) });
      case 6:
        return withInstruction({
          accountIndexes: Array.from({ length: random.below(8) }, () => random.below(accountKeys.length + 2)),
        });
      case 7: {
        const data = instruction?.data ?? new Uint8Array();
        return withInstruction({
          data: random.once(2) ? random.bytes(random.below(140)) : concatBytes(data, Uint8Array.of(0)),
        });
      }
      case 8:
        return {
          ...message,
          lookups: [
            ...lookups,
            { table: anyKey(), writableIndexes: [random.below(256)], readonlyIndexes: random.once(2) ? [] : [0, 1] },
          ],
        };
      default:
        return {
          ...message,
          config: { ...config, heapBytes: 1024 * random.below(300), priorityFeeLamports: BigInt(random.u32()) },
        };
    }
  })();
  const count = changed.header.requiredSignatures;
  return encodeTransaction({
    signatures: Array.from({ length: count }, (_, at) => signatures[at] ?? new Uint8Array(64)),
    messageBytes: encodeMessage(changed),
  });
};

/** A length in a longer form: the same number in one byte more. */
export const longerLength: Mutator = (wire, { random }) => {
  const at = random.below(wire.length);
  const byte = wire[at] ?? 0xff;
  return byte < 0x80 ? splice(wire, at, 1, Uint8Array.of(byte | 0x80, 0)) : undefined;
};

const AMOUNTS = [
  0n,
  1n,
  5_000n,
  1_000_000n,
  999_999_999n,
  1_000_000_001n,
  10n ** 12n,
  2n ** 63n,
  2n ** 64n - 1n,
] as const;

/** An amount in the data of an instruction. */
export const changeAmount: Mutator = (wire, { random }) => {
  let transaction: ReturnType<typeof inspectTransaction>['transaction'];
  try {
    ({ transaction } = inspectTransaction(wire));
  } catch {
    return undefined;
  }
  const { message } = transaction;
  const chosen = random.pick(message.instructions.filter(({ data }) => data.length >= 9));
  if (chosen === undefined) return undefined;
  const data = Uint8Array.from(chosen.data);
  const at = random.pick([1, 4, random.below(data.length - 7)]);
  if (at + 8 > data.length) return undefined;
  new DataView(data.buffer).setBigUint64(at, random.once(4) ? BigInt(random.u32()) : random.pick(AMOUNTS), true);
  const instructions = message.instructions.map((instruction) =>
    instruction === chosen ? { ...instruction, data } : instruction,
  );
  return encodeTransaction({ ...transaction, messageBytes: encodeMessage({ ...message, instructions }) });
};
