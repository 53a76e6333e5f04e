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

# musl has no Linux headers of its own; the system's come after musl's.
AGENT_CFLAGS = $(BASE_CFLAGS) -Os -g -fstack-protector-strong -static \
	       -ffunction-sections -fdata-sections -idirafter /usr/include \
	       -idirafter /usr/include/x86_64-linux-gnu
AGENT_LDFLAGS = -static -Wl,--gc-sections,-z,relro,-z,noexecstack

# ---- programs: their sources, and what they are linked with -----------------

BASE = lib/base/err.c lib/base/fd.c lib/base/buf.c lib/base/str.c \
       lib/base/io.c lib/base/proc.c lib/base/clock.c
TOOL = $(BASE) lib/base/opt.c lib/base/optgen.c lib/base/progress.c bin/tool.c
WIRE = lib/wire/frame.c lib/wire/msg.c

PROGRAMS = iso-kernel iso-host
DEMOS = vcpu-hello

GUEST = lib/base/sha256.c lib/guest/kernel.c lib/guest/source.c \
	lib/guest/store.c lib/guest/apt.c lib/guest/deb.c lib/guest/raw.c \
	lib/guest/bzimage.c lib/guest/modules.c lib/guest/initramfs.c
TINY = lib/vmm/kvm.c lib/vmm/tiny.c
HOST = lib/host/emu.c lib/host/supervise.c lib/host/view.c lib/host/mux.c \
       lib/base/sock.c

iso-kernel_SRC = bin/iso-kernel.c $(TOOL) $(GUEST)
iso-kernel_LIBS = -larchive -lkmod -ljansson -lpopt -lcrypto

iso-host_SRC = bin/iso-host.c $(TOOL) $(WIRE) lib/wire/client.c $(HOST) \
	       $(TINY) lib/vmm/check.c
iso-host_LIBS = -ljansson -lpopt
iso-host_GUESTS = check

vcpu-hello_SRC = demo/vcpu-hello.c $(BASE) $(TINY)
vcpu-hello_GUESTS = hello

# The agent is built with another compiler and another libc: own objects.
agent_SRC = agent/main.c agent/boot.c agent/conn.c agent/stream.c agent/run.c \
	    agent/cgroup.c agent/user.c agent/loop.c $(WIRE) $(BASE)

# ---- rules ------------------------------------------------------------------

all: $(PROGRAMS:%=$(O)/bin/%) $(DEMOS:%=$(O)/bin/%) $(O)/libexec/iso-agent

obj = $(patsubst %.c,$(O)/obj/%.o,$(1))

define PROGRAM
$(O)/bin/$(1): $$(call obj,$$($(1)_SRC)) $$($(1)_GUESTS:%=$(O)/guests/%.o)
	@mkdir -p $$(@D)
	$$(CC) $$(HOST_LDFLAGS) -o $$@ $$^ $$($(1)_LIBS)
ALL_SRC += $$($(1)_SRC)
endef
$(foreach p,$(PROGRAMS) $(DEMOS),$(eval $(call PROGRAM,$(p))))

$(O)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/agent/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(MUSL_CC) $(AGENT_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/libexec/iso-agent: $(agent_SRC:%.c=$(O)/agent/%.o)
	@mkdir -p $(@D)
	$(MUSL_CC) $(AGENT_LDFLAGS) -o $@ $^

# Tiny guests: each a flat binary made of one assembler file, which the programs
# that run it have in them as guest_NAME.
GUEST_BASE := $(shell awk '$$2 == "GUEST_BASE" { print $$3 }' \
		lib/vmm/guests/abi.h)

define GUEST_DIR
$(O)/guests/%.elf.o: $(1)/%.S Makefile
	@mkdir -p $$(@D)
	$$(CC) -Ilib -Wa,--fatal-warnings -MMD -MP -c -o $$@ $$<
endef
$(foreach d,lib/vmm/guests tests/guests,$(eval $(call GUEST_DIR,$(d))))

$(O)/guests/%.bin: $(O)/guests/%.elf.o
	$(LD) --fatal-warnings -Ttext $(GUEST_BASE) -e _start \
		--oformat binary -o $@ $<

$(O)/guests/%.o: lib/vmm/guests/embed.S $(O)/guests/%.bin
	$(CC) -DNAME=$* -DFILE='"$(O)/guests/$*.bin"' -c -o $@ $<

.SECONDARY:

-include $(shell find $(O)/obj $(O)/guests $(O)/agent -name '*.d' 2>/dev/null)

.PHONY: all
.DELETE_ON_ERROR:
.SUFFIXES:
