/* SPDX-License-Identifier: Apache-2.0 */
/* installed.h - programs of ours that sandboxctl runs */
#ifndef CTL_INSTALLED_H
#define CTL_INSTALLED_H

/* Where it is: in the build tree of a program that was not installed, else in
 * libexec. @source: where in the source tree, for what is not built; or NULL.
 * The caller's to free.
 */
char *installed_path(const char *name, const char *source);

/* Become it, with the same arguments. Returns the exit status if that fails, a
 * line on standard error says why.
 */
int installed_exec(const char *name, char **argv);

#endif /* CTL_INSTALLED_H */
