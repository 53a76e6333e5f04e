/* SPDX-License-Identifier: MIT
 *
 * Can this machine run our virtual machines?  See check.h.
 *
 * That /dev/kvm is there says little, and that it creates VMs not much more:
 * some cloud machines have a software KVM that runs only kernels made for it.
 * Nor do the capabilities that KVM reports tell: such a one has them all.  So
 * the verdict comes from running a guest (guests/check.S) through what a stock
 * kernel needs.  There, a stock kernel gets through ten seconds of interpreted
 * start-up before it dies of an instruction the interpreter does not know; our
 * guest meets the same end within milliseconds.
 *
 * The guest alone does not suffice either: an interpreter may learn all its
 * steps and still be an interpreter.  Hence the second condition, that the
 * processor offers hardware virtualization at all.
 */
#include "vmm/check.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

#include <assert.h>
#include <cpuid.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Hundreds of times what the slowest machine takes for a guest that works. */
#define GUEST_LIMIT CLOCK_S(5)

#define EMULATED "use the emulated host: iso-host up"

static const char *const verdict_names[] = {
	[CHECK_ABLE] = "able",	     [CHECK_ABSENT] = "absent",
	[CHECK_DENIED] = "denied",   [CHECK_BUSY] = "busy",
	[CHECK_LACKING] = "lacking", [CHECK_FOREIGN] = "foreign",
	[CHECK_FAULTY] = "faulty",
};
static_assert(ARRAY_SIZE(verdict_names) == CHECK_VERDICTS, "a name each");

static const char *const step_names[] = {
	[STEP_ENTRY] = "32-bit entry",
	[STEP_PAGING] = "paging and 64-bit mode",
	[STEP_TABLES] = "descriptor tables",
	[STEP_CONTROL] = "control registers",
	[STEP_MSR] = "model-specific registers",
	[STEP_EXCEPTION] = "exception",
	[STEP_PAGE_FAULT] = "page fault",
	[STEP_TSC] = "time stamp counter",
	[STEP_MMIO] = "memory-mapped device",
	[STEP_TIMER] = "timer interrupt",
	[STEP_ATOMIC] = "16-byte atomic exchange",
	[STEP_FPU] = "vector registers",
	[STEP_USER] = "user mode and system call",
};
static_assert(ARRAY_SIZE(step_names) == STEP_LAST + 1, "a name each");

/* Without these no VM of ours is built. */
static const struct {
	int cap;
	const char *name;
} needed[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_SYNC_MMU, "KVM_CAP_SYNC_MMU" },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
	  "KVM_CAP_DESTROY_MEMORY_REGION_WORKS" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	/* To save a machine and load it again. */
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS" },
	{ KVM_CAP_XSAVE, "KVM_CAP_XSAVE" },
	{ KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK" },
};

const char *check_verdict_name(enum check_verdict v)
{
	return v < CHECK_VERDICTS ? verdict_names[v] : "?";
}

const char *check_step_name(unsigned int step)
{
	return step >= 1 && step <= STEP_LAST ? step_names[step] : "?";
}

static void __attribute__((format(printf, 3, 4)))
conclude(struct check *c, enum check_verdict v, const char *fmt, ...)
{
	va_list ap;

	c->verdict = v;
	va_start(ap, fmt);
	vsnprintf(c->reason, sizeof(c->reason), fmt, ap);
	va_end(ap);
}

static void __attribute__((format(printf, 2, 3)))
advise(struct check *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->remedy, sizeof(c->remedy), fmt, ap);
	va_end(ap);
}

/* ---- the processor ------------------------------------------------------- */

static void read_model(char model[static 49])
{
	unsigned int r[12] = { 0 };
	const char *from = (const char *)r;
	struct str name;

	if ((unsigned int)__get_cpuid_max(0x80000000, NULL) < 0x80000004)
		return;
	for (size_t i = 0; i < 3; i++)
		__cpuid(0x80000002 + (unsigned int)i, r[4 * i], r[4 * i + 1],
			r[4 * i + 2], r[4 * i + 3]);
	/* 48 bytes, padded with blanks or NULs at either end. */
	name = str_trim((struct str){ from, strnlen(from, sizeof(r)) });
	snprintf(model, 49, "%.*s", STR_ARG(name));
}

