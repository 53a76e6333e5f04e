# SPDX-License-Identifier: MIT
#
# The programs of the tests, the benchmarks and the fuzzers: part of the
# Makefile, whose lists (BASE, WIRE, ...) and rules they use.

# ---- unit tests: tests/unit/NAME.c becomes $(O)/bin/NAME --------------------

UNIT = base_err base_buf base_str base_io base_proc base_run base_sock base_opt \
       base_progress wire_frame wire_msg wire_client wire_lost \
       agent_user agent_run agent_flow agent_breach agent_tty host_mux \
       host_load \
       kvm_check kvm_tiny base_sha256 guest_bzimage guest_deb \
       guest_initramfs oci_ref oci_manifest oci_store oci_challenge oci_creds \
       rootfs_path rootfs_pax rootfs_space rootfs_spill rootfs_tree \
       vmm_boot vmm_acpi vmm_serial vmm_mem vmm_prefetch vmm_queue vmm_queue_use \
       vmm_mmio vmm_blk vmm_blk_flow vmm_pmem vmm_vsock vmm_vsock_flow vmm_state vmm_rng \
       vmm_balloon vmm_net vmm_log vmm_jail \
       vmm_jail_errors vmm_jail_cost vmm_filter vmm_seccomp agent_setup agent_file \
       agent_session agent_attach agent_port sandbox_id sandbox_rundir \
       sandbox_scratch sandbox_extract agent_quiesce agent_status sandbox_snapshot \
       sandbox_snapshot_end sandbox_snapshot_move

kvm_check_SRC = tests/unit/kvm_check.c $(BASE) $(TINY) lib/vmm/check.c
kvm_check_GUESTS = check
kvm_tiny_SRC = tests/unit/kvm_tiny.c $(BASE) $(TINY)
kvm_tiny_GUESTS = spin halt stray chatter

base_err_SRC = tests/unit/base_err.c $(BASE)
base_buf_SRC = tests/unit/base_buf.c $(BASE)
base_str_SRC = tests/unit/base_str.c $(BASE)
base_io_SRC = tests/unit/base_io.c $(BASE)
base_proc_SRC = tests/unit/base_proc.c $(BASE)
base_run_SRC = tests/unit/base_run.c $(BASE)
base_opt_SRC = tests/unit/base_opt.c lib/base/opt.c lib/base/optgen.c $(BASE)
base_opt_LIBS = -lpopt
base_sock_SRC = tests/unit/base_sock.c lib/base/sock.c $(BASE)
base_progress_SRC = tests/unit/base_progress.c lib/base/progress.c $(BASE)
wire_frame_SRC = tests/unit/wire_frame.c $(WIRE) $(BASE)
wire_client_SRC = tests/unit/wire_client.c lib/wire/client.c lib/wire/greet.c $(WIRE) $(BASE)
wire_lost_SRC = tests/unit/wire_lost.c lib/wire/client.c lib/wire/greet.c $(WIRE) $(BASE)
wire_msg_SRC = tests/unit/wire_msg.c $(WIRE) $(BASE)
base_sha256_SRC = tests/unit/base_sha256.c $(BASE) lib/base/sha256.c
base_sha256_LIBS = -lcrypto
guest_bzimage_SRC = tests/unit/guest_bzimage.c $(BASE) \
		    lib/guest/bzimage.c lib/guest/raw.c
guest_bzimage_LIBS = -larchive
guest_deb_SRC = tests/unit/guest_deb.c $(BASE) $(GUEST) lib/base/progress.c
guest_deb_LIBS = -larchive -lkmod -ljansson -lcrypto
guest_initramfs_SRC = tests/unit/guest_initramfs.c $(BASE) $(GUEST) \
		      lib/base/progress.c
guest_initramfs_LIBS = -larchive -lkmod -ljansson -lcrypto

# What tests/run runs each test by.
test_alone_SRC = tests/alone.c $(BASE)

