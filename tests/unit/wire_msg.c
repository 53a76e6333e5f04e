/* SPDX-License-Identifier: MIT
 *
 * What frames carry: there and back, and what is refused.
 */
#include "tests/tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "wire/msg.h"

#include <errno.h>

static struct wire_reader reader;

/* The frame that stands at the front of @b. */
static struct wire_frame frame_of(const struct buf *b, enum wire_side from)
{
	struct wire_frame f = { 0 };
	struct err e = ERR_INIT;

	wire_reader_init(&reader, from);
	wire_feed(&reader, b->data, b->len);
	if (wire_next(&reader, &f, &e) != 1)
		diag("no frame: %s", e.text);
	return f;
}

/* ---- frames of fixed shape ---- */

static void hello(void)
{
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	struct wire_frame f;
	char big[100];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	wire_put_hello(&b, big);
	f = frame_of(&b, WIRE_AGENT);
	is_int(wire_check_hello(&f, &e), 0, "a greeting");
	is_int(f.len, 8 + 64, "with as much of the text as it takes");
	wire_set16(b.data + WIRE_HEADER + 4, 2);
	f = frame_of(&b, WIRE_AGENT);
	is_int(wire_check_hello(&f, &e), -EPROTO, "another version");
	is_str(e.text, "protocol version 2 at the other end, 1 here",
	       "both are named");
	wire_set32(b.data + WIRE_HEADER, 0);
	f = frame_of(&b, WIRE_AGENT);
	is_int(wire_check_hello(&f, &e), -EPROTO, "another protocol");
	buf_clear(&b);
	wire_put(&b, WIRE_PING, 0, 0, NULL, 0);
	f = frame_of(&b, WIRE_AGENT);
	is_int(wire_check_hello(&f, &e), -EPROTO, "another frame");
}

static void ends(void)
{
	struct wire_exit x = { true, 0xfffffffe, 1ULL << 63, 2, 3 }, y = { 0 };
	buf_auto struct buf b = BUF_INIT;
	struct wire_frame f;

	wire_put_exit(&b, 77, &x);
	f = frame_of(&b, WIRE_AGENT);
	wire_get_exit(&f, &y);
	ok(f.type == WIRE_EXIT && f.stream == 77, "EXIT of a stream");
	ok(y.signaled && y.code == 0xfffffffe && y.user_us == 1ULL << 63 &&
		   y.sys_us == 2 && y.maxrss_kib == 3,
	   "says what was put in");
}

static void error_round(uint32_t stream, enum wire_type type)
{
	struct err why = ERR_INIT, got = ERR_INIT;
	buf_auto struct buf b = BUF_INIT;
	struct wire_frame f;

	err_set(&why, ENOENT, "no such thing");
	wire_put_error(&b, stream, &why);
	f = frame_of(&b, WIRE_AGENT);
	wire_get_error(&f, &got);
	ok(f.type == type && f.stream == stream, "FAILED on a stream, ERROR "
						 "on none");
	is_int(got.num, ENOENT, "the number");
	is_str(got.text, "no such thing", "the text");
}

/* A hostile agent's: the text ends on a terminal, the number in an exit. */
static void hostile_errors(void)
{
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	uint8_t v[1028] = { 0 };
	struct wire_frame f;

	memset(v + 4, 'x', 1024);
	wire_put(&b, WIRE_ERROR, 0, 0, v, sizeof(v));
	f = frame_of(&b, WIRE_AGENT);
	wire_get_error(&f, &e);
	is_int(e.num, EPROTO, "an error that says it is none");
	is_int(strlen(e.text), sizeof(e.text) - 1, "a long text is cut");
	buf_clear(&b);
	wire_put(&b, WIRE_ERROR, 0, 0, "\377\377\377\377a\0b\033[2J\x7f\n", 13);
	f = frame_of(&b, WIRE_AGENT);
	wire_get_error(&f, &e);
	is_str(e.text, "a?b?[2J??", "no control characters");
	ok(e.num > 0 && e.num < 4096, "a number that can be one");
	buf_clear(&b);
	wire_put(&b, WIRE_ERROR, 0, 0, "\2\0\0\0", 4);
	f = frame_of(&b, WIRE_AGENT);
	wire_get_error(&f, &e);
	is_str(e.text, "", "no text at all");
}

