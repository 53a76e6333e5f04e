/* SPDX-License-Identifier: MIT
 *
 * Unix sockets by path, however long the path: the directory is opened first
 * and the socket named through /proc/self/fd, so that only the last component
 * has to fit into sun_path.
 */
#ifndef BASE_SOCK_H
#define BASE_SOCK_H

struct err;

/* A listening SOCK_STREAM socket at @path, mode 0600; one that is left there
 * from before is removed (hold a lock), anything else is not.  The descriptor,
 * or -errno with @e filled. */
int sock_listen(const char *path, struct err *e);
/* The same of type SOCK_SEQPACKET. */
int sock_listen_packets(const char *path, struct err *e);

/* Connect to it.  The descriptor, or -errno with @e filled: -ENOENT and
 * -ECONNREFUSED mean that nobody listens. */
int sock_connect(const char *path, struct err *e);
int sock_connect_packets(const char *path, struct err *e);

#endif
