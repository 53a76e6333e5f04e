/* SPDX-License-Identifier: MIT
 *
 * SHA-256 against the vectors of FIPS 180-4.
 */
#include "base/sha256.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/tap.h"

static const char empty[] =
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char abc[] =
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char million[] =
	"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

static void test_million(void)
{
	sha256_auto struct sha256 s = SHA256_INIT;
	char hex[SHA256_HEX], chunk[1000];
	int i, r = sha256_begin(&s);

	memset(chunk, 'a', sizeof(chunk));
	for (i = 0; r == 0 && i < 1000; i++)
		r = sha256_add(&s, chunk, sizeof(chunk));
	ok(r == 0 && sha256_end(&s, hex) == 0, "a million bytes in pieces");
	is_str(hex, million, "their digest");
}

static void test_short(const char *text, const char *want, const char *what)
{
	sha256_auto struct sha256 s = SHA256_INIT;
	char hex[SHA256_HEX];

	ok(sha256_begin(&s) == 0 && sha256_add(&s, text, strlen(text)) == 0 &&
		   sha256_end(&s, hex) == 0,
	   "%s", what);
	is_str(hex, want, what);
}

int main(void)
{
	struct err e = ERR_INIT;
	char hex[SHA256_HEX];

	test_short("", empty, "nothing");
	test_short("abc", abc, "abc");
	test_million();
	is_int(sha256_file(AT_FDCWD, "/dev/null", hex, &e), 0, "an empty file");
	is_str(hex, empty, "its digest");
	is_int(sha256_file(AT_FDCWD, "/nowhere", hex, &e), -ENOENT, "no file");
	is_str(e.text, "cannot open /nowhere: No such file or directory",
	       "the error names it");
	return tap_done();
}
