/* SPDX-License-Identifier: Apache-2.0 */
/* front_link.h - the engine's end of the socket to its front process
 *
 * Starts front, starts it again when it dies (backing off), sends it its setup
 * and listeners, and has it do what only front may: speak to agents. Main
 * thread only; every answer comes by callback, exactly once.
 */
#ifndef ENGINE_FRONT_LINK_H
#define ENGINE_FRONT_LINK_H

#include <stddef.h>
#include <stdint.h>

struct error;
struct front_link;

/* The answer to one request: @err NULL on success. @data is borrowed. */
typedef void (*front_answer_fn)(const struct error *err, const uint8_t *data,
				size_t len, void *arg);

/* Attach: @message is a packed sandbox.ipc.v1.AttachAgent; consumes @fd. The
 * answer is an AttachAgentResponse.
 */
void front_link_attach(struct front_link *front, const uint8_t *message,
		       size_t len, int fd, front_answer_fn answer, void *arg);

/* Close a guest's link; its clients are told @reason and @text. */
void front_link_detach(struct front_link *front, const char *key,
		       const char *reason, const char *text,
		       front_answer_fn answer, void *arg);

/* One unary call to an attached agent ("Freeze", "Thaw", "Stats",
 * "Configure") with a packed request; the answer is the packed response.
 */
void front_link_call(struct front_link *front, const char *key,
		     const char *method, const uint8_t *request, size_t len,
		     uint32_t deadline_ms, front_answer_fn answer, void *arg);

#endif /* ENGINE_FRONT_LINK_H */
