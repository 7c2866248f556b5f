/* SPDX-License-Identifier: Apache-2.0 */
/* image_maker.h - one run of sandboxd-mkimage: from an archive to a disk
 *
 * Main thread only. What it says is checked as any peer's.
 */
#ifndef ENGINE_IMAGE_MAKER_H
#define ENGINE_IMAGE_MAKER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;
struct image;
struct image_import_spec;
struct image_maker;
struct loop;

/**
 * struct image_maker_ops - What the owner hears
 * @progress:	@what: a literal
 * @done:	Once, last, never from within image_maker_start(). NULL: the disk
 *		is made. The owner frees it, then or later
 */
struct image_maker_ops {
	void (*progress)(const char *what, uint64_t done, uint64_t total,
			 void *arg);
	void (*done)(const struct error *err, void *arg);
};

/**
 * struct image_maker_config - What to make of what
 * @program:	Path of sandboxd-mkimage
 * @uid, @gid:	Whom it turns into; uid 0: it stays who the engine is (tests)
 * @archive, @disk: Borrowed. The disk is given to @uid
 * @size_max:	Bytes that the archive may unpack to
 * @spec:	What the user wants; borrowed until done
 * @image:	Filled in with what the archive says and @spec does not: source,
 *		user, directory, environment; borrowed until done
 */
struct image_maker_config {
	const char *program;
	uid_t uid;
	gid_t gid;
	int archive, disk;
	uint64_t size_max;
	const struct image_import_spec *spec;
	struct image *image;
};

int image_maker_start(struct loop *loop,
		      const struct image_maker_config *config,
		      const struct image_maker_ops *ops, void *arg,
		      struct image_maker **ret, struct error *err);

/* For tests that play it: nothing is started, and `done` never comes; of the
 * config only spec and image count. Each packet is as one of its reports. -1: it
 * broke the rules, or what it found cannot be.
 */
struct image_maker *image_maker_new(const struct image_maker_config *config,
				    const struct image_maker_ops *ops,
				    void *arg);
int image_maker_packet(struct image_maker *maker, const uint8_t *data,
		       size_t len, struct error *err);

/* Kill it; @done comes. */
void image_maker_end(struct image_maker *maker);

/* At once, without a word. NULL is fine. */
struct image_maker *image_maker_free(struct image_maker *maker);

#endif /* ENGINE_IMAGE_MAKER_H */
