/* SPDX-License-Identifier: Apache-2.0 */
/* file_path.h - paths in the guest: finding, describing, making parents
 *
 * Runs on: a task's thread; everything blocks. Paths are what users give, and
 * what lies there is the guest's: links and devices are expected.
 */
#ifndef AGENT_FILE_PATH_H
#define AGENT_FILE_PATH_H

#include <limits.h>
#include <stddef.h>
#include <sys/stat.h>

#include <protobuf-c/protobuf-c.h>

#include "sandbox/node/v1/node.pb-c.h"

struct error;
struct task;
struct user;

/* For error messages: @path, printable and not too long. */
#define FILE_QUOTE_MAX 200
const char *file_quote(char dst[FILE_QUOTE_MAX], const char *path);

/* A request's path, absolute. -1: *err names @field. */
int file_take_path(const struct task *t, const ProtobufCBinaryData *bytes,
		   const char *field, char ret[PATH_MAX], struct error *err);

/* The sandbox's user, who gets what is made without saying whose it is. */
int file_default_owner(const struct task *t, uid_t *uid, gid_t *gid,
		       struct error *err);

/**
 * file_open_regular() - Open what is surely a regular file
 *
 * The type is known before it is opened: opening a device or a FIFO can block
 * or have effects.
 *
 * Return: the descriptor and *@ret_st, or -1 with *@err set
 */
int file_open_regular(const char *path, int flags, struct stat *ret_st,
		      struct error *err);

/* Where @path's last component leads, if it is a symbolic link (also to what
 * does not exist). 0 or -1.
 */
int file_resolve(const char *path, char ret[PATH_MAX], struct error *err);

/* A directory's part of @path ("/" or "." if there is none), and the rest. */
void file_split(const char *path, char dir[PATH_MAX], const char **name);

struct file_owner {
	uid_t uid;
	gid_t gid;
};

/* Make @path and what is missing above it; made ones are @owner's (NULL:
 * ours). No error if it is there.
 */
int file_make_directories(const char *path, mode_t mode,
			  const struct file_owner *owner, struct error *err);
/* Those above @path, and above where it leads. Best effort. */
void file_make_parents_of_target(const char *path);

/* A FileInfo and what it points to. */
struct file_info {
	Sandbox__Node__V1__FileInfo msg;
	Google__Protobuf__Timestamp modified_at;
	char *link; /* owned */
};

/**
 * file_info_fill() - Describe a file
 * @name:	Borrowed
 * @dir_fd, @at: Where a symbolic link is read
 */
void file_info_fill(struct file_info *info, const struct stat *st,
		    const char *name, int dir_fd, const char *at);
void file_info_fini(struct file_info *info);

int file_type_of(mode_t mode); /* FILE_TYPE_... */

#endif /* AGENT_FILE_PATH_H */
