#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The completions that the programs print, in the real shells: bash and zsh on
# a terminal of their own, fish by its own `complete -C`.
set -u
. tests/shell/lib.sh

for p in iso-host iso-kernel; do
	for shell in bash zsh fish; do
		try "$p" --completion "$shell"
		[ "$status" -eq 0 ] && [ -s "$out" ] && [ ! -s "$err" ]
		ok $? "$p --completion $shell"
		mkdir -p "$tmp/$shell"
		case $shell in
		zsh) cp "$out" "$tmp/zsh/_$p" ;;
		*) cp "$out" "$tmp/$shell/$p.$shell" ;;
		esac
	done
done
refuses 2 "no completion for the shell 'ksh'" 'an unknown shell is refused' \
	iso-host --completion ksh

# Those of all programs can be read by the shells that they are for.
for p in man/*.1; do
	p=$(basename "$p" .1)
	: >"$tmp/said"
	for shell in bash 'zsh -f' fish; do
		"$p" --completion "${shell% *}" >"$tmp/script" 2>>"$tmp/said" &&
			[ -s "$tmp/script" ] &&
			$shell -n "$tmp/script" >>"$tmp/said" 2>&1 ||
			echo "not by ${shell% *}" >>"$tmp/said"
	done
	is "$(cat "$tmp/said")" '' "$p: bash, zsh and fish parse its completion"
done

# A directory to complete in: names with a blank, and names that are also
# words, which must not get a slash for it.
mkdir "$tmp/in" "$tmp/in/dir one" "$tmp/in/status" "$tmp/in/sandbox"
touch "$tmp/in/fi le"

# ---- bash, its function ----

# words WORD...: what bash offers for the last of them, one a line, sorted.
words() (
	cd "$tmp/in" || exit
	# shellcheck disable=SC1090 # made above
	. "$tmp/bash/$1.bash"
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	"_${1//-/_}"
	printf '%s\n' "${COMPREPLY[@]}" | LC_ALL=C sort | tr '\n' ' '
)

try bash -euc "shopt -s nullglob
for f in $tmp/bash/*.bash; do . \"\$f\"; done; complete -p iso-host iso-kernel"
is "$status:$(cat "$err")" 0: 'bash: load without a word, under -eu'
is "$(words iso-host '')" '--help check down run status up ' 'bash: commands'
is "$(words iso-host st)" 'status ' 'bash: a command by its first letters'
is "$(words iso-host --)" '--help --name --quiet ' \
	'bash: options before the command'
is "$(words iso-host --name x st)" 'status ' 'bash: a command behind them'
is "$(words iso-host status --)" '--help --json --name --quiet ' \
	'bash: options of a command'
is "$(words iso-host up --s)" '--share ' 'bash: an option by its first letters'
is "$(words iso-host run --name '')" ' ' 'bash: nothing for what only users know'
is "$(words iso-host up --share '')" 'dir one sandbox status ' \
	'bash: directories, blanks and all'
is "$(words iso-host up -s d)" 'dir one ' 'bash: by the short option, too'
is "$(words iso-kernel --profile '')" 'host sandbox ' 'bash: words'
is "$(words iso-kernel --profile = s)" 'sandbox ' 'bash: words, --option=word'
is "$(words iso-kernel --profile =)" 'host sandbox ' 'bash: words, --option='
is "$(words iso-kernel --json f)" 'fi le ' 'bash: files, blanks and all'
is "$(words iso-kernel x '')" ' ' 'bash: not more arguments than it takes'
is "$(words iso-kernel -- --)" ' ' 'bash: no options behind --'
is "$(words iso-host check '')" ' ' 'bash: no arguments where none are taken'
like "$(words iso-host run -t -- tru)" 'true ' 'bash: commands to run'
is "$(words iso-host run cat --)" ' ' \
	'bash: options behind a command are that one'\''s'
is "$(words iso-host run cat f)" 'fi le ' 'bash: and so are its files'

# ---- what a user gets ----

# The program is a shell function that shows its words, so that what TAB made
# of a line is seen by running it.
cat >"$tmp/type.py" <<'PY'
# type.py SHELL DIR: type each line of stdin ("KEYS<tab>WANT", where \t in KEYS
# is the key) into the shell and see whether the program gets WANT.
import os, pty, re, select, sys
shell, top = sys.argv[1:]
env = {"PATH": os.environ["PATH"], "HOME": top, "TERM": "dumb", "PS1": "",
       "LC_ALL": "C", "ZDOTDIR": top}
setup = {
    "bash": (["bash", "--norc", "--noprofile", "-i"],
             "bind 'set bell-style none'; for f in %s/bash/*; do . \"$f\";"
             " done; PS1=; PS2=; cd %s/in\n" % (top, top)),
    "zsh": (["zsh", "-f", "-i"],
            "unsetopt prompt_cr prompt_sp beep zle_bracketed_paste;"
            " fpath=(%s/zsh $fpath); autoload -Uz compinit;"
            " compinit -u -D; PS1=; cd %s/in\n" % (top, top)),
}[shell]
show = "%s() { printf '<%%s>' \"$@\"; echo .; }\n"
pid, fd = pty.fork()
if pid == 0:
    os.chdir(top)
    os.execvpe(setup[0][0], setup[0], env)
seen = ""
def send(text):
    os.write(fd, text.encode())
def expect(pattern):
    global seen
    while not (m := re.search(pattern, seen)):
        if not select.select([fd], [], [], 20)[0]:
            return None
        try:
            seen += os.read(fd, 65536).decode(errors="replace")
        except OSError:
            return None
    seen = seen[m.end():]
    return m
send(setup[1])
for p in "iso-host", "iso-kernel":
    send(show % p)
send("echo re''ady\n")
expect("ready") or sys.exit("the shell did not start: " + seen)
for line in sys.stdin:
    keys, want = line.rstrip("\n").split("\t")
    send(keys.replace("\\t", "\t") + "\n")
    m = expect(r"((<[^>\r\n]*>)+)\.\r?\n")
    got = m.group(1) if m else repr(seen)
    print("same" if got == want else "got " + got, keys, sep="\t", flush=True)
    if not m:
        sys.exit(1)
send("exit\n")
PY

# KEYS and the words that come of them; bash and zsh agree on all of these.
cat >"$tmp/keys" <<'KEYS'
iso-host sta\t	<status>
iso-host ch\t--js\t	<check><--json>
iso-host up --sha\t di\t	<up><--share><dir one/>
iso-host --na\t x dow\t	<--name><x><down>
iso-host run -- trunca\t	<run><--><truncate>
iso-host run --tt\tcat f\t	<run><--tty><cat><fi le>
iso-kernel -p sa\t--js\t	<-p><sandbox><--json>
iso-kernel --js\tfi\t	<--json><fi le>
KEYS
for shell in bash zsh; do
	keys=$tmp/keys
	if [ $shell = zsh ]; then
		# zsh completes to --option=, and takes the last slash back.
		sed 's/--sha\\t di/--sha\\tdi/; s,<--share><dir one/,<--share=dir one,
			s/--na\\t x/--na\\tx/; s/<--name><x>/<--name=x>/' \
			"$tmp/keys" >"$tmp/keys.zsh"
		keys=$tmp/keys.zsh
	fi
	try python3 "$tmp/type.py" "$shell" "$tmp" <"$keys"
	is "$(wc -l <"$out")" "$(wc -l <"$keys")" "$shell: each line ran"
	while IFS=$'\t' read -r got line; do
		is "$got" same "$shell: $line"
	done <"$out"
done
for p in iso-host iso-kernel; do
	try zsh -fn "$tmp/zsh/_$p"
	is "$status:$(cat "$err")" 0: "zsh: _$p parses"
done

# ---- fish ----

# offers LINE: what fish offers at its end, without descriptions.
offers() {
	env HOME="$tmp" XDG_CONFIG_HOME="$tmp" XDG_DATA_HOME="$tmp" \
		LINE="$1" DIR="$tmp" fish --no-config -c '
		cd $DIR/in; or exit
		for f in $DIR/fish/*.fish; source $f; end
		complete -C "$LINE"' 2>"$err" | cut -f 1 | LC_ALL=C sort | tr '\n' ' '
	[ ! -s "$err" ] || echo 'and complains'
}

is "$(offers 'iso-host ')" 'check down run status up ' 'fish: commands'
is "$(offers 'iso-host st')" 'status ' 'fish: a command by its first letters'
is "$(offers 'iso-host status --')" '--help --json --name --quiet ' \
	'fish: options of a command'
is "$(offers 'iso-host status -')" '--help --json --name --quiet -h -j -n -q ' \
	'fish: and their letters'
is "$(offers 'iso-host up --share d')" 'dir one/ ' 'fish: directories'
is "$(offers 'iso-host check ')" '' 'fish: no files where none are taken'
is "$(offers 'iso-host check --device f')" 'fi le ' 'fish: files'
is "$(offers 'iso-kernel --profile ')" 'host sandbox ' 'fish: words'
is "$(offers 'iso-kernel --profile=s')" '--profile=sandbox ' \
	'fish: words, --option=word'
is "$(offers 'iso-kernel f')" 'fi le ' 'fish: a program'\''s files'
like " $(offers 'iso-host run -n x tru')" ' true ' 'fish: commands to run'
is "$(offers 'iso-host run cat f')" 'fi le ' 'fish: and their files'
done_testing
