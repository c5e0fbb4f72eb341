/** fish: one line per word. */
import { type CompletedCommand, families, firstWords, type Place, secondWords } from './grammar.ts';

const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

export function fishCompletion(commands: readonly CompletedCommand[]): string {
  const lines: string[] = [];
  const line = (condition: string, rest: string): void => {
    lines.push(`complete -c qv -n ${quoted(condition)} ${rest}`);
  };
  for (const { word, summary } of firstWords(commands)) line('__qv_at 1', `-a ${quoted(word)} -d ${quoted(summary)}`);
  line('__qv_at 1', `-l version -d ${quoted('print the version')}`);
  for (const name of ['help', 'json']) line('__qv_at 1', `-l ${name}`);
  for (const family of families(commands)) {
    for (const { word, summary } of secondWords(family, commands))
      line(`__qv_at 2; and __qv_word ${family}`, `-a ${quoted(word)} -d ${quoted(summary)}`);
  }
  for (const { name, options, operands } of commands) {
    const condition = `__qv_is ${quoted(name)}`;
    for (const { name: option, help, value } of options)
      line(condition, `-l ${option.slice(2)} -d ${quoted(help)}${value === undefined ? '' : ` -x${words(value)}`}`);
    if (operands.length > 0 && operands !== 'anything') line(condition, words(operands).trim());
  }
  return `# fish completion of qv, written by: qv completion fish
set -g __qv_commands ${commands
    .filter(({ name }) => name.includes(' '))
    .map(({ name }) => quoted(name))
    .join(' ')}
function __qv_at
    test (count (commandline -opc)) -eq $argv[1]
end
function __qv_word
    set -l typed (commandline -opc)
    test "$typed[2]" = $argv[1]
end
function __qv_is
    set -l typed (commandline -opc)
    test (count $typed) -ge 2; or return 1
    set -l name "$typed[2]"
    if test (count $typed) -ge 3; and contains -- "$typed[2] $typed[3]" $__qv_commands
        set name "$typed[2] $typed[3]"
    end
    test "$name" = $argv[1]
end
complete -c qv -e
complete -c qv -f
${lines.join('\n')}
`;
}

function words(place: Place): string {
  if (place === 'files') return ` -a '(__fish_complete_path (commandline -ct))'`;
  if (place === 'directories') return ` -a '(__fish_complete_directories (commandline -ct))'`;
  return place === 'anything' ? '' : ` -a ${quoted(place.join(' '))}`;
}