# The agent, built like any other program, which the tests talk to.
agent_native_SRC = $(agent_SRC)
agent_flow_SRC = tests/unit/agent_flow.c $(WIRE) $(BASE)
agent_breach_SRC = tests/unit/agent_breach.c lib/base/sock.c $(WIRE) $(BASE)
MUX = lib/host/mux.c lib/base/sock.c $(WIRE) $(BASE)
host_mux_SRC = tests/unit/host_mux.c $(MUX)
host_load_SRC = tests/unit/host_load.c $(MUX)
agent_tty_SRC = tests/unit/agent_tty.c $(WIRE) $(BASE)
agent_user_SRC = tests/unit/agent_user.c agent/user.c $(BASE)
agent_session_SRC = tests/unit/agent_session.c lib/base/sock.c \
		    lib/base/sha256.c $(WIRE) $(BASE)
agent_session_LIBS = -lcrypto
agent_attach_SRC = tests/unit/agent_attach.c lib/base/sock.c $(WIRE) $(BASE)
agent_port_SRC = tests/unit/agent_port.c $(WIRE) $(BASE)
sandbox_id_SRC = tests/unit/sandbox_id.c lib/sandbox/id.c $(BASE)
sandbox_rundir_SRC = tests/unit/sandbox_rundir.c $(RUNDIR) $(BASE)
sandbox_scratch_SRC = tests/unit/sandbox_scratch.c lib/sandbox/scratch.c lib/base/extent.c $(BASE)
sandbox_extract_SRC = tests/unit/sandbox_extract.c lib/sandbox/extract.c \
		      lib/sandbox/pack.c $(BASE)
sandbox_extract_LIBS = -larchive
agent_setup_SRC = tests/unit/agent_setup.c agent/setup.c agent/cgroup.c \
		  $(WIRE) $(BASE)
agent_file_SRC = tests/unit/agent_file.c $(WIRE) $(BASE)
agent_quiesce_SRC = tests/unit/agent_quiesce.c lib/base/sock.c $(WIRE) $(BASE)
agent_status_SRC = tests/unit/agent_status.c agent/status.c lib/base/loop.c \
		   $(BASE)
agent_status_LIBS = -Wl,--wrap=socket,--wrap=connect,--wrap=getsockopt
# The agent as the first process of namespaces of its own, its machine played.
agent_boxed_SRC = tests/agent/boxed.c $(filter-out agent/boot%,$(agent_SRC))
SNAPTEST = $(SNAPSHOT) $(SNAPMAKE) lib/sandbox/config.c $(RUNDIR) $(BASE)
sandbox_snapshot_SRC = tests/unit/sandbox_snapshot.c $(SNAPTEST)
sandbox_snapshot_LIBS = -ljansson -lcrypto
sandbox_snapshot_end_SRC = tests/unit/sandbox_snapshot_end.c $(SNAPTEST)
sandbox_snapshot_end_LIBS = -ljansson -lcrypto
sandbox_snapshot_move_SRC = tests/unit/sandbox_snapshot_move.c $(SNAPTEST)
sandbox_snapshot_move_LIBS = -ljansson -lcrypto
agent_run_SRC = tests/unit/agent_run.c $(WIRE) $(BASE)

BENCH = bench_exec bench_until bench_talk bench_machine

oci_ref_SRC = tests/unit/oci_ref.c $(BASE) $(OCI)
oci_ref_LIBS = -larchive -ljansson -lcrypto
oci_manifest_SRC = tests/unit/oci_manifest.c $(BASE) $(OCI)
oci_manifest_LIBS = -larchive -ljansson -lcrypto
oci_store_SRC = tests/unit/oci_store.c $(BASE) $(OCI)
oci_store_LIBS = -larchive -ljansson -lcrypto
oci_challenge_SRC = tests/unit/oci_challenge.c $(BASE) lib/oci/challenge.c
oci_challenge_LIBS = -lcurl
oci_creds_SRC = tests/unit/oci_creds.c $(BASE) lib/oci/creds.c lib/oci/json.c
oci_creds_LIBS = -ljansson -lcrypto

rootfs_path_SRC = tests/unit/rootfs_path.c lib/rootfs/path.c $(BASE)
rootfs_pax_SRC = tests/unit/rootfs_pax.c lib/rootfs/pax.c $(BASE)
rootfs_space_SRC = tests/unit/rootfs_space.c lib/rootfs/space.c $(BASE)
rootfs_spill_SRC = tests/unit/rootfs_spill.c lib/rootfs/spill.c $(BASE)
rootfs_tree_SRC = tests/unit/rootfs_tree.c lib/rootfs/tree.c \
		  lib/rootfs/walk.c lib/rootfs/siphash.c lib/rootfs/spill.c $(BASE)

