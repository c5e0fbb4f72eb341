/** bash 3.2 and newer, with nothing of bash-completion. */
import { type CompletedCommand, families, firstWords, type Place, secondWords } from './grammar.ts';

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

export function bashCompletion(commands: readonly CompletedCommand[]): string {
  const words = (list: readonly string[]): string => quoted(list.join(' '));
  const members = families(commands).map(
    (family) => `    ${quoted(family)}) members=${words(secondWords(family, commands).map(({ word }) => word))} ;;`,
  );
  const twoWords = commands.filter(({ name }) => name.includes(' ')).map(({ name }) => quoted(name));
  const perCommand = commands.map(({ name, options, operands }) => {
    const values = options.flatMap(({ name: option, value }) =>
      value === undefined ? [] : [`        ${option}) place=${quoted(spelled(value))} ;;`],
    );
    return [
      `    ${quoted(name)})`,
      `      options=${words(options.map((option) => option.name))}`,
      `      operands=${quoted(spelled(operands))}`,
      ...(values.length === 0 ? [] : ['      case "$previous" in', ...values, '      esac']),
      '      ;;',
    ].join('\n');
  });
  return `# bash completion of qv, written by: qv completion bash
_qv() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]}
  local first=\${COMP_WORDS[1]} members='' command options='' operands='' place=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${words([...firstWords(commands).map(({ word }) => word), '--help', '--json', '--version'])} -- "$current"))
    return
  fi
  case "$first" in
${members.join('\n')}
  esac
  command=$first
  if [ "$COMP_CWORD" -gt 2 ]; then
    case "$first \${COMP_WORDS[2]}" in
      ${twoWords.join('|')}) command="$first \${COMP_WORDS[2]}" ;;
    esac
  fi
  case "$command" in
${perCommand.join('\n')}
  esac
  if [ -z "$place" ]; then
    case "$current" in
      -*) COMPREPLY=($(compgen -W "$options" -- "$current")); return ;;
    esac
    place=$operands
    if [ "$COMP_CWORD" -eq 2 ] && [ -n "$members" ]; then
      COMPREPLY=($(compgen -W "$members" -- "$current"))
      [ \${#COMPREPLY[@]} -gt 0 ] && return
    fi
  fi
  local IFS=$'\\n'
  case "$place" in
    =files) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$current")) ;;
    =directories) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$current")) ;;
    =anything) ;;
    ?*) IFS=$' \\t\\n'; COMPREPLY=($(compgen -W "$place" -- "$current")) ;;
    *) COMPREPLY=($(IFS=$' \\t\\n'; compgen -W "$options" -- "$current")) ;;
  esac
}
complete -F _qv qv
`;
}

/** A keyword begins with a mark that no word has. */
const spelled = (place: Place): string => (typeof place === 'string' ? `=${place}` : place.join(' '));
