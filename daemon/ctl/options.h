/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - a command line, taken apart strictly
 *
 * Options are "--name VALUE", "--name=VALUE", "-x VALUE" and flags; letters are
 * not bundled and names not shortened, so that a script keeps its meaning when
 * options are added. What is not an option is a word; all behind "--" is the
 * rest. An option that may be given once is refused the second time.
 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct options;

/**
 * struct option_def - One option; a table ends with a NULL name
 * @name:	Without the dashes
 * @letter:	One-letter form, or 0
 * @value:	What its value is called in the help; NULL: a flag
 * @many:	May be given more than once
 * @help:	One line
 */
struct option_def {
	const char *name;
	char letter;
	const char *value;
	bool many;
	const char *help;
};

struct options *options_new(void);
struct options *options_free(struct options *o);

/**
 * options_parse() - Take options and words from @argv
 * @first, @second: Tables to look in; @second may be NULL
 * @argc, @argv: What to parse; borrowed for the life of @o
 * @one_word:	Stop before the first word
 *
 * May be called again, to go on with another table.
 *
 * Return: how many of @argv were taken, or -1
 */
int options_parse(struct options *o, const struct option_def *first,
		  const struct option_def *second, int argc, char **argv,
		  bool one_word, struct error *err);

/* The words, and what stood behind "--" (NULL when there was no "--"). */
size_t options_words(const struct options *o, char ***ret);
const char *options_word(const struct options *o, size_t i);
size_t options_rest(const struct options *o, char ***ret);

/* An option whose values are secret: they are copied, and what stands in argv,
 * for everybody to see, behind a '=' is overwritten.
 */
void options_hide(struct options *o, const char *name);

bool options_has(const struct options *o, const char *name);
/* NULL when not given. */
const char *options_get(const struct options *o, const char *name);
/* The @i-th value of a repeated option; NULL behind the last. */
const char *options_nth(const struct options *o, const char *name, size_t i);
/* NAME=VALUE, or NAME alone: its value is our environment's. *@ret_name is the
 * caller's to free, *@ret_value not.
 */
int options_env(const char *option, const char *text, char **ret_name,
		const char **ret_value, struct error *err);
size_t options_count(const struct options *o, const char *name);

/* Each leaves *ret alone when the option was not given. -1 when its value is
 * not a number (a duration) of min..max.
 */
int options_u32(const struct options *o, const char *name, uint32_t min,
		uint32_t max, uint32_t *ret, struct error *err);
int options_u64(const struct options *o, const char *name, uint64_t *ret,
		struct error *err);
int options_duration(const struct options *o, const char *name, uint32_t *ret,
		     struct error *err);

#endif /* CTL_OPTIONS_H */
