/* SPDX-License-Identifier: MIT
 *
 * Whole reads and writes, and files that are either there complete or not at
 * all.  EINTR and short transfers are dealt with here and nowhere else.
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct err;

/* Read up to @n bytes, fewer only at the end of the file.  Bytes, or -errno. */
ssize_t io_read_full(int fd, void *p, size_t n);

/* Write all @n bytes.  0 or -errno. */
int io_write_full(int fd, const void *p, size_t n);

/* Append everything up to the end of the file to @b.  0 or -errno. */
int io_read_all(int fd, struct buf *b);

/* The whole file at @path (relative to @dirfd, or AT_FDCWD) into @b.  A file
 * longer than b->max is -EMSGSIZE.  0 or -errno, @e filled. */
int io_read_file(int dirfd, const char *path, struct buf *b, struct err *e);

/* Read @path like io_read_file, and trim a trailing newline: for the one-line
 * files of /proc and /sys. */
int io_read_line(int dirfd, const char *path, struct buf *b, struct err *e);

/* Write a file that never exists half: a temporary name in the same directory,
 * fsync, rename, fsync of the directory.  @mode as for open(2).  0 or -errno,
 * @e filled; on failure the old file, if any, is untouched. */
int io_write_atomic(int dirfd, const char *path, const void *p, size_t n,
		    mode_t mode, struct err *e);

/* The two halves of the above for files written in pieces: the descriptor of a
 * new unnamed-as-yet file, and its coming into being.  The temporary name
 * starts with ".tmp." and is written to @tmp; after a crash io_sweep_tmp()
 * finds it. */
#define IO_TMP_MAX 4096 /* PATH_MAX */
int io_tmp_open(int dirfd, const char *path, mode_t mode, char tmp[IO_TMP_MAX],
		struct err *e);
int io_tmp_commit(int dirfd, int fd, const char *tmp, const char *path,
		  struct err *e);

/* Remove what writers that died left in the directory @path: entries whose
 * names start with ".tmp.".  Hold the lock that such writers hold.  0 or
 * -errno, @e filled. */
int io_sweep_tmp(const char *path, struct err *e);

/* mkdir -p with @mode for what is missing.  0 or -errno, @e filled. */
int io_mkdirs(const char *path, mode_t mode, struct err *e);

/* Remove a file or a whole tree, following no link.  Absent is success.
 * 0 or -errno, @e filled. */
int io_remove_tree(int dirfd, const char *path, struct err *e);

/* Create (0600) and flock @path.  @wait: block until it is free; otherwise
 * -EWOULDBLOCK at once when somebody holds it.  The descriptor, which holds
 * the lock until the last copy of it is closed, or -errno, @e filled. */
int io_lock(int dirfd, const char *path, bool wait, struct err *e);

/* fsync the directory @dirfd/@path is an entry of.  0 or -errno. */
int io_sync_dir_of(int dirfd, const char *path);

#endif
