# SPDX-License-Identifier: MIT
#
# isokit.  `make demo` and `make check` do everything by themselves on a fresh
# Debian machine; `make help` lists the rest.
#
# One flat Makefile: a list of sources per program, so that what each program
# is made of and linked with can be read here.  Objects go to $(O), programs to
# $(O)/bin.

VERSION = 0.1.0

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR = $(PREFIX)/bin
LIBEXECDIR = $(PREFIX)/lib/isokit
MANDIR = $(PREFIX)/share/man
COMPDIR = $(PREFIX)/share

# SAN=1: a build of its own under AddressSanitizer and UBSan.
ifdef SAN
O = build/san
SANFLAGS = -fsanitize=address,undefined -fno-sanitize-recover=all \
	   -fno-omit-frame-pointer
else
O = build
endif

# V=1 shows whole commands.
ifeq ($(V),)
Q = @
say = @echo '  $(1)' $(2)
endif

CC = gcc
MUSL_CC = musl-gcc
CLANG = clang

WARN = -Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Wcast-align \
       -Wpointer-arith -Wwrite-strings -Wstrict-prototypes \
       -Wmissing-prototypes -Wimplicit-fallthrough -Wswitch-enum \
       -Wmaybe-uninitialized -Wno-format-nonliteral
# Warnings are fatal in CI (CI is set there) and with WERROR=1.
ifneq ($(CI)$(WERROR),)
WARN += -Werror
endif

CFLAGS ?= -O2 -g
BASE_CFLAGS = -std=gnu17 -D_GNU_SOURCE -DISO_VERSION='"$(VERSION)"' -Ilib -I. \
	      $(WARN) -fno-strict-aliasing
HARDEN = -fstack-protector-strong -fPIE -fcf-protection
ifndef SAN
HARDEN += -D_FORTIFY_SOURCE=2
endif
HOST_CFLAGS = $(BASE_CFLAGS) $(HARDEN) $(SANFLAGS) $(CFLAGS)
HOST_LDFLAGS = -pie -Wl,-z,relro,-z,now,--as-needed $(SANFLAGS) $(LDFLAGS)
# Of what starts with every sandbox and every command: to load and to link
# libraries is a third of what a small program takes, and more than half in the
# emulated host.
ifndef SAN
STATIC_LDFLAGS = -static-pie -Wl,-z,relro,-z,now,--gc-sections $(LDFLAGS)
else
STATIC_LDFLAGS = $(HOST_LDFLAGS)
endif

# musl has no Linux headers of its own; the system's come after musl's.
AGENT_CFLAGS = $(BASE_CFLAGS) -Os -g -fstack-protector-strong -static \
	       -ffunction-sections -fdata-sections -idirafter /usr/include \
	       -idirafter /usr/include/x86_64-linux-gnu
AGENT_LDFLAGS = -static -Wl,--gc-sections,-z,relro,-z,noexecstack

# ---- programs: their sources, and what they are linked with -----------------

BASE = lib/base/err.c lib/base/fd.c lib/base/buf.c lib/base/str.c \
       lib/base/io.c lib/base/proc.c lib/base/clock.c
TOOL = $(BASE) lib/base/opt.c lib/base/optgen.c lib/base/progress.c bin/tool.c
WIRE = lib/wire/frame.c lib/wire/msg.c lib/wire/flow.c

PROGRAMS = iso-kernel iso-host iso-pull iso-mkrootfs iso-boot iso-exec iso-cp \
	   iso-ps iso-rm iso-logs iso-fork iso-snap
DEMOS = vcpu-hello

OCI = lib/base/sha256.c lib/oci/digest.c lib/oci/ref.c lib/oci/refname.c \
      lib/oci/json.c lib/oci/manifest.c lib/oci/config.c lib/oci/store.c \
      lib/oci/blob.c lib/oci/names.c lib/oci/prune.c lib/oci/finish.c \
      lib/oci/layout.c lib/oci/archive.c lib/oci/sum.c lib/oci/rootfs.c
REGISTRY = lib/oci/challenge.c lib/oci/http.c lib/oci/httperr.c \
	   lib/oci/creds.c lib/oci/registry.c lib/oci/auth.c \
	   lib/oci/transfer.c lib/oci/pull.c
