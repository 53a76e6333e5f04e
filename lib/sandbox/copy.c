/* SPDX-License-Identifier: MIT
 *
 * Files and trees between this machine and a sandbox: see copy.h.
 *
 * A tree travels as a tar archive, a file by itself, so that it can be of any
 * size and take its place in one step.
 */
#include "sandbox/copy.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "sandbox/box.h"
#include "sandbox/pack.h"
#include "wire/request.h"

#define PIECE 65536
#define RECORD_MAX (2 * PATH_MAX + 256)

/* One request to the guest, over a connection of its own. */
struct ask {
	struct wire_request x;
	struct wire_stream s;
	int conn;
};

#define ask_auto __attribute__((cleanup(ask_free)))

static void ask_free(struct ask **a)
{
	if (!*a)
		return;
	wire_stream_free(&(*a)->s);
	fd_close(&(*a)->conn);
	mem_free(a);
}

static struct ask *ask_make(const struct copy_spec *c, uint32_t verb,
			    const char *path, struct err *e)
{
	struct ask *a = calloc(1, sizeof(*a));

	if (!a) {
		err_sys(e, ENOMEM, "cannot ask the guest");
		return NULL;
	}
	a->conn = -1;
	a->x = (struct wire_request)WIRE_REQUEST_INIT;
	a->x.op = WIRE_OP_FILE;
	a->x.verb = verb;
	a->x.path = path;
	a->x.user = c->user;
	if (c->parents && (verb == WIRE_FILE_PUT || verb == WIRE_FILE_TAR_PUT))
		a->x.flags = WIRE_FLAG_PARENTS;
	return a;
}

static int ask_open(struct ask *a, const struct copy_spec *c, struct err *e)
{
	struct box_wait w = box_wait_usual();

	a->conn = box_connect(c->box, &w, e);
	return a->conn < 0 ? a->conn :
			     wire_stream_open(&a->s, a->conn, &a->x, e);
}

/* The guest's end says which error it was by its exit status. */
static int ask_end(struct ask *a, struct err *e)
{
	int r = wire_stream_end(&a->s);

	if (r == -EIO && !a->s.exit.signaled && a->s.exit.code && e)
		e->num = (int)a->s.exit.code;
	return r < 0 && e ? -e->num : r;
}

/* ---- what is there ------------------------------------------------------ */

struct there {
	char type; /* 'f', 'd', ..., as iso-agent(7) has them; 0: nothing */
	unsigned int mode;
};

/* The front of a record, "d 755 ...", of which no more is of use here. */
static int read_record(struct there *t, struct str s, struct err *e)
{
	struct str type = str_cut(&s, ' ');
	struct str mode = str_cut(&s, ' ');
	unsigned int v = 0;
	size_t i;

	for (i = 0; i < mode.len && mode.p[i] >= '0' && mode.p[i] <= '7'; i++)
		v = v << 3 | (unsigned int)(mode.p[i] - '0');
	/* 07777 has four digits. */
	if (type.len != 1 || i == 0 || i > 4 || i != mode.len)
		return err_set(e, EPROTO, "the guest's answer makes no sense");
	*t = (struct there){ .type = type.p[0], .mode = v };
	return 0;
}

/* What a path of the guest leads to, links followed. */
static int look(const struct copy_spec *c, struct there *t, struct err *e)
{
	ask_auto struct ask *a = ask_make(c, WIRE_FILE_STAT, c->there, e);
	char record[RECORD_MAX + 1];
	size_t n = 0;
	ssize_t got;
	int r;

	*t = (struct there){ .type = 0 };
	if (!a)
		return -ENOMEM;
	a->x.flags |= WIRE_FLAG_FOLLOW;
	r = ask_open(a, c, e);
	if (r < 0)
		return r;
	while (n < RECORD_MAX &&
	       (got = wire_stream_read(&a->s, record + n, RECORD_MAX - n)) > 0)
		n += (size_t)got;
	record[n] = '\0';
	r = ask_end(a, e);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : read_record(t, str_of(record), e);
}

/* The last component of a path, without slashes at its end; "" when it has
 * none that names it. */
static struct str base_name(const char *path)
{
	struct str s = str_of(path);
	const char *slash;

	while (s.len && s.p[s.len - 1] == '/')
		s.len--;
	slash = s.len ? memrchr(s.p, '/', s.len) : NULL;
	if (slash) {
		s.len -= (size_t)(slash + 1 - s.p);
		s.p = slash + 1;
	}
	if (str_eq(s, STR(".")) || str_eq(s, STR("..")))
		s.len = 0;
	return s;
}