DEVICE = lib/vmm/virtio/queue.c lib/vmm/virtio/mmio.c lib/vmm/mem.c \
	 lib/vmm/virtio/state.c lib/vmm/state.c lib/vmm/kvm.c lib/base/loop.c $(BASE)
VSOCK = lib/vmm/virtio/vsock.c lib/vmm/virtio/vsock_conn.c \
	lib/vmm/virtio/vsock_rx.c
JAIL = lib/vmm/jail.c lib/vmm/seccomp.c
vmm_jail_SRC = tests/unit/vmm_jail.c $(JAIL) $(BASE)
vmm_jail_errors_SRC = tests/unit/vmm_jail_errors.c $(JAIL) $(BASE)
vmm_jail_cost_SRC = tests/unit/vmm_jail_cost.c $(JAIL) $(BASE)
vmm_filter_SRC = tests/unit/vmm_filter.c $(JAIL) $(BASE)
vmm_seccomp_SRC = tests/unit/vmm_seccomp.c $(JAIL) $(BASE)
vmm_state_SRC = tests/unit/vmm_state.c lib/vmm/virtio/balloon.c $(DEVICE)
vmm_vsock_SRC = tests/unit/vmm_vsock.c $(VSOCK) $(DEVICE)
vmm_vsock_flow_SRC = tests/unit/vmm_vsock_flow.c $(VSOCK) $(DEVICE)
vmm_mem_SRC = tests/unit/vmm_mem.c lib/vmm/mem.c lib/vmm/kvm.c $(BASE)
vmm_prefetch_SRC = tests/unit/vmm_prefetch.c lib/vmm/prefetch.c $(BASE)
vmm_queue_SRC = tests/unit/vmm_queue.c $(DEVICE)
vmm_queue_use_SRC = tests/unit/vmm_queue_use.c $(DEVICE)
vmm_mmio_SRC = tests/unit/vmm_mmio.c $(DEVICE)
vmm_blk_SRC = tests/unit/vmm_blk.c lib/vmm/virtio/blk.c $(DEVICE)
vmm_blk_flow_SRC = tests/unit/vmm_blk_flow.c lib/vmm/virtio/blk.c $(DEVICE)
vmm_pmem_SRC = tests/unit/vmm_pmem.c lib/vmm/virtio/pmem.c $(DEVICE)
vmm_log_SRC = tests/unit/vmm_log.c lib/vmm/log.c $(BASE)
vmm_rng_SRC = tests/unit/vmm_rng.c lib/vmm/virtio/rng.c $(DEVICE)
vmm_balloon_SRC = tests/unit/vmm_balloon.c lib/vmm/virtio/balloon.c $(DEVICE)
vmm_net_SRC = tests/unit/vmm_net.c lib/vmm/virtio/net.c $(DEVICE)
vmm_boot_SRC = tests/unit/vmm_boot.c lib/vmm/boot.c lib/vmm/elf.c \
	       lib/vmm/mem.c lib/vmm/kvm.c $(BASE)
vmm_acpi_SRC = tests/unit/vmm_acpi.c lib/vmm/acpi.c lib/vmm/aml.c \
	       lib/vmm/mem.c lib/vmm/kvm.c $(BASE)
vmm_serial_SRC = tests/unit/vmm_serial.c lib/vmm/serial.c lib/vmm/state.c $(BASE)

bench_exec_SRC = bench/exec.c $(WIRE) $(BASE)
bench_until_SRC = bench/until.c $(BASE)
bench_talk_SRC = bench/talk.c lib/base/sock.c $(BASE)
# It stands between these functions and who calls them: see bench/laps.h.
MACHINE_LAPS = ioctl fork exit_serve mem_create_from mem_attach pmem_attach \
	       kvm_vm_create kvm_vm_add_irqchip kvm_vm_irqfd kvm_vm_ioeventfd \
	       vcpus_create vm_state_load vm_state_load_kvm vm_state_save_kvm
bench_machine_SRC = bench/machine.c bench/machine_floors.c bench/laps.c \
		    lib/base/sock.c $(BASE) $(VMM)