LAYERS = lib/rootfs/apply.c lib/rootfs/entry.c lib/rootfs/path.c \
	 lib/rootfs/pax.c lib/rootfs/tree.c lib/rootfs/walk.c \
	 lib/rootfs/siphash.c lib/rootfs/space.c lib/rootfs/spill.c \
	 lib/rootfs/stream.c \
	 lib/rootfs/unpack.c lib/rootfs/xattr.c lib/rootfs/erofs.c \
	 lib/rootfs/dirent.c
ROOTFS = $(LAYERS) lib/rootfs/pack.c lib/rootfs/image.c lib/rootfs/record.c \
	 lib/rootfs/build.c
GUEST = lib/base/sha256.c lib/guest/kernel.c lib/guest/source.c \
	lib/guest/store.c lib/guest/apt.c lib/guest/deb.c lib/guest/raw.c \
	lib/guest/bzimage.c lib/guest/modules.c lib/guest/initramfs.c
TINY = lib/vmm/kvm.c lib/vmm/tiny.c
VMM = lib/vmm/kvm.c lib/vmm/cpuid.c lib/vmm/mem.c lib/vmm/vcpu.c lib/vmm/exit.c \
      lib/vmm/vm.c lib/vmm/ctl.c lib/vmm/log.c lib/vmm/boot.c lib/vmm/elf.c \
      lib/vmm/acpi.c lib/vmm/aml.c lib/vmm/serial.c lib/vmm/jail.c \
      lib/vmm/seccomp.c lib/vmm/state.c lib/vmm/kvm_state.c \
      lib/vmm/vm_state.c lib/vmm/vm_clone.c lib/vmm/snap.c \
      lib/vmm/prefetch.c lib/base/loop.c $(VIRTIO)
VIRTIO = lib/vmm/virtio/queue.c lib/vmm/virtio/mmio.c \
	 lib/vmm/virtio/state.c lib/vmm/virtio/blk.c \
	 lib/vmm/virtio/pmem.c lib/vmm/virtio/vsock.c \
	 lib/vmm/virtio/vsock_conn.c lib/vmm/virtio/vsock_rx.c \
	 lib/vmm/virtio/rng.c lib/vmm/virtio/balloon.c lib/vmm/virtio/net.c
HOST = lib/host/emu.c lib/host/supervise.c lib/host/view.c lib/host/mux.c \
       lib/host/machine.c lib/host/console.c lib/host/prepare.c lib/host/run.c \
       lib/base/sock.c

iso-kernel_SRC = bin/iso-kernel.c $(TOOL) $(GUEST)
iso-kernel_LIBS = -larchive -lkmod -ljansson -lpopt -lcrypto

# What a sandbox is on this side, and the way into it.
RUNDIR = lib/sandbox/id.c lib/sandbox/rundir.c lib/sandbox/rundir_find.c \
	 lib/sandbox/box.c \
	 lib/sandbox/control.c lib/sandbox/cgroup.c lib/base/sock.c
CONNECT = lib/sandbox/connect.c lib/wire/client.c lib/wire/greet.c $(WIRE)
START = lib/sandbox/identity.c lib/sandbox/monitor.c lib/sandbox/scratch.c \
	lib/sandbox/start.c lib/sandbox/config.c lib/sandbox/helper.c \
	lib/wire/request.c lib/base/extent.c
NEEDS = lib/sandbox/needs.c lib/sandbox/needs_kernel.c lib/oci/digest.c \
	lib/oci/ref.c lib/oci/refname.c lib/oci/json.c lib/oci/manifest.c \
	lib/oci/names.c lib/oci/rootfs.c

# Neither libcurl nor libarchive nor libcrypto: what has to be pulled or built
# first is the work of programs that it runs.
iso-boot_SRC = bin/iso-boot.c $(TOOL) $(RUNDIR) $(CONNECT) $(START) $(NEEDS) \
	       $(RESTORE) lib/sandbox/golden.c \
	       lib/sandbox/prefetch.c lib/vmm/prefetch.c
SNAPSHOT = lib/sandbox/snapshot.c lib/sandbox/snapdir.c \
	   lib/sandbox/snapshot_manifest.c lib/sandbox/snapshot_remove.c
