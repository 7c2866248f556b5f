/* SPDX-License-Identifier: Apache-2.0 */
/* image_use.h - who stands on an image, and what goes when nobody does */
#ifndef ENGINE_IMAGE_USE_H
#define ENGINE_IMAGE_USE_H

#include <stdbool.h>

struct engine;

/* Whether a sandbox or snapshot stands on the image of @digest; an
 * image_in_use_fn, with the engine as @arg.
 */
bool image_is_used(const char *digest, void *arg);

/* Templates of an image that no sandbox or snapshot stands on, and their
 * waiting clones. What is being built stays.
 */
void image_drop_templates(struct engine *e, const char *digest);

/* Images that were replaced, and templates that no new sandbox would start
 * from, go once nobody stands on them. Part of keeping house.
 */
void images_tidy(struct engine *e);

#endif /* ENGINE_IMAGE_USE_H */
