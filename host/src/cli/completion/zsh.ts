/** zsh, by its own completion system: words with their help beside them. */
import {
  type CompletedCommand,
  type CompletedOption,
  type FirstWord,
  families,
  firstWords,
  type Place,
  secondWords,
} from './grammar.ts';

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
/** In `_describe`, and in the brackets and places of `_arguments`. */
const described = ({ word, summary }: FirstWord): string => quoted(`${word}:${summary}`);
const escaped = (text: string): string => text.replace(/[[\]:\\]/g, '\\$&');

export function zshCompletion(commands: readonly CompletedCommand[]): string {
  const list = (words: readonly FirstWord[]): string => words.map(described).join(' ');
  const globals: readonly FirstWord[] = [
    { word: '--help', summary: 'explain the command' },
    { word: '--json', summary: 'print one JSON object' },
    { word: '--version', summary: 'print the version' },
  ];
  const members = families(commands).map(
    (family) => `    ${quoted(family)}) members=(${list(secondWords(family, commands))}) ;;`,
  );
  const twoWords = commands.filter(({ name }) => name.includes(' ')).map(({ name }) => quoted(name));
  const perCommand = commands.map(({ name, options, operands }) =>
    [
      `    ${quoted(name)})`,
      `      specs=(${[...options.map(specification), ...operand(operands)].map(quoted).join(' ')}) ;;`,
    ].join('\n'),
  );
  return `#compdef qv
# zsh completion of qv, written by: qv completion zsh
_qv() {
  local -a commands members specs
  local command="$words[2]"
  local -i count=1
  if (( CURRENT == 2 )); then
    commands=(${list([...firstWords(commands), ...globals])})
    _describe command commands
    return
  fi
  case "$command" in
${members.join('\n')}
  esac
  if (( CURRENT > 3 )); then
    case "$words[2] $words[3]" in
      ${twoWords.join('|')}) command="$words[2] $words[3]"; count=2 ;;
    esac
  fi
  local found=1
  if (( CURRENT == 3 && $#members )); then
    _describe command members && found=0
  fi
  case "$command" in
${perCommand.join('\n')}
  esac
  (( $#specs )) || return found
  # To _arguments the last word of the command is the command.
  shift count words
  (( CURRENT -= count ))
  _arguments -S $specs && found=0
  return found
}
if [ "$funcstack[1]" = _qv ]; then _qv "$@"; else compdef _qv qv; fi
`;
}

function specification({ name, help, value, isRepeated }: CompletedOption): string {
  const text = `${isRepeated ? '*' : ''}${name}[${escaped(help)}]`;
  return value === undefined ? text : `${text}:${escaped(name.slice(2))}:${action(value)}`;
}

function operand(place: Place): readonly string[] {
  return typeof place !== 'string' && place.length === 0 ? [] : [`*:operand:${action(place)}`];
}

function action(place: Place): string {
  if (place === 'files') return '_files';
  if (place === 'directories') return '_files -/';
  return place === 'anything' ? ' ' : `(${place.join(' ')})`;
}
