/* SPDX-License-Identifier: MIT
 *
 * Many clients, one agent: the emulated host has a single byte stream to its
 * agent (a virtio port), and every `iso-host run` is a client of its own.
 *
 * Clients speak the agent protocol; frames go through with their stream
 * number exchanged for one that is free on the agent's side.  Nothing else is
 * changed, so flow control works from end to end, and what can pile up here
 * is bounded by the windows of the streams.  A client that goes away has its
 * streams reset.
 *
 * The agent drops a peer that breaks the protocol, and all clients would go
 * down with one that does: so what the agent would refuse is refused here.
 */
#ifndef HOST_MUX_H
#define HOST_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/flow.h"
#include "wire/frame.h"

struct err;
struct pollfd;

#define MUX_CLIENTS_MAX 256
#define MUX_SLOTS 1024 /* streams at once; a power of two */

struct mux_client;

/* A stream on the agent's side. */
struct mux_slot {
	uint32_t id;		  /* there; 0: free */
	uint32_t client_id;	  /* at the client */
	struct mux_client *owner; /* NULL: gone, waiting for its EXIT */
	struct wire_flow flow;
};

struct mux {
	int agent;  /* owned */
	int listen; /* owned */
	bool ready; /* the agent said HELLO */
	bool ended; /* the agent has gone; see the error of mux_serve() */
	uint32_t last_id;
	struct mux_client *clients[MUX_CLIENTS_MAX];
	struct mux_slot slots[MUX_SLOTS];
	struct buf out; /* to the agent */
	size_t out_off;
	struct wire_reader in;
	bool shutdown; /* somebody asked for it */
};

/* Take over the connected @agent and the listening socket @listen. */
void mux_init(struct mux *m, int agent, int listen);

/* Fill @pf (room for mux_poll_max()) with what to wait for; how many. */
#define MUX_POLL_MAX (2 + MUX_CLIENTS_MAX)
size_t mux_want(struct mux *m, struct pollfd *pf);

/* Deal with what poll(2) found, in the array that mux_want() filled.  0, or
 * -errno with @e filled when the agent's side is lost: nothing goes on then. */
int mux_serve(struct mux *m, const struct pollfd *pf, size_t n, struct err *e);

/* Ask the agent to power off. */
void mux_shutdown(struct mux *m);

/* Tell every client why it ends here, and close. */
void mux_close(struct mux *m, const struct err *why);

#endif