bench_machine_LIBS = $(MACHINE_LAPS:%=-Wl,--wrap=%)
# It is the first process of a guest that has no libraries: as the agent is.
bench_peer_SRC = bench/peer.c $(BASE)
$(O)/bin/bench_peer: $(bench_peer_SRC:%.c=$(O)/agent/%.o)
	@mkdir -p $(@D)
	$(call say,LD   ,$@)
	$(Q)$(MUSL_CC) $(AGENT_LDFLAGS) -o $@ $^

$(foreach p,$(UNIT) agent_native agent_boxed test_alone $(BENCH),$(eval $(call PROGRAM,$(p))))

test-programs: $(UNIT:%=$(O)/bin/%) $(O)/bin/agent_native $(O)/bin/agent_boxed

# ---- guests of the device tests: tests/guests/NAME.c, kernels for iso-vmm ----

# 32-bit code, which every KVM runs, by a compiler that needs no 32-bit library
# for that; in a 64-bit file, which the VMM's loader wants.  They are the same
# for the build with sanitizers, which is to have an iso-vmm of its own for them.
VMGUESTS = balloon blk ends map net pmem regs rings rng smp vsock
VMGUEST_CFLAGS = -std=gnu17 -m32 -ffreestanding -fno-pic -fno-pie \
		 -fno-stack-protector -fcf-protection=none \
		 -fno-asynchronous-unwind-tables -mno-mmx -mno-sse -mno-80387 \
		 -O2 -g -Ilib $(WARN)
VMGUEST_LDFLAGS = -m32 -nostdlib -static -no-pie -T tests/guests/guest.lds \
		  -Wl,--build-id=none,--fatal-warnings,--no-warn-rwx-segments

