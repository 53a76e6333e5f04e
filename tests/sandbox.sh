# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh's and the tests'
#
# What tests with sandboxes share: sourced behind lib.sh.
#
#	sandbox_begin IMAGE...	have the images (those of tests/layers/real,
#				"static"; "notify" is a program), go where
#				guests run, and take an ISO_ROOT of the test's
#				own there
#	of NAME			the reference of such an image
#	box_begin OPTION...	boot "box", of busybox, and
#	box COMMAND		run that in it, by a shell
#	sleeps N		how many "sleep N" live there
#	count A B C		A in the emulated host, where a command takes
#				some hundred times as long, B on KVM, C with
#				ISO_HEAVY
#
# What needs tools or the network is made before, outside; in the emulated host
# the programs are copied from the share, from which they start slowly, and all
# else is on its state disk.
#
#	ISO_HEAVY=1	the whole numbers everywhere (hours when emulated)
#	ISO_TEST_HOST	another emulated host than the default one

sandbox_images=$(realpath -m "${ISO_TEST_IMAGES:-build/cache/images}")

of() { echo "oci:$sandbox_images/$1.oci:v1"; }

count() {
	if [ -n "${ISO_HEAVY:-}" ]; then
		echo "$3"
	elif [ "${ISO_SANDBOX_HERE:-}" = emulated ]; then
		echo "$1"
	else
		echo "$2"
	fi
}

# FROM scratch, and one static program that says what it was started with.
sandbox_static() {
	[ ! -d "$sandbox_images/static.oci" ] || return 0
	mkdir "$tmp/static" &&
		cat >"$tmp/static.c" <<-'C' &&
			#include <stdio.h>
			int main(int argc, char **argv)
			{
				for (int i = 1; i < argc; i++)
					printf("[%s]", argv[i]);
				puts("");
				return argc;
			}
		C
		musl-gcc -static -Os -o "$tmp/static/app" "$tmp/static.c" &&
		tar -C "$tmp/static" --owner=0 --group=0 --numeric-owner \
			--mtime=@1700000000 -cf "$tmp/static.tar" app &&
		python3 tests/layers/layout.py "$tmp/static.oci" \
			"$tmp/static.tar" >/dev/null &&
		mv "$tmp/static.oci" "$sandbox_images/static.oci"
}

# $notify, a program for guests: what is made (+NAME) and removed (-NAME) in a
# directory, beginning with "ready".
notify=$sandbox_images/notify
sandbox_notify() {
	[ ! -x "$notify" ] || return 0
	cat >"$tmp/notify.c" <<-'C' &&
		#include <stdio.h>
		#include <sys/inotify.h>
		#include <unistd.h>
		int main(int argc, char **argv)
		{
			char b[4096] __attribute__((aligned(8)));
			int fd = inotify_init();
			ssize_t n, at;
			if (argc != 2 || inotify_add_watch(fd, argv[1],
					IN_CREATE | IN_DELETE | IN_MOVE) < 0)
				return 1;
			setlinebuf(stdout);
			puts("ready");
			while ((n = read(fd, b, sizeof(b))) > 0)
				for (at = 0; at < n;) {
					struct inotify_event *e =
						(void *)(b + at);
					printf("%c%s\n", e->mask &
					       (IN_CREATE | IN_MOVED_TO) ?
					       '+' : '-', e->name);
					at += (ssize_t)sizeof(*e) + e->len;
				}
		}
	C
		musl-gcc -static -Os -idirafter /usr/include \
			-idirafter /usr/include/x86_64-linux-gnu \
			-o "$tmp/notify" "$tmp/notify.c" &&
		mv "$tmp/notify" "$notify"
}

sandbox_prepare() {
	local name
	mkdir -p "$sandbox_images"
	for name; do
		case $name in
		notify) sandbox_notify && continue ;;
		static) sandbox_static ;;
		*) tests/layers/real "$name" ;;
		esac &&
			iso-mkrootfs -q "$(of "$name")" >/dev/null || return
	done
	iso-kernel -q --profile sandbox >/dev/null
}