SNAPMAKE = lib/sandbox/snapshot_make.c lib/sandbox/snapshot_sum.c \
	   lib/sandbox/snapshot_move.c lib/sandbox/snaptar.c \
	   lib/sandbox/snaptar_get.c lib/sandbox/snaptar_put.c \
	   lib/base/sha256.c lib/base/extent.c
RESTORE = lib/sandbox/restore.c $(SNAPSHOT)

iso-snap_SRC = bin/iso-snap.c bin/snaplist.c $(TOOL) $(RUNDIR) $(CONNECT) \
	       $(START) $(RESTORE) $(SNAPMAKE) lib/sandbox/capture.c \
	       lib/sandbox/quiesce.c lib/sandbox/usage.c
iso-snap_LIBS = -ljansson -lpopt -lcrypto

iso-boot_LIBS = -ljansson -lpopt
iso-boot_LDFLAGS = $(STATIC_LDFLAGS)

iso-fork_SRC = bin/iso-fork.c $(TOOL) $(RUNDIR) $(CONNECT) $(START) \
	       lib/sandbox/fork.c lib/sandbox/quiesce.c
iso-fork_LIBS = -ljansson -lpopt
iso-fork_LDFLAGS = $(STATIC_LDFLAGS)

iso-exec_SRC = bin/iso-exec.c bin/ran.c $(TOOL) $(RUNDIR) $(CONNECT)
iso-exec_LIBS = -lpopt
iso-exec_LDFLAGS = $(STATIC_LDFLAGS)

iso-cp_SRC = bin/iso-cp.c $(TOOL) $(RUNDIR) $(CONNECT) lib/wire/request.c \
	     lib/sandbox/copy.c lib/sandbox/extract.c lib/sandbox/pack.c
iso-cp_LIBS = -larchive -lpopt

iso-ps_SRC = bin/iso-ps.c $(TOOL) $(RUNDIR) lib/sandbox/config.c \
	     lib/sandbox/usage.c
iso-ps_LIBS = -ljansson -lpopt

iso-rm_SRC = bin/iso-rm.c $(TOOL) $(RUNDIR) lib/sandbox/config.c \
	     lib/sandbox/usage.c
iso-rm_LIBS = -ljansson -lpopt

iso-logs_SRC = bin/iso-logs.c $(TOOL) $(RUNDIR) lib/sandbox/logs.c
iso-logs_LIBS = -lpopt

iso-pull_SRC = bin/iso-pull.c bin/pulltalk.c $(TOOL) $(OCI) $(REGISTRY)
iso-pull_LIBS = -lcurl -larchive -ljansson -lpopt -lcrypto

iso-mkrootfs_SRC = bin/iso-mkrootfs.c $(TOOL) $(OCI) $(ROOTFS)
iso-mkrootfs_LIBS = -larchive -lisal -lzstd -ljansson -lpopt -lcrypto

iso-host_SRC = bin/iso-host.c bin/ran.c $(TOOL) $(WIRE) lib/wire/client.c lib/wire/greet.c $(HOST) \
	       $(TINY) lib/vmm/check.c
iso-host_LIBS = -ljansson -lpopt
iso-host_GUESTS = check

vcpu-hello_SRC = demo/vcpu-hello.c $(BASE) $(TINY)
vcpu-hello_GUESTS = hello

# Linked for itself and statically: in its jail there is nothing to load from,
# either.
iso-vmm_SRC = bin/iso-vmm.c bin/vmmopt.c $(BASE) lib/base/sock.c $(VMM)

# The agent is built with another compiler and another libc: own objects.
agent_SRC = agent/main.c agent/boot.c agent/boot_host.c agent/boot_sandbox.c \
	    agent/setup.c agent/status.c agent/env.c agent/conn.c \
	    agent/stream.c agent/output.c agent/input.c agent/run.c \
	    agent/cgroup.c agent/user.c agent/as.c agent/pty.c agent/session.c \
	    agent/session_attach.c agent/session_run.c agent/session_shell.c \
	    agent/scrollback.c agent/port.c agent/file.c agent/tar.c \
	    agent/quiesce.c \
	    lib/base/loop.c $(WIRE) $(BASE)

# ---- rules ------------------------------------------------------------------

# Plain `make` builds what is installed and shown; it wants the packages of
# deps.list, which `make deps` installs.
all: programs completions

programs: $(PROGRAMS:%=$(O)/bin/%) $(DEMOS:%=$(O)/bin/%) $(O)/libexec/iso-agent \
	$(O)/libexec/iso-vmm

