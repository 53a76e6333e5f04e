/* SPDX-License-Identifier: MIT
 *
 * The error object: see err.h.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int num, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -num;
	e->num = num;
	e->fix[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return -num;
}

int err_sys(struct err *e, int num, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (!e)
		return -num;
	e->num = num;
	e->fix[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	len = strlen(e->text);
	snprintf(e->text + len, sizeof(e->text) - len, ": %s", strerror(num));
	return -num;
}

int err_fix(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return 0;
	va_start(ap, fmt);
	vsnprintf(e->fix, sizeof(e->fix), fmt, ap);
	va_end(ap);
	return -e->num;
}

int err_in(struct err *e, const char *fmt, ...)
{
	char old[sizeof(e->text)];
	va_list ap;
	size_t len;

	if (!e)
		return 0;
	memcpy(old, e->text, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	len = strlen(e->text);
	snprintf(e->text + len, sizeof(e->text) - len, ": %s", old);
	return -e->num;
}

void err_plain(struct err *e)
{
	unsigned char was = 0, c;
	char *p;

	for (p = e ? e->text : NULL; p && *p; p++) {
		c = (unsigned char)*p;
		/* Those from 0x80 on are what UTF-8 has behind 0xc2, and a
		 * byte by itself elsewhere. */
		if (c < 0x20 || c == 0x7f ||
		    (c >= 0x80 && c < 0xa0 && (was < 0x80 || was == 0xc2)))
			*p = '?';
		was = c;
	}
}
