/* SPDX-License-Identifier: MIT
 *
 * Setups: what commands get from them, and which machine it is afterwards.
 */
#include "tests/tap.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "agent/setup.h"
#include "base/io.h"
#include "tests/unit/agent_peer.h"

#define ID "0123456789abcdef0123456789abcdef"

static struct wire_request setup_of(const char **env, size_t n)
{
	struct wire_request x = WIRE_REQUEST_INIT;

	x.op = WIRE_OP_SETUP;
	x.envp = env;
	x.envc = n;
	x.hostname = "box-1";
	x.machine_id = ID;
	x.entropy = (const uint8_t *)ID;
	x.entropy_len = 32;
	x.clock_ns = 1;
	return x;
}

/* ---- what commands get ---- */

static const char *output(struct peer *p, const struct wire_request *x)
{
	struct run *r = run_exec(p, x);

	run_wait(p, r);
	is_exit(r, false, 0, "a command");
	return run_text(r, 0);
}

static void surroundings(struct peer *p)
{
	const char *env[] = { "A=image", "B=image", "HOME=/elsewhere" };
	const char *more[] = { "B=mine", "C=mine" };
	const char *argv[] = { "sh", "-c",
			       "pwd; echo $A $B $C $HOME; "
			       "echo $USER $LOGNAME $PATH; id -u",
			       NULL };
	struct wire_request x = setup_of(env, 3), y = WIRE_REQUEST_INIT,
			    z = WIRE_REQUEST_INIT;
	struct run *r;

	x.cwd = "/usr";
	r = run_exec(p, &x);
	run_wait(p, r);
	is_exit(r, false, 0, "a setup");
	ok(r->started, "it is begun and ended as a command is");
	y.argv = argv;
	y.argc = 3;
	y.envp = more;
	y.envc = 2;
	is_str(output(p, &y),
	       "/usr\nimage mine mine /elsewhere\nroot root "
	       "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
	       "0\n",
	       "the image's variables, the request's over them, a login's");
	/* A shell would hide it. */
	z.argv = (const char *[]){ "/usr/bin/env", NULL };
	z.argc = 1;
	z.envp = more;
	z.envc = 2;
	has_str(output(p, &z), "B=mine", "one of each name");
	ok(!strstr(output(p, &z), "B=image"), "and not two");
	x.user = "daemon";
	x.envc = 2;
	x.cwd = NULL;
	run_wait(p, run_exec(p, &x));
	y.cwd = "/";
	has_str(output(p, &y), "/\nimage mine mine /usr/sbin\ndaemon daemon ",
		"a second setup holds from then on");
	has_str(output(p, &y), "\n1\n", "the image's user");
	y.user = "root";
	has_str(output(p, &y), "\n0\n", "but for who is asked for");
	y.user = NULL;
	y.has_cred = true;
	y.uid = y.gid = 4242;
	has_str(output(p, &y), "/\nimage mine mine /\n/usr/local",
		"one that is in no file");
}

static void without(struct peer *p)
{
	const char *argv[] = { "/usr/bin/env", NULL };
	struct wire_request y = WIRE_REQUEST_INIT;

	y.argv = argv;
	y.argc = 1;
	is_str(output(p, &y), "", "no setup, no variables");
}

/* ---- which machine it is ---- */

static void hosts(const char *old, const char *want, const char *what)
{
	buf_auto struct buf b = BUF_INIT;

	setup_hosts(&b, old, strlen(old), "box");
	is_str(buf_str(&b), want, what);
}

