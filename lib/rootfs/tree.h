/* SPDX-License-Identifier: MIT
 *
 * The file system of an image, while its layers are being applied: a tree of
 * names and inodes in memory.  The contents of files are elsewhere
 * (extent.h).
 *
 * Nodes are names, inodes are what they stand for; a hard link is one more node
 * of the same inode.  Both are known by numbers, 0 being none: a number takes
 * half of a pointer, and there may be a million.
 */
#ifndef ROOTFS_TREE_H
#define ROOTFS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

struct err;
struct limits;
struct spill;

#define TREE_NONE 0
#define TREE_ROOT 1 /* the root's node, and its inode */

struct node {
	uint32_t parent; /* the root's is the root */
	uint32_t inode;
	uint32_t next, prev; /* in the directory; 0 at the ends */
	uint32_t chain;	     /* of the hash table */
	uint32_t name;	     /* tree_name() */
	uint16_t layer;	     /* that put it there last; 0: none spoke of it */
	uint8_t name_len;
};

struct inode {
	uint16_t mode; /* with its type; 0: free */
	uint32_t links;
	uint32_t uid, gid;
	uint32_t nsec;
	int64_t mtime;
	uint64_t size; /* of a file or a link's target */
	union {
		uint32_t first;	 /* dir: node */
		uint32_t block;	 /* file: where its contents begin */
		uint32_t target; /* link: in the strings */
		uint32_t rdev;	 /* device: as in the file system */
		uint32_t chain;	 /* free: the next free one */
	};
	uint32_t xattrs; /* in the strings: struct xattrs; 0: none */
	uint32_t nid;	 /* where it will be; 0: not placed */
};

/* Objects of one size in pieces that never move. */
struct pool {
	uint8_t **pieces; /* owned; the pieces are the spill's */
	size_t size;	  /* of an object */
	uint32_t used;	  /* objects, 0 included */
	uint32_t npieces;
};

struct tree {
	struct pool nodes, inodes, strings; /* the last one of bytes */
	uint32_t free_node, free_inode;
	struct spill *spill; /* owned: memory of the pools and the table */
	uint32_t *table;     /* heads of chains of nodes */
	uint32_t table_size, nnodes;
	uint64_t key[2];
	const struct limits *limits;
	/* Called with an inode whose last name is gone, before it is freed. */
	void (*gone)(void *arg, const struct inode *i);
	void *gone_arg;
	uint16_t layer; /* that is being applied, from 1 */
};

#define tree_auto __attribute__((cleanup(tree_free)))

/* A tree with an empty root.  What of it does not fit into memory goes to a
 * file in the directory @dir (borrowed; -1: all of it fits).  0 or -errno, @e
 * filled. */
int tree_init(struct tree *t, const struct limits *limits, int dir,
	      struct err *e);
void tree_free(struct tree *t);

struct node *tree_node(const struct tree *t, uint32_t n);
struct inode *tree_inode(const struct tree *t, uint32_t i);
/* The inode of a node. */
struct inode *tree_of(const struct tree *t, uint32_t n);
struct str tree_name(const struct tree *t, uint32_t n);

/* A new inode, of no name yet; 0 with @e filled. */
uint32_t tree_inode_new(struct tree *t, uint16_t mode, struct err *e);

/* Keep @n bytes: their number, which tree_bytes() takes; 0 with @e filled. */
uint32_t tree_keep(struct tree *t, const void *p, size_t n, struct err *e);
const uint8_t *tree_bytes(const struct tree *t, uint32_t at);

/* The node of that name in the directory @dir (a node); 0: none. */
uint32_t tree_lookup(const struct tree *t, uint32_t dir, struct str name);

/* @name in @dir stands for @inode from now on.  What it stood for is removed,
 * with all that is in it; except that a directory which takes the place of a
 * directory gets its entries.  The node, or 0 with @e filled. */
uint32_t tree_put(struct tree *t, uint32_t dir, struct str name, uint32_t inode,
		  struct err *e);

/* Remove a node and all that is in it. */
void tree_remove(struct tree *t, uint32_t n);

/* Of what is at the node @top, and in it, remove what lower layers than the one
 * that is being applied have put there.  Directories that lead to what stays
 * do, too.  With @inside only what is in it. */
void tree_purge(struct tree *t, uint32_t top, bool inside);

/* The directory @path as a process with this root would reach it: links are
 * followed, within the tree.  With @create what is missing is made, 0755 and
 * root's.  The node; 0 with @e filled (ENOENT, ENOTDIR, ELOOP). */
uint32_t tree_walk(struct tree *t, struct str path, bool create, struct err *e);

/* Order the entries of every directory by name. */
int tree_sort(struct tree *t, struct err *e);

/* The node after @n in an order in which directories come before what is in
 * them; begins with TREE_ROOT, 0 at the end. */
uint32_t tree_next(const struct tree *t, uint32_t n);

#endif