obj = $(patsubst %.c,$(O)/obj/%.o,$(1))

define PROGRAM
$(O)/bin/$(1): $$(call obj,$$($(1)_SRC)) $$($(1)_GUESTS:%=$(O)/guests/%.o)
	@mkdir -p $$(@D)
	$$(call say,LD   ,$$@)
	$$(Q)$$(CC) $$(or $$($(1)_LDFLAGS),$$(HOST_LDFLAGS)) -o $$@ $$^ $$($(1)_LIBS)
ALL_SRC += $$($(1)_SRC)
endef
$(foreach p,$(PROGRAMS) $(DEMOS),$(eval $(call PROGRAM,$(p))))

$(O)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC   ,$<)
	$(Q)$(CC) $(HOST_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/agent/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,MUSL ,$<)
	$(Q)$(MUSL_CC) $(AGENT_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/libexec/iso-agent: $(agent_SRC:%.c=$(O)/agent/%.o)
	@mkdir -p $(@D)
	$(call say,LD   ,$@)
	$(Q)$(MUSL_CC) $(AGENT_LDFLAGS) -o $@ $^

$(O)/libexec/iso-vmm: $(call obj,$(iso-vmm_SRC))
	@mkdir -p $(@D)
	$(call say,LD   ,$@)
	$(Q)$(CC) $(STATIC_LDFLAGS) -o $@ $^
ALL_SRC += $(iso-vmm_SRC)

# Tiny guests: each a flat binary made of one assembler file, which the programs
# that run it have in them as guest_NAME.
GUEST_BASE := $(shell awk '$$2 == "GUEST_BASE" { print $$3 }' \
		lib/vmm/guests/abi.h)

define GUEST_DIR
$(O)/guests/%.elf.o: $(1)/%.S Makefile
	@mkdir -p $$(@D)
	$$(call say,AS   ,$$<)
	$$(Q)$$(CC) -Ilib -Wa,--fatal-warnings -MMD -MP -c -o $$@ $$<
endef
$(foreach d,lib/vmm/guests tests/guests,$(eval $(call GUEST_DIR,$(d))))

$(O)/guests/%.bin: $(O)/guests/%.elf.o
	$(Q)$(LD) --fatal-warnings -Ttext $(GUEST_BASE) -e _start \
		--oformat binary -o $@ $<

$(O)/guests/%.o: lib/vmm/guests/embed.S $(O)/guests/%.bin
	$(Q)$(CC) -DNAME=$* -DFILE='"$(O)/guests/$*.bin"' -c -o $@ $<

.SECONDARY:


# ---- tests, benchmarks, fuzzing: their programs are listed in tests/tests.mk

include tests/tests.mk

# State of everything that is run from this tree.
ISO_ROOT ?= $(CURDIR)/build/iso
export ISO_ROOT

# Both do everything by themselves, so the packages come first; the rest is
# another make because what there is to build is only known with them.
check demo bench lint fuzz fuzz-coverage: deps
	+@$(MAKE) --no-print-directory do-$@

deps:
	@tools/deps deps.list

do-check: programs completions test-programs
	+@$(MAKE) --no-print-directory SAN=1 test-programs
	@tests/run $(TESTS)

do-demo: programs
	@demo/demo

do-bench: programs bench-programs
	@bench/run

do-lint:
	@tools/lint

do-fuzz: $(FUZZERS:%=$(O)/fuzz/%)
	@tests/fuzz/run $(O)/fuzz $(FUZZERS)

do-fuzz-coverage: $(COVERED:%=$(O)/fuzz/cover/%)
	@tests/fuzz/coverage $(O)/fuzz/cover $(COVERED)

format:
	clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h' | grep -v '\.inc\.h$$')

# ---- completions, from the programs' own option tables -----------------------

completions: $(foreach p,$(PROGRAMS),$(O)/completions/$(p).bash \
	$(O)/completions/_$(p) $(O)/completions/$(p).fish)

$(O)/completions/%.bash: $(O)/bin/%
	@mkdir -p $(@D)
	$(Q)$< --completion bash >$@
$(O)/completions/_%: $(O)/bin/%
	@mkdir -p $(@D)
	$(Q)$< --completion zsh >$@
$(O)/completions/%.fish: $(O)/bin/%
	@mkdir -p $(@D)
	$(Q)$< --completion fish >$@

# ---- installation -----------------------------------------------------------

MAN1 = $(PROGRAMS:%=man/%.1)
MAN7 = man/iso-agent.7
MAN8 = man/iso-vmm.8

install: programs completions
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBEXECDIR) \
		$(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man7 \
		$(DESTDIR)$(MANDIR)/man8 \
		$(DESTDIR)$(COMPDIR)/bash-completion/completions \
		$(DESTDIR)$(COMPDIR)/zsh/site-functions \
		$(DESTDIR)$(COMPDIR)/fish/vendor_completions.d
	install -m 755 $(PROGRAMS:%=$(O)/bin/%) $(DESTDIR)$(BINDIR)
	install -m 755 -s $(O)/libexec/iso-agent $(DESTDIR)$(LIBEXECDIR)
	install -m 755 $(O)/libexec/iso-vmm $(DESTDIR)$(LIBEXECDIR)
	install -m 644 $(MAN1) $(DESTDIR)$(MANDIR)/man1
	install -m 644 $(MAN7) $(DESTDIR)$(MANDIR)/man7
	install -m 644 $(MAN8) $(DESTDIR)$(MANDIR)/man8
	set -e; for p in $(PROGRAMS); do \
		install -m 644 $(O)/completions/$$p.bash \
		 $(DESTDIR)$(COMPDIR)/bash-completion/completions/$$p; \
		install -m 644 $(O)/completions/_$$p \
		 $(DESTDIR)$(COMPDIR)/zsh/site-functions/_$$p; \
		install -m 644 $(O)/completions/$$p.fish \
		 $(DESTDIR)$(COMPDIR)/fish/vendor_completions.d/$$p.fish; \
	done

uninstall:
	rm -f $(PROGRAMS:%=$(DESTDIR)$(BINDIR)/%) \
		$(DESTDIR)$(LIBEXECDIR)/iso-agent \
		$(DESTDIR)$(LIBEXECDIR)/iso-vmm \
		$(MAN1:man/%=$(DESTDIR)$(MANDIR)/man1/%) \
		$(MAN7:man/%=$(DESTDIR)$(MANDIR)/man7/%) \
		$(MAN8:man/%=$(DESTDIR)$(MANDIR)/man8/%) \
		$(PROGRAMS:%=$(DESTDIR)$(COMPDIR)/bash-completion/completions/%) \
		$(PROGRAMS:%=$(DESTDIR)$(COMPDIR)/zsh/site-functions/_%) \
		$(PROGRAMS:%=$(DESTDIR)$(COMPDIR)/fish/vendor_completions.d/%.fish)
	-rmdir $(DESTDIR)$(LIBEXECDIR)

# What was started from this tree ends before its files go.
clean:
	@if [ -x build/bin/iso-host ] && [ -d build/iso/host ]; then \
		for d in build/iso/host/*; do \
			ISO_ROOT=$(CURDIR)/build/iso build/bin/iso-host down \
				--quiet --name $${d##*/}; \
		done; fi
	rm -rf build

help:
	@echo 'make demo       everything, from nothing to a virtual CPU running'
	@echo 'make check      everything, and the tests pass'
	@echo 'make            build; SAN=1 with sanitizers, WERROR=1 strictly'
	@echo 'make deps       install the Debian packages it takes (as root)'
	@echo 'make bench      measure, against floors and peers'
	@echo 'make lint       static checks, layout, man pages'
	@echo 'make fuzz       fuzz every parser, FUZZ_SECONDS=60 each'
	@echo 'make fuzz-coverage  what the inputs that are kept reach'
	@echo 'make format     lay the C files out by clang-format'
	@echo 'make install    PREFIX=/usr/local DESTDIR= ; uninstall'
	@echo 'make clean      remove build/, stop what runs from it'

-include $(shell find $(O)/obj $(O)/guests $(O)/agent $(O)/fuzz -name '*.d' \
	2>/dev/null)

.PHONY: all programs completions check demo bench lint fuzz deps format \
	install uninstall clean help fuzz-coverage do-check do-demo do-bench \
	do-lint do-fuzz do-fuzz-coverage
.DELETE_ON_ERROR:
.SUFFIXES:
