/* SPDX-License-Identifier: MIT
 *
 * The status channel: a connection to the VMM, vsock CID 2 port 1024, on which
 * the agent says by one byte whether anything runs without a client: 'B' for
 * busy, 'I' for idle, at first and with every change.  That it comes at all
 * tells the VMM that the agent serves.
 */
#ifndef AGENT_STATUS_H
#define AGENT_STATUS_H

/* Connect, now and again whenever the connection is lost, which is what a
 * restored or forked machine finds. */
void status_open(void);

#endif