# Of our own, with what others have made in it.
sandbox_root() {
	local from=$ISO_ROOT f
	ISO_ROOT=$tmp/iso
	mkdir -p "$ISO_ROOT/kernel" "$from/golden" "$from/snapshots"
	ln -s "$from/images" "$from/rootfs" "$from/golden" "$from/snapshots" \
		"$ISO_ROOT"
	for f in "$from"/kernel/*; do
		if [ -L "$f" ]; then
			cp -P "$f" "$ISO_ROOT/kernel"
		else
			ln -s "$f" "$ISO_ROOT/kernel"
		fi
	done
}

# Of a failed test: what the sandboxes say that have ended by themselves.
sandbox_dead() {
	local id
	for id in $(iso-ps -o state,id 2>/dev/null | awk '/^dead/ { print $2 }'); do
		iso-ps -o id,name,reason,detail "$id"
		iso-logs --vmm "$id" | tail -n 5
		iso-logs "$id" | tail -n 25
		# A forbidden call, a fault, no memory.
		dmesg | grep -E 'type=1326|segfault|iso-vmm' | tail -n 5
	done 2>&1 | sed 's/^/# /'
}

sandbox_end() {
	[ "$failed" -eq 0 ] || sandbox_dead
	iso-rm -q --all --grace 0 >/dev/null 2>&1
	[ ! -d "$ISO_ROOT/run" ] || iso-ps -q >/dev/null 2>&1
}

# This test, in the emulated host.  QEMU's processor delivers an interrupt a
# moment too early now and then, or loses one, which ends the host's kernel: that
# is said, and the test is run again, once.  Any other end is a failure.
sandbox_there() {
	local status log=$ISO_ROOT/host/$1/console.log
	for _ in 1 2; do
		iso-host run -n "$1" -- env ISO_SANDBOX_HERE=emulated \
			"TMPDIR=$ISO_ROOT/tmp" bash "$0" >"$tmp/tap"
		status=$?
		if [ "$status" -ne 125 ] || iso-host status -n "$1" >/dev/null ||
			! grep -qE 'svm_vcpu_run\+|stack guard page was hit|soft lockup' "$log"; then
			break
		fi
		{
			echo 'the emulated host has ended, by itself:'
			grep -E 'BUG: |RIP: 0010:__svm_vcpu_run' "$log"
		} | sed 's/^/# /'
		iso-host up -q -n "$1"
	done
	cat "$tmp/tap"
	return "$status"
}

sandbox_begin() {
	: "${ISO_ROOT:=/var/lib/iso}"
	if [ -z "${ISO_SANDBOX_HERE:-}" ]; then
		sandbox_prepare "$@" || {
			echo "Bail out! cannot make images and kernel"
			exit 1
		}
		iso-host check -q || {
			sandbox_there "${ISO_TEST_HOST:-default}"
			exit
		}
	else
		# Not the share's, and no wrappers around python3.
		mkdir "$tmp/own"
		# With their times, by which golden snapshots know them.
		cp -a "$bin" "$tmp/own/bin"
		cp -a "$bin/../libexec" "$tmp/own/libexec"
		PATH=$tmp/own/bin:/usr/sbin:/usr/bin:/sbin:/bin
	fi
	cleanup() { sandbox_end; }
	sandbox_root
	export ISO_ROOT
}

# ---- the sandbox "box" ----

# box_begin OPTION...: and $box is its id.
# shellcheck disable=SC2120
box_begin() {
	box=$(iso-boot -q -n box -m 128M "$@" "$(of busybox)" 2>"$err")
	is "$?" 0 'a sandbox of busybox' || {
		echo 'Bail out! no sandbox'
		exit 1
	}
}

box() { iso-exec box -- sh -c "$1"; }

sleeps() { box "ps -o args | grep -cx 'sleep $1'"; }

# ---- what is said of a sandbox ----

monitor() { iso-ps -o pid "$1"; }

# Wait until the monitor of a sandbox has ended: what iso-logs does, by a pidfd.
await_end() { iso-logs --vmm --follow "$1" >/dev/null 2>&1; }

# What the monitor has of its own, in KiB: all that is resident but the guest's
# memory and disks, which are the large mappings.
monitor_kib() {
	awk '/^[0-9a-f]+-[0-9a-f]+ / { want = 0 }
		/^Size:/ { want = $2 < 32768 }
		/^Rss:/ && want { n += $2 }
		END { print n }' "/proc/$1/smaps"
}
