/* SPDX-License-Identifier: MIT
 *
 * Ports: streams to what listens in the guest.
 */
#ifndef AGENT_PORT_H
#define AGENT_PORT_H

struct err;
struct stream;
struct wire_request;

/* Connect @s to the request's port of 127.0.0.1, or else of ::1.  Like
 * run_start(). */
int port_start(struct stream *s, const struct wire_request *x, struct err *e);

#endif
