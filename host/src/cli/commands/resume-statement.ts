/** qv resume statement: the text that ends a freeze once it is signed. */
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { ADMIN_OPTION, adminSocket } from '../admin-option.ts';
import type { Command } from '../command.ts';
import { requireFreezeId, resumeFacts, statementOf } from '../resume-facts.ts';
import { SCOPE_OPTIONS, scopeOption } from '../scope-option.ts';

export const resumeStatement: Command = {
  name: 'resume statement',
  summary: 'Print the exact text that the owner, or operators, sign to end a freeze.',
  details: [
    'A wallet’s freeze is ended by its owner, any other by as many operators as the measured threshold says.',
    'The text ends with a line break, which belongs to it. An owner may sign it as an off-chain message.',
    'It is the running enclave’s: the signature ends this freeze in this boot and no other.',
  ],
  options: {
    ...SCOPE_OPTIONS,
    freeze: { value: '<hex>', help: 'which freeze of the scope, if the enclave holds several; else its last' },
    admin: ADMIN_OPTION,
  },
  run: async (args) => {
    const scope = scopeOption(args);
    const wanted = args.optional('freeze');
    const facts = await resumeFacts(adminSocket(args), scope, wanted && requireFreezeId(wanted));
    const statement = statementOf(facts);
    const { deployment, boot, freezeId, others } = facts;
    return {
      exit: 'ok',
      json: { statement, bytes: utf8(statement).length, deployment, boot, scope, freezeId, others },
      // Printing adds the last line break.
      text: () => [statement.replace(/\n$/, '')],
    };
  },
};
