"""Completion of commands and flags for four shells, from the table of commands: no shell asks `kvctl` again while typing."""

from collections.abc import Mapping

from kvstore.ctl import commands
from kvstore.ctl.command import Command
from kvstore.ctl.flags import GLOBAL_FLAGS

SHELLS = ("bash", "zsh", "fish", "powershell")


def script(shell: str, known: Mapping[str, Command]) -> str:
    return {"bash": bash, "zsh": zsh, "fish": fish, "powershell": powershell}[shell](known)


def _steps(known: Mapping[str, Command]) -> dict[str, dict[str, str]]:
    """What may follow the words typed so far, with its meaning: first words, second words."""
    steps: dict[str, dict[str, str]] = {"": {}}
    for name, command in known.items():
        first, _space, second = name.partition(" ")
        if second:
            steps[""][first] = commands.GROUPS[first].help
            steps.setdefault(first, {})[second] = command.help
        else:
            steps[""][first] = command.help
    return steps


def _flags(name: str) -> list[str]:
    return sorted(f"--{flag}" for flag in [*commands.flags_of(name), *GLOBAL_FLAGS, "help"])


def bash(known: Mapping[str, Command]) -> str:
    words = "\n".join(f'    "{typed}") words="{" ".join(following)}" ;;' for typed, following in _steps(known).items())
    flags = "\n".join(f'    "{name}") flags="{" ".join(_flags(name))}" ;;' for name in known)
    return f"""# bash completion for kvctl: source <(kvctl completion bash)
_kvctl() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" typed="" words="" flags="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$word" in -*) ;; *) typed="${{typed:+$typed }}$word" ;; esac
  done
  case "$typed" in
{words}
  esac
  case "$typed" in
{flags}
    *) flags="{" ".join(sorted(f"--{flag}" for flag in GLOBAL_FLAGS))}" ;;
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
  esac
}}
complete -o default -F _kvctl kvctl
"""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def zsh(known: Mapping[str, Command]) -> str:
    def described(following: Mapping[str, str]) -> str:
        return " ".join(_quoted(f"{word}:{text}") for word, text in following.items())

    words = "\n".join(f'    "{typed}") words=({described(following)}) ;;' for typed, following in _steps(known).items())
    flags = "\n".join(f'    "{name}") flags=({" ".join(_flags(name))}) ;;' for name in known)
    return f"""#compdef kvctl
# zsh completion for kvctl: source <(kvctl completion zsh), or as _kvctl in a folder of fpath
_kvctl() {{
  local typed="" word
  local -a words_before flags
  for word in "${{words[@]:1:$((CURRENT-2))}}"; do
    [[ "$word" == -* ]] || typed="${{typed:+$typed }}$word"
  done
  local current="${{words[CURRENT]}}"
  local -a words
  case "$typed" in
{words}
  esac
  case "$typed" in
{flags}
    *) flags=({" ".join(sorted(f"--{flag}" for flag in GLOBAL_FLAGS))}) ;;
  esac
  if [[ "$current" == -* ]]; then compadd -- $flags
  elif (( $#words )); then _describe 'command' words
  else _files
  fi
}}
if [ "$funcstack[1]" = "_kvctl" ]; then _kvctl "$@"; else compdef _kvctl kvctl; fi
"""


def fish(known: Mapping[str, Command]) -> str:
    lines = ["# fish completion for kvctl: kvctl completion fish | source", "complete -c kvctl -f"]
    steps = _steps(known)
    for word, text in steps[""].items():
        lines.append(f"complete -c kvctl -n __fish_use_subcommand -a {word} -d {_quoted(text)}")
    for first, following in steps.items():
        for word, text in following.items() if first else ():
            seen = f"__fish_seen_subcommand_from {first}; and not __fish_seen_subcommand_from {' '.join(following)}"
            lines.append(f"complete -c kvctl -n {_quoted(seen)} -a {word} -d {_quoted(text)}")
    for name in known:
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in name.split())
        for flag in commands.flags_of(name).values():
            short = f" -s {flag.short}" if flag.short else ""
            lines.append(f"complete -c kvctl -n {_quoted(seen)} -l {flag.name}{short} -d {_quoted(flag.help)}")
    for flag in GLOBAL_FLAGS.values():
        short = f" -s {flag.short}" if flag.short else ""
        lines.append(f"complete -c kvctl -l {flag.name}{short} -d {_quoted(flag.help)}")
    return "\n".join(lines) + "\n"


def powershell(known: Mapping[str, Command]) -> str:
    def listed(words: list[str]) -> str:
        return "@(" + ",".join(f"'{word}'" for word in words) + ")"

    words = "\n".join(f"  '{typed}' = {listed(list(following))}" for typed, following in _steps(known).items())
    flags = "\n".join(f"  '{name}' = {listed(_flags(name))}" for name in known)
    return f"""# PowerShell completion for kvctl: kvctl completion powershell | Out-String | Invoke-Expression
$kvctlWords = @{{
{words}
}}
$kvctlFlags = @{{
{flags}
}}
Register-ArgumentCompleter -Native -CommandName kvctl -ScriptBlock {{
  param($wordToComplete, $commandAst, $cursorPosition)
  $before = $commandAst.CommandElements | Select-Object -Skip 1 | Where-Object {{ $_.Extent.EndOffset -lt $cursorPosition }}
  $typed = ($before | ForEach-Object {{ $_.ToString() }} | Where-Object {{ -not $_.StartsWith('-') }}) -join ' '
  $found = if ($wordToComplete.StartsWith('-')) {{ $kvctlFlags[$typed] }} else {{ $kvctlWords[$typed] }}
  $found | Where-Object {{ $_ -like "$wordToComplete*" }} | ForEach-Object {{
    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
  }}
}}
"""