static void all_hosts(void)
{
#define LOCAL                    \
	"127.0.0.1\tlocalhost\n" \
	"::1\tlocalhost ip6-localhost ip6-loopback\n"
#define OURS "127.0.1.1\tbox\t# this machine\n"
	hosts("", LOCAL OURS, "/etc/hosts of nothing");
	hosts("1.2.3.4 a", LOCAL "1.2.3.4 a\n" OURS, "a line without its end");
	hosts("127.0.0.1 localhost\n\n#x\n", "127.0.0.1 localhost\n\n#x\n" OURS,
	      "one that has all");
	hosts("127.0.1.1\tother\t# this machine\n127.0.0.1 localhost\n",
	      "127.0.0.1 localhost\n" OURS, "what another machine left goes");
}

static const char *text_of(const char *path)
{
	static char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return n < 0 ? "(none)" : text;
}

static bool own_machine(void)
{
	return unshare(CLONE_NEWNS | CLONE_NEWUTS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("t", "/etc", "tmpfs", 0, NULL) == 0 &&
	       mount("t", "/run", "tmpfs", 0, NULL) == 0;
}

static void identity(void)
{
	struct wire_request x = setup_of(NULL, 0);
	struct err e = ERR_INIT;
	char name[65] = "", first[64];

	is_int(setup_identity(&x, &e), 0, "an identity");
	gethostname(name, sizeof(name) - 1);
	is_str(name, "box-1", "host name");
	is_str(text_of("/etc/hostname"), "box-1\n", "in its file");
	is_str(text_of("/etc/machine-id"), ID "\n", "machine ID");
	has_str(text_of("/etc/hosts"), "127.0.1.1\tbox-1\t", "hosts");
	has_str(text_of("/etc/resolv.conf"), "#", "a resolv.conf");
	snprintf(first, sizeof(first), "%s",
		 text_of("/proc/sys/kernel/random/boot_id"));
	ok(strlen(first) == 37 && first[14] == '4' && first[36] == '\n',
	   "a boot ID: %.36s", first);
	x.hostname = "box-2";
	x.machine_id = "ffffffffffffffffffffffffffffffff";
	is_int(setup_identity(&x, &e), 0, "another");
	is_str(text_of("/etc/machine-id"), "ffffffffffffffffffffffffffffffff\n",
	       "machine ID");
	has_str(text_of("/etc/hosts"), "box-2", "hosts");
	ok(!strstr(text_of("/etc/hosts"), "box-1"), "and not the old one");
	ok(strcmp(first, text_of("/proc/sys/kernel/random/boot_id")) != 0,
	   "another boot ID");
}

/* What root of the guest may have made of /etc meanwhile. */
static void hostile(void)
{
	struct wire_request x = setup_of(NULL, 0);
	struct err e = ERR_INIT;

	umount2("/etc/machine-id", MNT_DETACH);
	unlink("/etc/machine-id");
	unlink("/etc/hosts");
	unlink("/etc/hostname");
	mkfifo("/etc/hosts", 0600);
	is_int(symlink("/run/victim", "/etc/hostname"), 0, "a link");
	is_int(symlink("/nowhere", "/etc/machine-id"), 0, "and another");
	is_int(setup_identity(&x, &e), 0, "do no harm");
	is_str(text_of("/run/victim"), "(none)", "the link is not followed");
	is_str(text_of("/etc/hostname"), "box-1\n", "the name is there");
	is_str(text_of("/etc/machine-id"), ID "\n", "machine ID too");
	has_str(text_of("/etc/hosts"), "box-1", "nor was the FIFO read");
}

static void required(void)
{
	struct err e = ERR_INIT;

	is_int(setup_check(&e), 0, "elsewhere there need not be a setup");
	setup_require();
	is_int(setup_check(&e), -EAGAIN, "in a sandbox there must");
	has_str(e.text, "this machine is not set up yet", "it says");
}

int main(void)
{
	struct peer *p = peer_start();

	without(p);
	if (geteuid() == 0)
		surroundings(p);
	else
		diag("not root: users are not changed");
	peer_free(p);
	all_hosts();
	if (own_machine()) {
		identity();
		hostile();
	} else {
		diag("no namespaces: no identity is put on");
	}
	required();
	return tap_done();
}
