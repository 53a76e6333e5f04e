/* SPDX-License-Identifier: MIT
 *
 * How a pull is told: see pulltalk.h.
 *
 * base/progress draws one line; here there is one a layer as well, so the
 * terminal's cursor goes up over what was drawn before.  What is over scrolls
 * away above as a plain line.
 */
#include "bin/pulltalk.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"

#define REDRAW CLOCK_MS(100)
#define RELOG CLOCK_S(5)
#define LIVE_MAX 8 /* lines of layers at a time */
#define BAR_WIDTH 24

static double mib(uint64_t n)
{
	return (double)n / (1 << 20);
}

static double seconds(const struct pulltalk *t)
{
	return (double)(clock_now() - t->started) / 1e9;
}

static void put(int fd, struct buf *b)
{
	/* Progress that cannot be shown is no reason to fail the work. */
	if (!b->failed)
		(void)io_write_full(fd, b->data, b->len);
}

/* ---- objects ----------------------------------------------------------- */

/* Takes @o. */
static void put_json(const struct pulltalk *t, json_t *o)
{
	mem_auto char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	buf_auto struct buf b = BUF_INIT;

	json_decref(o);
	if (!text)
		return;
	buf_printf(&b, "%s\n", text);
	put(t->json_fd, &b);
}

static json_t *json_layer(const char *event, const struct pull_event *ev)
{
	return json_pack("{ss sI ss sI sI sI sI}", "event", event, "layer",
			 (json_int_t)ev->layer, "digest", ev->desc->digest.text,
			 "done", (json_int_t)ev->done, "size",
			 (json_int_t)ev->desc->size, "total_done",
			 (json_int_t)ev->total_done, "total",
			 (json_int_t)ev->total);
}

static void tell_json(struct pulltalk *t, const struct pull_event *ev)
{
	json_t *o = NULL;

	switch (ev->kind) {
	case PULL_RESOLVED:
		o = json_pack("{ss ss sI sI}", "event", "resolved", "digest",
			      ev->desc->digest.text, "layers",
			      (json_int_t)ev->layers, "total",
			      (json_int_t)ev->total);
		break;
	case PULL_LAYER:
		if (clock_now() - t->told < REDRAW)
			return;
		t->told = clock_now();
		o = json_layer("progress", ev);
		break;
	case PULL_LAYER_DONE:
		o = json_layer("layer", ev);
		if (o)
			json_object_set_new(o, "had", json_boolean(ev->had));
		break;
	case PULL_WAITING:
		o = json_layer("waiting", ev);
		break;
	case PULL_RETRY:
		o = json_pack("{ss ss sI}", "event", "retry", "reason",
			      ev->text, "delay_ms",
			      (json_int_t)(ev->delay_ns / 1000000));
		break;
	}
	put_json(t, o);
}

/* ---- a terminal -------------------------------------------------------- */