$(O)/vmguests/%.o: tests/guests/%.c Makefile tests/tests.mk
	@mkdir -p $(@D)
	$(call say,GUEST,$<)
	$(Q)$(CC) $(VMGUEST_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/vmguests/start.o: tests/guests/start.S Makefile tests/tests.mk
	@mkdir -p $(@D)
	$(Q)$(CC) -m32 -Wa,--fatal-warnings -c -o $@ $<

$(O)/vmguests/%.elf: $(O)/vmguests/%.o $(O)/vmguests/start.o \
		     $(O)/vmguests/rt.o $(O)/vmguests/virtio.o \
		     tests/guests/guest.lds
	$(Q)$(CC) $(VMGUEST_LDFLAGS) -o $@.32 $(filter %.o,$^)
	$(Q)objcopy -O elf64-x86-64 $@.32 $@

-include $(wildcard $(O)/vmguests/*.d)

ifdef SAN
test-programs: $(O)/libexec/iso-vmm
else
test-programs: $(O)/bin/test_alone $(VMGUESTS:%=$(O)/vmguests/%.elf)
endif

bench-programs: $(BENCH:%=$(O)/bin/%) $(O)/bin/bench_peer \
	$(O)/vmguests/steps.elf
.PHONY: test-programs bench-programs

# ---- fuzzers: tests/fuzz/NAME.c and what it fuzzes, by clang's libFuzzer ----

FUZZERS = bzimage frame request user numbers agent mux \
	  oci_ref oci_json oci_challenge layer vmm_elf vmm_serial \
	  vmm_mmio vmm_queue vmm_blk vmm_pmem vmm_vsock vmm_state \
	  vmm_rng vmm_balloon vmm_net vmm_prefetch snapshot

bzimage_FUZZ = tests/fuzz/bzimage.c lib/guest/bzimage.c lib/guest/raw.c $(BASE)
bzimage_FUZZ_LIBS = -larchive
frame_FUZZ = tests/fuzz/frame.c $(WIRE) $(BASE)
request_FUZZ = tests/fuzz/request.c $(WIRE) $(BASE)
user_FUZZ = tests/fuzz/user.c agent/user.c $(BASE)
agent_FUZZ = tests/fuzz/agent.c agent/cgroup.c $(WIRE) $(BASE)
mux_FUZZ = tests/fuzz/mux.c lib/host/mux.c lib/base/sock.c agent/cgroup.c \
	   $(WIRE) $(BASE)
numbers_FUZZ = tests/fuzz/numbers.c $(BASE)

oci_ref_FUZZ = tests/fuzz/oci_ref.c $(OCI) $(BASE)
oci_ref_FUZZ_LIBS = -larchive -ljansson -lcrypto
oci_json_FUZZ = tests/fuzz/oci_json.c $(OCI) $(BASE)
oci_json_FUZZ_LIBS = -larchive -ljansson -lcrypto
oci_challenge_FUZZ = tests/fuzz/oci_challenge.c lib/oci/challenge.c $(OCI) \
		     $(BASE)
oci_challenge_FUZZ_LIBS = -lcurl -larchive -ljansson -lcrypto
layer_FUZZ = tests/fuzz/layer.c $(LAYERS) lib/base/sha256.c \
	     lib/base/progress.c $(BASE)
layer_FUZZ_LIBS = -larchive -lisal -lzstd -lcrypto

vmm_elf_FUZZ = tests/fuzz/vmm_elf.c lib/vmm/boot.c lib/vmm/elf.c \
	       lib/vmm/mem.c lib/vmm/kvm.c $(BASE)
vmm_serial_FUZZ = tests/fuzz/vmm_serial.c lib/vmm/serial.c lib/vmm/state.c \
		  $(BASE)

vmm_state_FUZZ = tests/fuzz/vmm_state.c lib/vmm/virtio/balloon.c \
		 lib/vmm/virtio/blk.c lib/vmm/virtio/rng.c lib/vmm/serial.c $(DEVICE)
vmm_vsock_FUZZ = tests/fuzz/vmm_vsock.c $(VSOCK) $(DEVICE)
snapshot_FUZZ = tests/fuzz/snapshot.c $(SNAPTEST)
snapshot_FUZZ_LIBS = -ljansson -lcrypto
vmm_prefetch_FUZZ = tests/fuzz/vmm_prefetch.c lib/vmm/prefetch.c $(BASE)
vmm_rng_FUZZ = tests/fuzz/vmm_rng.c lib/vmm/virtio/rng.c $(DEVICE)
vmm_balloon_FUZZ = tests/fuzz/vmm_balloon.c lib/vmm/virtio/balloon.c $(DEVICE)
vmm_net_FUZZ = tests/fuzz/vmm_net.c lib/vmm/virtio/net.c $(DEVICE)
vmm_mmio_FUZZ = tests/fuzz/vmm_mmio.c $(DEVICE)
vmm_queue_FUZZ = tests/fuzz/vmm_queue.c $(DEVICE)
vmm_blk_FUZZ = tests/fuzz/vmm_blk.c lib/vmm/virtio/blk.c $(DEVICE)
vmm_pmem_FUZZ = tests/fuzz/vmm_pmem.c lib/vmm/virtio/pmem.c $(DEVICE)

FUZZ_FLAGS = -g -O1 -fsanitize=fuzzer,address,undefined \
	     -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION \
	     -fno-sanitize-recover=all

define FUZZER
$(O)/fuzz/$(1): $$($(1)_FUZZ) Makefile tests/tests.mk
	@mkdir -p $$(@D)
	$$(CLANG) $$(FUZZ_FLAGS) -std=gnu17 -D_GNU_SOURCE \
		-DISO_VERSION='"$$(VERSION)"' -Ilib -I. \
		-o $$@ $$($(1)_FUZZ) $$($(1)_FUZZ_LIBS)
endef
$(foreach f,$(FUZZERS),$(eval $(call FUZZER,$(f))))

# The VMM's once more, to see what the inputs that are kept reach.  Always made
# anew: nothing here knows of headers.
COVERED = $(filter vmm_%,$(FUZZERS))
COVER_FLAGS = -g -O1 -fsanitize=fuzzer -fprofile-instr-generate \
	      -fcoverage-mapping -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION

define COVER
$(O)/fuzz/cover/$(1): FORCE
	@mkdir -p $$(@D)
	$$(call say,COVER,$$@)
	$$(Q)$$(CLANG) $$(COVER_FLAGS) -std=gnu17 -D_GNU_SOURCE \
		-DISO_VERSION='"$$(VERSION)"' -Ilib -I. \
		-o $$@ $$($(1)_FUZZ) $$($(1)_FUZZ_LIBS)
endef
$(foreach f,$(COVERED),$(eval $(call COVER,$(f))))
FORCE:
.PHONY: FORCE