static void read_cpu(struct check_cpu *cpu)
{
	unsigned int a, b, c, d;

	if (!__get_cpuid(0, &a, &b, &c, &d))
		return;
	memcpy(cpu->vendor, &b, 4);
	memcpy(cpu->vendor + 4, &d, 4);
	memcpy(cpu->vendor + 8, &c, 4);
	if (__get_cpuid(1, &a, &b, &c, &d)) {
		cpu->vmx = c & (1U << 5);
		cpu->guest = c & (1U << 31);
	}
	if (__get_cpuid(0x80000001, &a, &b, &c, &d))
		cpu->svm = c & (1U << 2);
	read_model(cpu->model);
}

static bool has_hardware(const struct check_cpu *cpu)
{
	return cpu->vmx || cpu->svm;
}

/* ---- verdicts ------------------------------------------------------------ */

static void advise_absent(struct check *c, const char *path)
{
	const struct check_cpu *cpu = &c->cpu;

	if (strcmp(path, KVM_PATH) != 0 && access(KVM_PATH, F_OK) == 0)
		advise(c, "look at " KVM_PATH " instead");
	else if (access("/sys/class/misc/kvm", F_OK) == 0)
		advise(c, "KVM is loaded, only not visible here: in a "
			  "container, pass it in with --device " KVM_PATH);
	else if (has_hardware(cpu))
		advise(c,
		       "load the driver: modprobe %s; if it is refused, "
		       "enable %s in the firmware",
		       cpu->svm ? "kvm_amd" : "kvm_intel",
		       cpu->svm ? "AMD-V (SVM)" : "VT-x");
	else if (cpu->guest)
		advise(c, "have nested virtualization enabled for this virtual "
			  "machine, or " EMULATED);
	else
		advise(c, "enable VT-x or AMD-V in the firmware and load "
			  "kvm_intel or kvm_amd, or " EMULATED);
}

/* The name of group @gid, or its number. */
static const char *group_name(gid_t gid, char name[static 64])
{
	struct group g, *found = NULL;
	char buf[4096];

	if (getgrgid_r(gid, &g, buf, sizeof(buf), &found) == 0 && found)
		snprintf(name, 64, "%s", g.gr_name);
	else
		snprintf(name, 64, "%u", gid);
	return name;
}

static void on_denied(struct check *c, const char *path, int num)
{
	char group[64];
	struct stat st;

	if (stat(path, &st) < 0) {
		conclude(c, CHECK_DENIED, "cannot reach %s: %s", path,
			 strerrordesc_np(num));
		advise(c, "let this user into its directory");
		return;
	}
	group_name(st.st_gid, group);
	conclude(c, CHECK_DENIED,
		 "no permission to open %s (user %u, group %s, mode %03o)",
		 path, st.st_uid, group, st.st_mode & 0777);
	if (geteuid() == 0)
		advise(c,
		       "a device policy forbids it even to root; in a "
		       "container, pass it in with --device %s",
		       path);
	else if ((st.st_mode & 0060) == 0060 && st.st_gid != 0)
		advise(c,
		       "join the group: sudo usermod -aG %s $USER, then log "
		       "in again",
		       group);
	else
		advise(c,
		       "let a group of yours use it: sudo chgrp kvm %s && "
		       "sudo chmod 660 %s",
		       path, path);
}

/* Turn the failure to open the device into a verdict, if it is one. */
static int on_open_error(struct check *c, const char *path, struct err *e)
{
	switch (e->num) {
	case ENOENT:
	case ENOTDIR:
	case ENODEV:
	case ENXIO:
	case EISDIR:
	case ELOOP:
	case ENOTTY:
		conclude(c, CHECK_ABSENT, "%s", e->text);
		advise_absent(c, path);
		return 0;
	case EACCES:
	case EPERM:
		on_denied(c, path, e->num);
		return 0;
	case EPROTO:
		conclude(c, CHECK_LACKING, "%s", e->text);
		advise(c, "run a current Linux kernel, or " EMULATED);
		return 0;
	default:
		return -e->num;
	}
}

