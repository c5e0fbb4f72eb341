/** qv completion */
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Command } from '../command.ts';
import { bashCompletion } from '../completion/bash.ts';
import { fishCompletion } from '../completion/fish.ts';
import { type CompletedCommand, completedCommands } from '../completion/grammar.ts';
import { zshCompletion } from '../completion/zsh.ts';

const SHELLS: Readonly<Record<string, (commands: readonly CompletedCommand[]) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

export const completion: Command = {
  name: 'completion',
  summary: 'Print a script that completes qv’s commands, options and files in a shell.',
  details: [
    'bash: source <(qv completion bash), in ~/.bashrc.',
    'zsh: source <(qv completion zsh), in ~/.zshrc behind compinit; or as a file _qv in a folder of $fpath.',
    'fish: qv completion fish > ~/.config/fish/completions/qv.fish',
  ],
  operands: '<bash|zsh|fish>',
  options: {},
  run: async ({ operands }) => {
    const [shell = '', ...more] = operands;
    const write = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
    if (write === undefined || more.length > 0)
      throw new QvError('usage_invalid', { value: `name one shell of ${Object.keys(SHELLS).join(', ')}` });
    // The table lists this command, too.
    const { COMMANDS } = await import('../commands.ts');
    const script = write(completedCommands(COMMANDS));
    return { exit: 'ok', json: { shell, script }, text: () => script.trimEnd().split('\n') };
  },
};
