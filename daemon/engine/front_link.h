/* SPDX-License-Identifier: Apache-2.0 */
/* front_link.h - the engine's end of the socket to its front process
 *
 * Starts front, starts it again when it dies (backing off from 100 ms to 5 s),
 * sends it its setup and listeners, has it do what only front may: speak to
 * agents; and hands what front asks to the engine. Main thread only.
 *
 * Nothing is remembered from one front process to the next: whenever one
 * started, `up` is called and the engine says everything again (setup,
 * listeners, agents, ports). When it dies, `down` is called: all leases are
 * void, no answer is wanted to calls that came from it, and every request that
 * waits for front is answered with ERR_UNAVAILABLE.
 *
 * Every answer comes by callback, exactly once, and never from within the
 * function that asked.
 */
#ifndef ENGINE_FRONT_LINK_H
#define ENGINE_FRONT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;
struct front_link;
struct loop;

/* The answer to one request: @err NULL on success. @data is borrowed. */
typedef void (*front_answer_fn)(const struct error *err, const uint8_t *data,
				size_t len, void *arg);

/**
 * struct front_link_config - What to start
 * @program:	Path of sandboxd-front
 * @uid, @gid:	Whom it turns into; uid 0: it stays who the engine is (tests)
 * @debug:	It logs debug lines
 */
struct front_link_config {
	const char *program;
	uid_t uid;
	gid_t gid;
	bool debug;
};

/* One entry of an event's data. */
struct front_pair {
	const char *key;
	const char *value;
};

/**
 * struct front_link_ops - What front tells and asks
 * @up:		A front process runs and listens to us: send it everything
 * @down:	It died (@why); another will be started
 * @call:	A control RPC: @method of NodeService with its packed @request.
 *		@identity is who calls (a SAN, or "uid:0"), never NULL.  *@fd is
 *		the stream's pipe for ImportImage, ImportSnapshot (read end) and
 *		ExportSnapshot (write end), else -EBADF; take it with TAKE_FD().
 *		Answer with front_link_reply(), perhaps much later
 * @cancel:	The client of call @id is gone.  The answer is still wanted
 * @acquire:	Answer with a packed AcquireResponse
 * @release:	A lease is given back; unknown ones are passed over
 * @activity:	Tunnelled bytes passed
 * @event:	For the event log; types exec.*, file.*, port.*
 * @link_lost:	An attached agent's link ended, or (@broken) the agent broke the
 *		protocol.  Not called for links that front_link_detach() closes
 * @agent_silent: An attached agent does not answer, or does again.  Its link
 *		stands
 * @read_events: Answer with a packed ReadEventsResponse
 *
 * All strings are valid, bounded and borrowed.  sandbox_id passed as "" means
 * none.  Every op must be set.
 */
struct front_link_ops {
	void (*up)(void *arg);
	void (*down)(const char *why, void *arg);
	void (*call)(uint64_t id, const char *method, const char *identity,
		     const uint8_t *request, size_t len, int *fd, void *arg);
	void (*cancel)(uint64_t id, void *arg);
	void (*acquire)(uint64_t id, const char *sandbox_id,
			const char *identity, void *arg);
	void (*release)(uint64_t lease, void *arg);
	void (*activity)(const char *sandbox_id, void *arg);
	void (*event)(const char *sandbox_id, const char *type,
		      const struct front_pair *data, size_t n, void *arg);
	void (*link_lost)(const char *key, uint64_t generation, const char *why,
			  bool broken, void *arg);
	void (*agent_silent)(const char *key, uint64_t generation, bool silent,
			     void *arg);
	void (*read_events)(uint64_t id, uint64_t since, const char *sandbox_id,
			    char *const *types, size_t n_types, uint32_t limit,
			    void *arg);
};

/**
 * front_link_new() - Start a front process, and keep one running
 * @config:	Copied
 * @ops:	Borrowed for the link's life; @arg is passed to it
 *
 * `up` comes from the loop, not from within.  Fails only when the program
 * cannot be started at all (not there, no descriptors).
 */