static bool find_lacking(struct check *c, const struct kvm_dev *k)
{
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (kvm_dev_cap(k, needed[i].cap) > 0)
			continue;
		conclude(c, CHECK_LACKING, "this KVM lacks %s", needed[i].name);
		advise(c, "run a current Linux kernel, or " EMULATED);
		return true;
	}
	return false;
}

static void on_unfit(struct check *c, const char *path, const char *why)
{
	if (has_hardware(&c->cpu)) {
		conclude(c, CHECK_FAULTY, "%s fails on a plain guest: %s", path,
			 why);
		advise(c, c->cpu.guest ?
				  "the virtual machine below this one "
				  "virtualizes badly: " EMULATED :
				  "update the kernel and the processor's "
				  "microcode, or " EMULATED);
		return;
	}
	conclude(c, CHECK_FOREIGN,
		 "%s runs only kernels made for it: the processor offers no "
		 "hardware virtualization, and %s",
		 path, why);
	advise(c, "have nested virtualization enabled for this virtual "
		  "machine, or " EMULATED);
}

static int on_create_error(struct check *c, const char *path, struct err *e)
{
	switch (e->num) {
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case EAGAIN:
		return -e->num;
	case EBUSY:
		conclude(c, CHECK_BUSY,
			 "%s is there, but another hypervisor "
			 "holds the processor",
			 path);
		advise(c, "stop the other one (VirtualBox, VMware)");
		return 0;
	default:
		on_unfit(c, path, e->text);
		return 0;
	}
}

static void judge_run(struct check *c, const char *path)
{
	const struct tiny_result *r = &c->run;
	char end[64], why[160];

	if (r->end != TINY_EXITED || r->code != GUEST_EXIT_OK) {
		snprintf(why, sizeof(why),
			 "the test guest failed in step %u of %u, %s: %s",
			 r->step, (unsigned int)STEP_LAST,
			 check_step_name(r->step), tiny_end_text(r, end));
		on_unfit(c, path, why);
	} else if (r->step != STEP_LAST) {
		on_unfit(c, path, "the test guest skipped steps");
	} else if (!has_hardware(&c->cpu)) {
		on_unfit(c, path, "only the test guest went well");
	} else {
		conclude(c, CHECK_ABLE, "%s runs guests in hardware (%s)", path,
			 c->cpu.svm ? "AMD-V" : "VT-x");
	}
}

static int examine(struct check *c, const char *path, struct err *e)
{
	kvm_dev_auto struct kvm_dev k = KVM_DEV_INIT;
	tiny_auto struct tiny t = TINY_INIT;
	int r;

	r = kvm_dev_open(&k, path, e);
	c->api = k.api > 0 ? k.api : 0;
	if (r < 0)
		return on_open_error(c, path, e);
	if (find_lacking(c, &k))
		return 0;
	r = tiny_create(&t, &k, guest_check,
			(size_t)(guest_check_end - guest_check), e);
	if (r < 0)
		return on_create_error(c, path, e);
	r = tiny_run(&t, GUEST_LIMIT, &c->run, e);
	if (r < 0)
		return r;
	c->ran = true;
	judge_run(c, path);
	return 0;
}

int check_kvm(struct check *c, const char *path, struct err *e)
{
	uint64_t begun = clock_now();
	struct err own = ERR_INIT;
	int r;

	*c = (struct check){ .verdict = CHECK_ABSENT };
	read_cpu(&c->cpu);
	r = examine(c, path ? path : KVM_PATH, &own);
	c->total_ns = clock_now() - begun;
	if (r < 0 && e)
		*e = own;
	return r;
}
