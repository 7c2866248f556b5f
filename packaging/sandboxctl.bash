# SPDX-License-Identifier: Apache-2.0
# bash completion for sandboxctl
#
# Commands and options are asked of the program itself, so that this file
# cannot fall behind; sandboxes, images and snapshots of the node.

_sandboxctl_commands()
{
	sandboxctl --help 2>/dev/null | awk '
		/^  [a-z]/ {
			name = substr($0, 3, 17)
			sub(/ +$/, "", name)
			print name
		}'
}

# The command in the words so far: "get", "port list".
_sandboxctl_command()
{
	local i word found= all
	all=$(_sandboxctl_commands)
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--connect | --cert | --key | --ca) ((i++)); continue ;;
		-*) continue ;;
		esac
		if [ -z "$found" ]; then
			found=$word
		elif grep -qx "$found $word" <<< "$all"; then
			found="$found $word"
			((i++))
			break
		else
			break
		fi
	done
	echo "$found"
}

_sandboxctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command
	COMPREPLY=()
	case $prev in
	--cert | --key | --ca)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--image)
		mapfile -t COMPREPLY < <(compgen -W "$(sandboxctl image list \
			2>/dev/null | awk 'NR > 1 { print $1 }')" -- "$cur")
		return
		;;
	--egress)
		mapfile -t COMPREPLY < <(compgen -W "allow deny" -- "$cur")
		return
		;;
	esac
	command=$(_sandboxctl_command)
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$( { sandboxctl $command \
			--help; sandboxctl --help; } 2>/dev/null |
			grep -o -- '--[a-z-]*' | sort -u)" -- "$cur")
		return
	fi
	# A command, or the second word of one.
	if [ -z "$command" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_sandboxctl_commands |
			awk '{ print $1 }' | sort -u)" -- "$cur")
		return
	fi
	if _sandboxctl_commands | grep -q "^$command " &&
		! _sandboxctl_commands | grep -qx "$command"; then
		mapfile -t COMPREPLY < <(compgen -W "$(_sandboxctl_commands |
			awk -v c="$command" '$1 == c && NF > 1 { print $2 }')" \
			-- "$cur")
		return
	fi
	case $command in
	"snapshot remove" | "snapshot export")
		mapfile -t COMPREPLY < <(compgen -W "$(sandboxctl snapshot \
			list 2>/dev/null | awk 'NR > 1 { print $1 }')" -- "$cur")
		;;
	"snapshot import" | "image import")
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	"image remove")
		mapfile -t COMPREPLY < <(compgen -W "$(sandboxctl image list \
			2>/dev/null | awk 'NR > 1 { print $1 }')" -- "$cur")
		;;
	cp)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur"; compgen -S : \
			-W "$(sandboxctl list 2>/dev/null |
			awk 'NR > 1 { print $1 }')" -- "$cur")
		compopt -o nospace
		;;
	list | events | node | doctor | create | "image list" | template*) ;;
	*)
		mapfile -t COMPREPLY < <(compgen -W "$(sandboxctl list \
			2>/dev/null | awk 'NR > 1 { print $1 }')" -- "$cur")
		;;
	esac
}

complete -F _sandboxctl sandboxctl