int front_link_new(struct loop *loop, const struct front_link_config *config,
		   const struct front_link_ops *ops, void *arg,
		   struct front_link **ret, struct error *err);

/* Ends the process at once (it keeps no state that matters) and waits for it.
 * Requests that wait are answered before it returns; `down` is not called.
 * NULL is fine.
 */
struct front_link *front_link_free(struct front_link *front);

/* How many processes there were before this one. */
uint64_t front_link_restarts(const struct front_link *front);

/* The process now, 0 between two. */
pid_t front_link_pid(const struct front_link *front);

/* For tests that bring their own other end: as front_link_new(), over @fd
 * (consumed), without a process and never restarted.
 */
int front_link_new_fd(struct loop *loop, int fd,
		      const struct front_link_ops *ops, void *arg,
		      struct front_link **ret, struct error *err);

/**
 * front_link_reply() - Answer a call, acquire or read_events
 * @id:		As it came; ids of a front that died are passed over
 * @err:	NULL: success
 * @data:	The packed answer; ignored on failure
 * @more:	Further answers to the same id follow (progress)
 */
void front_link_reply(struct front_link *front, uint64_t id,
		      const struct error *err, const void *data, size_t len,
		      bool more);

/* ---- what the engine tells; without front, these do nothing: `up` comes ---- */

/* @message is a packed sandbox.ipc.v1.Setup. With tls: descriptors (borrowed,
 * at offset 0) of certificate chain, key and CA file. To be sent first, and
 * again to change it or renew the certificates.
 */
void front_link_setup(struct front_link *front, const uint8_t *message,
		      size_t len, const int *fds, size_t n_fds);

/* Serve the API on this listening socket (borrowed): a unix socket, or TCP
 * with TLS.
 */
void front_link_listen(struct front_link *front, bool tls, int fd);

void front_link_events_grew(struct front_link *front, uint64_t newest);

/* ---- what the engine asks ---- */

/* Attach: @message is a packed sandbox.ipc.v1.AttachAgent; consumes @fd. The
 * answer is an AttachAgentResponse; reason AGENT_BROKEN is of one that broke the
 * protocol. Attaching a key that is attached replaces
 * its link.
 */
void front_link_attach(struct front_link *front, const uint8_t *message,
		       size_t len, int fd, front_answer_fn answer, void *arg);

/* Close a guest's link; its clients are told @reason and @text. Success too
 * when it is not attached.
 */
void front_link_detach(struct front_link *front, const char *key,
		       const char *reason, const char *text,
		       front_answer_fn answer, void *arg);

/* One unary call to an attached agent ("Freeze", "Thaw", "Stats",
 * "Configure") with a packed request; the answer is the packed response.
 */
void front_link_call(struct front_link *front, const char *key,
		     const char *method, const uint8_t *request, size_t len,
		     uint32_t deadline_ms, front_answer_fn answer, void *arg);

/* Tunnel what connects to the listening TCP socket @fd (borrowed) to @port of
 * the guest. With @wait_ms the answer comes once the guest's port accepts, or
 * ERR_TIMEOUT; the listener stays either way.
 */
void front_link_listen_port(struct front_link *front, const char *sandbox_id,
			    uint16_t port, uint32_t wait_ms, int fd,
			    front_answer_fn answer, void *arg);

/* Close that listener and cut its connections. */
void front_link_unlisten_port(struct front_link *front, const char *sandbox_id,
			      uint16_t port, front_answer_fn answer, void *arg);

/* What front has counted: a packed FrontCounts. */
void front_link_count(struct front_link *front, front_answer_fn answer,
		      void *arg);

/* GOAWAY to all clients; answered when their calls have ended. */
void front_link_drain(struct front_link *front, front_answer_fn answer,
		      void *arg);

#endif /* ENGINE_FRONT_LINK_H */