/* "DIR/NAME", where NAME is what @of is called. */
static char *beneath(const char *dir, const char *of, struct err *e)
{
	struct str name = base_name(of);
	mem_auto char *text = name.len ? str_dup(name) : NULL;
	char *path = text ? str_path(dir, text) : NULL;

	if (!name.len)
		err_set(e, EINVAL, "what should '%s' be called in %s", of, dir);
	else if (!path)
		err_sys(e, ENOMEM, "cannot copy %s", of);
	return path;
}

/* ---- in ----------------------------------------------------------------- */

static int give(void *arg, const void *p, size_t n)
{
	return wire_stream_write(arg, p, n);
}

/* What the guest had to say when it took no more is the better reason. */
static int finish_in(struct ask *a, int r, struct err *e)
{
	if (r == -EPIPE)
		return ask_end(a, e) < 0 ?
			       -e->num :
			       err_set(e, EPIPE, "the guest took only a part");
	if (r == 0)
		r = wire_stream_eof(&a->s);
	return r < 0 ? r : ask_end(a, e);
}

static int send_fd(struct ask *a, int fd, const char *name, struct err *e)
{
	char piece[PIECE];
	int r = 0;

	while (r == 0) {
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "cannot read %s", name);
		if (n == 0)
			break;
		r = wire_stream_write(&a->s, piece, (size_t)n);
	}
	return r;
}

static int put_file(const struct copy_spec *c, int fd, const char *to, int mode,
		    struct err *e)
{
	ask_auto struct ask *a = ask_make(c, WIRE_FILE_PUT, to, e);
	int r;

	if (!a)
		return -ENOMEM;
	a->x.mode = mode;
	r = ask_open(a, c, e);
	if (r == 0) {
		r = send_fd(a, fd, c->here, e);
		/* To leave without an end takes it back. */
		if (r < 0 && r != -EPIPE)
			return r;
		r = finish_in(a, r, e);
	}
	return r;
}

static int put_tree(const struct copy_spec *c, const char *to, struct err *e)
{
	ask_auto struct ask *a = ask_make(c, WIRE_FILE_TAR_PUT, to, e);
	mem_auto char *real = realpath(c->here, NULL);
	struct pack_spec p = {
		.path = real, .top = ".", .preserve = c->preserve, .write = give
	};
	int r;

	if (!real)
		return err_sys(e, errno, "cannot read %s", c->here);
	if (!a)
		return -ENOMEM;
	r = ask_open(a, c, e);
	if (r < 0)
		return r;
	p.arg = &a->s;
	r = pack_tree(&p, e);
	return r < 0 && r != -EPIPE ? r : finish_in(a, r, e);
}

/* Where a thing called @here goes, given what is there.  On the heap. */
static char *place(const struct copy_spec *c, const struct there *t,
		   bool is_dir, struct err *e)
{
	size_t n = strlen(c->there);
	bool says_dir = n && c->there[n - 1] == '/';
	char *path;

	if (t->type == 'd' || (says_dir && !is_dir))
		return beneath(c->there, c->here, e);
	path = str_dup(str_of(c->there));
	if (!path)
		err_sys(e, ENOMEM, "cannot copy %s", c->here);
	return path;
}

