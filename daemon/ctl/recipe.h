/* SPDX-License-Identifier: Apache-2.0 */
/* recipe.h - the program that builds an image's archive */
#ifndef CTL_RECIPE_H
#define CTL_RECIPE_H

struct error;
struct recipe;

/**
 * recipe_start() - Run "image-build NAME", which writes an archive to a pipe
 *
 * The program is $SANDBOXD_IMAGE_BUILD, or the source tree's when we run from a
 * build in it, or the installed one. It gets a process group of its own.
 */
int recipe_start(const char *name, struct recipe **ret, struct error *err);

/* The archive; the recipe's. */
int recipe_fd(const struct recipe *r);

/* After the archive's end: whether the program succeeded. */
int recipe_wait(struct recipe *r, struct error *err);

/* Ends the program, with all it started, unless it was waited for. */
void recipe_freep(struct recipe **r);

#endif /* CTL_RECIPE_H */