static void small_ones(void)
{
	struct wire_winsize w = { 1, 2, 3, 65535 }, v = { 0 };
	buf_auto struct buf b = BUF_INIT;
	struct wire_frame f;

	wire_put_winsize(&b, 5, &w);
	f = frame_of(&b, WIRE_CLIENT);
	wire_get_winsize(f.data, &v);
	ok(f.type == WIRE_WINSIZE && v.rows == 1 && v.cols == 2 &&
		   v.xpixel == 3 && v.ypixel == 65535,
	   "a window's size");
	buf_clear(&b);
	wire_put_u32(&b, WIRE_CREDIT, 2, 5, 0xdeadbeef);
	f = frame_of(&b, WIRE_CLIENT);
	ok(f.type == WIRE_CREDIT && f.channel == 2 && f.stream == 5 &&
		   wire_get32(f.data) == 0xdeadbeef,
	   "a number");
}

/* ---- requests ---- */

static void all_fields(void)
{
	const char *argv[] = { "prog", "", "a b", NULL };
	const char *env[] = { "A=", "B=c", NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	wire_request_auto struct wire_request y = WIRE_REQUEST_INIT;
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	size_t i;

	x.argv = argv;
	x.argc = 3;
	x.envp = env;
	x.envc = 2;
	x.cwd = "/dir";
	x.user = "me:us";
	x.has_cred = true;
	x.uid = 0xfffffffe;
	x.gid = 2;
	x.ngroups = WIRE_GROUPS_MAX;
	for (i = 0; i < WIRE_GROUPS_MAX; i++)
		x.groups[i] = (uint32_t)(i * 3);
	x.umask = 0777;
	x.tty = true;
	x.winsize = (struct wire_winsize){ 24, 80, 1, 2 };
	is_int(wire_request_encode(&b, &x, &e), 0, "a request with everything");
	is_int(wire_request_decode(&y, b.data, b.len, &e), 0, "is read");
	ok(y.argc == 3 && !strcmp(y.argv[0], "prog") && !*y.argv[1] &&
		   !strcmp(y.argv[2], "a b") && !y.argv[3],
	   "arguments, an empty one among them");
	ok(y.envc == 2 && !strcmp(y.envp[0], "A=") &&
		   !strcmp(y.envp[1], "B=c") && !y.envp[2],
	   "environment");
	is_str(y.cwd, "/dir", "directory");
	is_str(y.user, "me:us", "user");
	ok(y.has_cred && y.uid == 0xfffffffe && y.gid == 2 &&
		   y.ngroups == WIRE_GROUPS_MAX &&
		   !memcmp(y.groups, x.groups, sizeof(x.groups)),
	   "credentials");
	is_int(y.umask, 0777, "umask");
	ok(y.tty && !memcmp(&y.winsize, &x.winsize, sizeof(x.winsize)), "tty");
}

static void setup_fields(void)
{
	const char *env[] = { "A=", NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	wire_request_auto struct wire_request y = WIRE_REQUEST_INIT;
	buf_auto struct buf b = BUF_INIT;
	uint8_t entropy[WIRE_ENTROPY_MAX + 1] = { 1, 0, 2 };
	struct err e = ERR_INIT;

	x.op = WIRE_OP_SETUP;
	x.envp = env;
	x.envc = 1;
	x.cwd = "/w";
	x.user = "me";
	x.hostname = "box-1.x";
	x.machine_id = "0123456789abcdef0123456789abcdef";
	x.entropy = entropy;
	x.entropy_len = WIRE_ENTROPY_MAX;
	x.clock_ns = INT64_MAX;
	is_int(wire_request_encode(&b, &x, &e), 0, "a setup");
	is_int(wire_request_decode(&y, b.data, b.len, &e), 0, "is read");
	ok(y.op == WIRE_OP_SETUP && y.envc == 1 && y.argc == 0, "as a setup");
	is_str(y.cwd, "/w", "directory");
	is_str(y.user, "me", "user");
	is_str(y.hostname, "box-1.x", "host name");
	is_str(y.machine_id, x.machine_id, "machine ID");
	is_mem(y.entropy, y.entropy_len, entropy, WIRE_ENTROPY_MAX, "entropy");
	ok(y.clock_ns == INT64_MAX, "clock");
	x.entropy_len++;
	buf_clear(&b);
	wire_request_free(&y);
	wire_request_encode(&b, &x, &e);
	is_int(wire_request_decode(&y, b.data, b.len, &e), -EPROTO,
	       "too much entropy");
	has_str(e.text, "entropy of 513 bytes", "is said so");
}

static void file_fields(void)
{
	struct wire_request x = WIRE_REQUEST_INIT;
	wire_request_auto struct wire_request y = WIRE_REQUEST_INIT;
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;

	x.op = WIRE_OP_FILE;
	x.verb = WIRE_FILE_PUT;
	x.flags = WIRE_FLAG_PARENTS;
	x.path = "a/b\377";
	x.mode = 07777;
	x.has_owner = true;
	x.owner_uid = 0xfffffffe;
	x.owner_gid = 7;
	is_int(wire_request_encode(&b, &x, &e), 0, "a file");
	is_int(wire_request_decode(&y, b.data, b.len, &e), 0, "is read");
	ok(y.op == WIRE_OP_FILE && y.verb == WIRE_FILE_PUT &&
		   y.flags == WIRE_FLAG_PARENTS && y.mode == 07777,
	   "verb, flags, mode");
	is_str(y.path, "a/b\377", "path");
	ok(y.has_owner && y.owner_uid == 0xfffffffe && y.owner_gid == 7,
	   "owner");
}

static void other_fields(void)
{
	const char *argv[] = { "x", NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	wire_request_auto struct wire_request y = WIRE_REQUEST_INIT;
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;

	x.op = WIRE_OP_SESSION;
	x.verb = WIRE_SESSION_RUN;
	x.argv = argv;
	x.argc = 1;
	x.flags = WIRE_FLAG_DETACH;
	x.session = "main";
	wire_request_encode(&b, &x, &e);
	is_int(wire_request_decode(&y, b.data, b.len, &e), 0, "a session");
	ok(y.op == WIRE_OP_SESSION && y.verb == WIRE_SESSION_RUN &&
		   y.flags == WIRE_FLAG_DETACH && y.argc == 1,
	   "verb, flags, command");
	is_str(y.session, "main", "name");
	wire_request_free(&y);
	buf_clear(&b);
	x = (struct wire_request)WIRE_REQUEST_INIT;
	x.op = WIRE_OP_PORT;
	x.port = 65535;
	wire_request_encode(&b, &x, &e);
	is_mem(b.data, b.len, "\5\0\0\0\12\0\0\0\4\0\0\0\377\377\0\0", 16,
	       "a port");
	is_int(wire_request_decode(&y, b.data, b.len, &e), 0, "is read");
	ok(y.op == WIRE_OP_PORT && y.port == 65535, "with its number");
}

static void least(void)
{
	const char *argv[] = { "x", NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	wire_request_auto struct wire_request y = WIRE_REQUEST_INIT;
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;

	x.argv = argv;
	x.argc = 1;
	wire_request_encode(&b, &x, &e);
	is_mem(b.data, b.len, "\1\0\0\0\1\0\0\0\2\0\0\0x\0", 14,
	       "the smallest request");
	is_int(wire_request_decode(&y, b.data, b.len, &e), 0, "is read");
	ok(y.argc == 1 && y.envc == 0 && !y.envp[0] && !y.cwd && !y.user &&
		   !y.has_cred && y.umask == -1 && !y.tty,
	   "and says nothing else");
}

/* 2 MiB of arguments, cut into OPEN frames and put together again. */
static void large(void)
{
	enum { N = 17, LEN = 128 * 1024 };
	const char *argv[N + 1] = { NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	wire_request_auto struct wire_request y = WIRE_REQUEST_INIT;
	buf_auto struct buf b = BUF_INIT, out = BUF_INIT, back = BUF_INIT;
	mem_auto char *word = malloc(LEN);
	struct err e = ERR_INIT;
	struct wire_frame f;
	size_t i, done = 0, frames = 0, more = 0;

	memset(word, 'w', LEN);
	word[LEN - 200] = '\0';
	for (i = 0; i < N - 1; i++)
		argv[i] = word;
	x.argv = argv;
	x.argc = N - 1;
	is_int(wire_request_encode(&b, &x, &e), 0, "2 MiB of arguments");
	is_int(wire_put_open(&out, 9, &b), 0, "as frames");
	wire_reader_init(&reader, WIRE_CLIENT);
	while (done < out.len) {
		done += wire_feed(&reader, out.data + done, out.len - done);
		while (wire_next(&reader, &f, &e) > 0) {
			frames += f.type == WIRE_OPEN && f.stream == 9;
			more += f.channel;
			buf_add(&back, f.data, f.len);
		}
	}
	is_mem(back.data, back.len, b.data, b.len, "all of it");
	ok(more == frames - 1 && frames == (b.len + 32767) / 32768,
	   "all but the last of %zu say that more follows", frames);
	is_int(wire_request_decode(&y, back.data, back.len, &e), 0, "is read");
	is_int(y.argc, N - 1, "with all arguments");
	argv[N - 1] = word;
	x.argc = N;
	buf_clear(&b);
	is_int(wire_request_encode(&b, &x, &e), -E2BIG, "more is refused");
	has_str(e.text, "longer than 2162688 bytes", "and says how much");
}

static void whole_frames(void)
{
	buf_auto struct buf b = BUF_INIT, out = BUF_INIT;
	struct wire_frame f;

	while (b.len < WIRE_PAYLOAD_MAX)
		buf_add(&b, "x", 1);
	wire_put_open(&out, 1, &b);
	f = frame_of(&out, WIRE_CLIENT);
	ok(f.len == WIRE_PAYLOAD_MAX && f.channel == 0 &&
		   out.len == WIRE_HEADER + WIRE_PAYLOAD_MAX,
	   "a request that fills a frame is one frame");
}

struct bad {
	const char *bytes;
	size_t len;
	const char *text;
};

#define BAD(bytes, text)                       \
	{                                      \
		bytes, sizeof(bytes) - 1, text \
	}
#define HEAD "\1\0\0\0"
#define ARG "\1\0\0\0\2\0\0\0x\0"
#define VERB(v) "\13\0\0\0\4\0\0\0" v "\0\0\0"
#define SETUP_HEAD "\2\0\0\0"
#define ID2 "123456789abcdef0123456789abcde"
#define ID "f" ID2 "0"
#define SETUP(name, id, low)          \
	"\17\0\0\0\4\0\0\0" name "\0" \
	"\20\0\0\0\41\0\0\0" id "\0"  \
	"\21\0\0\0\1\0\0\0e"          \
	"\22\0\0\0\10\0\0\0" low "\0\0\0\0\0\0\0"

static const struct bad bad_requests[] = {
	BAD("", "request of 0 bytes"),
	BAD("\1\0\0", "request of 3 bytes"),
	BAD("\7\0\0\0" ARG, "request for unknown operation 7"),
	BAD("\0\0\0\0" ARG, "request for unknown operation 0"),
	BAD("\2\0\0\0" ARG, "request: a command does not go with operation 2"),
	BAD("\1\0\1\0" ARG, "request: unknown flags 0x1"),
	BAD(HEAD, "request: no command"),
	BAD(HEAD "\2\0\0\0\4\0\0\0A=b\0", "request: no command"),
	BAD(HEAD "\1\0\0\0\1\0\0\0\0", "request: empty command name"),
	BAD(HEAD ARG "\1\0\0", "request: 3 stray bytes"),
	BAD(HEAD "\1\0\0\0\3\0\0\0x\0",
	    "request: field 1 of 3 bytes, 2 are there"),
	BAD(HEAD "\1\0\0\0\377\377\377\377x\0",
	    "request: field 1 of 4294967295 bytes, 2 are there"),
	BAD(HEAD "\1\0\1\0\2\0\0\0x\0",
	    "request: unknown flags 0x1 of field 1"),
	BAD(HEAD "\1\0\0\0\2\0\0\0xy", "request: field 1 is not a str"),
	BAD(HEAD "\1\0\0\0\3\0\0\0\0x\0", "field 1 is not a string"),
	BAD(HEAD "\1\0\0\0\0\0\0\0", "request: field 1 is not a str"),
	BAD(HEAD ARG "\2\0\0\0\1\0\0\0A", "field 2 is not a string"),
	BAD(HEAD ARG "\3\0\0\0\2\0\0\0d\0",
	    "request: directory is not absolute"),
	BAD(HEAD ARG "\3\0\0\0\1\0\0\0\0",
	    "request: directory is not absolute"),
	BAD(HEAD ARG "\4\0\0\0\0\0\0\0", "field 4 is not a string"),
	BAD(HEAD ARG "\5\0\0\0\4\0\0\0abcd", "credentials of 4 bytes"),
	BAD(HEAD ARG "\5\0\0\0\11\0\0\0abcdabcda", "credentials of 9 bytes"),
	BAD(HEAD ARG "\6\0\0\0\2\0\0\0ab", "umask of 2 bytes, not 4"),
	BAD(HEAD ARG "\7\0\0\0\4\0\0\0abcd", "terminal of 4 bytes"),
	BAD(HEAD ARG "\0\0\0\0\0\0\0\0", "unknown field 0"),
	BAD(HEAD ARG "\23\0\0\0\0\0\0\0", "unknown field 19"),
	BAD(HEAD ARG "\10\0\0\0\4\0\0\0\10\0\0\0",
	    "request: flags 8 is not in 0 to 7"),
	BAD(HEAD ARG "\14\0\0\0\2\0\0\0x\0",
	    "request: a path does not go with operation 1"),
	BAD(SETUP_HEAD, "request: no host name"),
	BAD(SETUP_HEAD SETUP("a/b", ID, "\1"), "bad host name"),
	BAD(SETUP_HEAD SETUP("abc", "A" ID2 "0", "\1"),
	    "machine ID is not 32 hexadecimal digits"),
	BAD(SETUP_HEAD SETUP("abc", ID, "\0"), "bad clock"),
	BAD("\6\0\0\0" ARG, "request: a command does not go with operation 6"),
	BAD("\6\0\0\0\3\0\0\0\2\0\0\0/\0",
	    "request: a directory does not go with operation 6"),
	BAD("\3\0\0\0", "request: no verb"),
	BAD("\3\0\0\0" VERB("\1") "\11\0\0\0\3\0\0\0/x\0", "bad session name"),
	BAD("\4\0\0\0" VERB("\1"), "request: no path"),
	BAD("\4\0\0\0" VERB("\0"), "request: no path"),
	BAD("\4\0\0\0" VERB("\1") "\14\0\0\0\1\0\0\0\0", "path of 0 bytes"),
	BAD("\4\0\0\0" VERB("\20") "\14\0\0\0\2\0\0\0x\0",
	    "request: verb 16 is not in 1 to 15"),
	BAD("\5\0\0\0", "request: no port"),
	BAD("\5\0\0\0\12\0\0\0\4\0\0\0\0\0\0\0",
	    "request: port 0 is not in 1 to 65535"),
	BAD("\5\0\0\0\12\0\0\0\4\0\0\0\0\0\1\0",
	    "request: port 65536 is not in 1 to 65535"),
};

static void malformed(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad_requests); i++) {
		wire_request_auto struct wire_request x = WIRE_REQUEST_INIT;
		struct err e = ERR_INIT;
		/* At an end that ASan watches. */
		mem_auto uint8_t *p =
			malloc(bad_requests[i].len + !bad_requests[i].len);

		memcpy(p, bad_requests[i].bytes, bad_requests[i].len);
		if (wire_request_decode(&x, p, bad_requests[i].len, &e) !=
		    -EPROTO)
			diag("not refused");
		has_str(e.text, bad_requests[i].text, bad_requests[i].text);
	}
}

static void too_many_groups(void)
{
	wire_request_auto struct wire_request x = WIRE_REQUEST_INIT;
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	uint8_t groups[8 + 4 * (WIRE_GROUPS_MAX + 1)] = { 0 };

	buf_add(&b, HEAD ARG "\5\0\0\0\14\1\0\0", 22);
	buf_add(&b, groups, sizeof(groups));
	is_int(wire_request_decode(&x, b.data, b.len, &e), -EPROTO,
	       "65 groups");
	has_str(e.text, "credentials of 268 bytes", "are one too many");
}

int main(void)
{
	hello();
	ends();
	error_round(3, WIRE_FAILED);
	error_round(0, WIRE_ERROR);
	hostile_errors();
	small_ones();
	all_fields();
	setup_fields();
	file_fields();
	other_fields();
	least();
	large();
	whole_frames();
	malformed();
	too_many_groups();
	return tap_done();
}