int copy_in(struct copy_spec *c, struct err *e)
{
	bool from_stdin = strcmp(c->here, "-") == 0;
	fd_auto int fd = -1;
	mem_auto char *to = NULL;
	struct stat st;
	struct there t;
	int r;

	if (from_stdin)
		return put_file(c, STDIN_FILENO, c->there, -1, e);
	fd = open(c->here, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot open %s", c->here);
	r = look(c, &t, e);
	if (r < 0)
		return r;
	to = place(c, &t, S_ISDIR(st.st_mode), e);
	if (!to)
		return e ? -e->num : -ENOMEM;
	if (S_ISDIR(st.st_mode))
		return put_tree(c, to, e);
	/* One that is there keeps its mode, as with cp(1). */
	return put_file(c, fd, to,
			t.type == 'f' && !c->preserve ?
				-1 :
				(int)(st.st_mode &
				      (c->preserve ? 07777U : 0777U)),
			e);
}

/* ---- out ---------------------------------------------------------------- */

static ssize_t take(void *arg, void *p, size_t n)
{
	return wire_stream_read(arg, p, n);
}

static int receive_fd(struct ask *a, int fd, const char *name, struct err *e)
{
	char piece[PIECE];
	ssize_t n;
	int r;

	while ((n = wire_stream_read(&a->s, piece, sizeof(piece))) > 0) {
		r = io_write_full(fd, piece, (size_t)n);
		if (r < 0)
			return err_sys(e, -r, "cannot write %s", name);
	}
	return n < 0 ? (int)n : ask_end(a, e);
}

/* Straight into what is there and is no regular file (or standard output). */
static int get_into(const struct copy_spec *c, uint32_t verb, const char *from,
		    int fd, const char *name, struct err *e)
{
	ask_auto struct ask *a = ask_make(c, verb, from, e);
	int r = a ? ask_open(a, c, e) : -ENOMEM;

	return r < 0 ? r : receive_fd(a, fd, name, e);
}

static mode_t current_umask(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return mask;
}

/* It takes its place when it is whole; no fsync: nobody's data is lost by a
 * power cut, for the sandbox still has it. */
static int get_file(const struct copy_spec *c, const struct there *t,
		    const char *to, struct err *e)
{
	/* Not the set-ID bits: the file becomes ours, and what is in it is the
	 * guest's. */
	mode_t mode = c->preserve ? t->mode & 01777 :
				    t->mode & 0777 & ~current_umask();
	char tmp[IO_TMP_MAX];
	fd_auto int fd = io_tmp_open(AT_FDCWD, to, 0600, tmp, e);
	int r;

	if (fd < 0)
		return fd;
	r = get_into(c, WIRE_FILE_GET, c->there, fd, to, e);
	if (r == 0 && (fchmod(fd, mode) < 0 || rename(tmp, to) < 0))
		r = err_sys(e, errno, "cannot write %s", to);
	if (r < 0)
		unlink(tmp);
	return r;
}

/* The directory that @path is in, opened. */
static int open_parent(const char *path, struct str name, struct err *e)
{
	mem_auto char *dir =
		str_dup((struct str){ path, (size_t)(name.p - path) });
	int fd;

	if (!dir)
		return err_sys(e, ENOMEM, "cannot make %s", path);
	fd = open(*dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "cannot open the directory of %s",
				path) :
			fd;
}

static int get_tree(struct copy_spec *c, const char *to, struct err *e)
{
	/* What a link leads to, and not the link. */
	mem_auto char *from = str_path(c->there, ".");
	ask_auto struct ask *a = ask_make(c, WIRE_FILE_TAR_GET, from, e);
	struct str base = base_name(to);
	mem_auto char *name = str_dup(base);
	struct extract_spec x = { .name = name,
				  .bytes_max = c->bytes_max,
				  .preserve = c->preserve,
				  .read = take };
	struct extract_report report = { .entries = 0 };
	fd_auto int fd = -1;
	int r;

	if (!a || !from || !name)
		return err_sys(e, ENOMEM, "cannot copy %s", c->there);
	if (!base.len)
		return err_set(e, EINVAL, "'%s' names no directory to make",
			       to);
	fd = x.dir = open_parent(to, base, e);
	if (fd < 0)
		return fd;
	r = ask_open(a, c, e);
	if (r < 0)
		return r;
	x.arg = &a->s;
	r = extract_tree(&x, &report, e);
	c->left_out = report.left_out;
	return r < 0 ? r : ask_end(a, e);
}

static int out_to(struct copy_spec *c, const struct there *t, const char *to,
		  struct err *e)
{
	struct stat st;
	bool is_there = stat(to, &st) == 0;

	if (is_there && S_ISDIR(st.st_mode)) {
		mem_auto char *below = beneath(to, c->there, e);

		if (!below)
			return e ? -e->num : -ENOMEM;
		return t->type == 'd' ? get_tree(c, below, e) :
					get_file(c, t, below, e);
	}
	if (t->type == 'd')
		return get_tree(c, to, e);
	if (is_there && !S_ISREG(st.st_mode)) {
		fd_auto int fd = open(to, O_WRONLY | O_NOCTTY | O_CLOEXEC);

		return fd < 0 ? err_sys(e, errno, "cannot open %s", to) :
				get_into(c, WIRE_FILE_GET, c->there, fd, to, e);
	}
	return get_file(c, t, to, e);
}

int copy_out(struct copy_spec *c, struct err *e)
{
	struct there t;
	int r = look(c, &t, e);

	if (r < 0)
		return r;
	if (t.type == 0)
		return err_set(e, ENOENT, "%s: no such file or directory in %s",
			       c->there, c->box->id);
	if (t.type != 'f' && t.type != 'd')
		return err_set(e, EINVAL,
			       "%s in %s is neither a file nor a directory",
			       c->there, c->box->id);
	if (strcmp(c->here, "-") == 0)
		return get_into(
			c, t.type == 'd' ? WIRE_FILE_TAR_GET : WIRE_FILE_GET,
			c->there, STDOUT_FILENO, "standard output", e);
	return out_to(c, &t, c->here, e);
}