static void add_bar(struct buf *b, uint64_t done, uint64_t total)
{
	char bar[BAR_WIDTH + 1];
	size_t full =
		total ? (size_t)((double)done / (double)total * BAR_WIDTH) : 0;
	size_t i;

	for (i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < full ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	buf_printf(b, "[%s] %.1f of %.1f MiB", bar, mib(done), mib(total));
}

static void add_total(const struct pulltalk *t, struct buf *b)
{
	uint64_t got = t->total_done - t->had;
	double secs = seconds(t), rate = secs > 0 ? (double)got / secs : 0;

	buf_puts(b, "total     ");
	add_bar(b, t->total_done, t->total);
	if (rate > 0)
		buf_printf(b, ", %.1f MiB/s, %.0f s left", rate / (1 << 20),
			   (double)(t->total - t->total_done) / rate);
	buf_puts(b, "\n");
}

/* Up over what moves, and wipe it. */
static void wipe_live(struct pulltalk *t, struct buf *b)
{
	if (t->lines)
		buf_printf(b, "\033[%uA\r\033[J", t->lines);
	t->lines = 0;
}

static void draw_live(struct pulltalk *t, struct buf *b)
{
	size_t i;

	for (i = 1; i <= t->layers && t->lines < LIVE_MAX; i++) {
		if (!t->layer[i].live)
			continue;
		buf_printf(b, "layer %-3zu ", i);
		add_bar(b, t->layer[i].done, t->layer[i].size);
		buf_puts(b, "\n");
		t->lines++;
	}
	add_total(t, b);
	t->lines++;
	t->drawn = clock_now();
}

/* ---- words ------------------------------------------------------------- */

/* The line that an event leaves behind, if any. */
static void add_line(const struct pulltalk *t, const struct pull_event *ev,
		     struct buf *b)
{
	const char *what = ev->layer ? "layer" : "config";

	switch (ev->kind) {
	case PULL_RESOLVED:
		buf_printf(b, "%s: %s, %zu layers, %.1f MiB\n", t->prog,
			   ev->desc->digest.text, ev->layers, mib(ev->total));
		break;
	case PULL_LAYER_DONE:
		if (ev->layer)
			buf_printf(b, "%s: layer %zu of %zu: %s, %.1f MiB\n",
				   t->prog, ev->layer, ev->layers,
				   ev->had ? "here already" : "done",
				   mib(ev->desc->size));
		break;
	case PULL_WAITING:
		buf_printf(b, "%s: %s %zu of %zu: waiting for another pull\n",
			   t->prog, what, ev->layer, ev->layers);
		break;
	case PULL_RETRY:
		buf_printf(b, "%s: %s; again in %.1f s\n", t->prog, ev->text,
			   (double)ev->delay_ns / 1e9);
		break;
	case PULL_LAYER:
		break;
	}
}

static void note(struct pulltalk *t, const struct pull_event *ev)
{
	t->total = ev->total;
	t->total_done = ev->total_done;
	t->layers = ev->layers < PULLTALK_LAYERS ? ev->layers :
						   PULLTALK_LAYERS - 1;
	if (ev->kind == PULL_RESOLVED)
		t->had = ev->total_done;
	if (!ev->desc || !ev->layer || ev->layer >= PULLTALK_LAYERS)
		return;
	t->layer[ev->layer].done = ev->done;
	t->layer[ev->layer].size = ev->desc->size;
	t->layer[ev->layer].live = ev->kind == PULL_LAYER;
}

static void tell_words(struct pulltalk *t, const struct pull_event *ev)
{
	buf_auto struct buf line = BUF_INIT, b = BUF_INIT;
	uint64_t now = clock_now();

	add_line(t, ev, &line);
	if (t->tty && (line.len || now - t->drawn >= REDRAW)) {
		wipe_live(t, &b);
		buf_add(&b, line.data, line.len);
		draw_live(t, &b);
	} else if (!t->tty) {
		buf_add(&b, line.data, line.len);
		if (!line.len && now - t->drawn >= RELOG) {
			buf_printf(&b, "%s: ", t->prog);
			add_total(t, &b);
			t->drawn = now;
		}
	}
	put(STDERR_FILENO, &b);
}

void pulltalk_begin(struct pulltalk *t)
{
	t->tty = isatty(STDERR_FILENO);
	t->started = t->drawn = clock_now();
}

void pulltalk_event(void *talk, const struct pull_event *ev)
{
	struct pulltalk *t = talk;

	note(t, ev);
	if (t->json_fd >= 0)
		tell_json(t, ev);
	if (!t->quiet)
		tell_words(t, ev);
}

void pulltalk_end(struct pulltalk *t, const struct desc *out,
		  const struct err *e)
{
	buf_auto struct buf b = BUF_INIT;

	if (t->json_fd >= 0 && out)
		put_json(t, json_pack("{ss ss sI}", "event", "done", "digest",
				      out->digest.text, "received",
				      (json_int_t)(t->total_done - t->had)));
	else if (t->json_fd >= 0)
		put_json(t, json_pack("{ss ss ss}", "event", "failed", "error",
				      e->text, "fix", e->fix));
	if (t->quiet)
		return;
	wipe_live(t, &b);
	if (out)
		buf_printf(&b, "%s: done, %.1f MiB in %.1f s\n", t->prog,
			   mib(t->total_done - t->had), seconds(t));
	put(STDERR_FILENO, &b);
}
