/* SPDX-License-Identifier: Apache-2.0 */
/* upload.h - a file or pipe into a call that takes a stream of data */
#ifndef CTL_UPLOAD_H
#define CTL_UPLOAD_H

#include "ctl/ctl.h"
#include "ctl/progress.h"

/**
 * struct upload - One upload
 * @method:	A call that takes a stream
 * @start:	Its first message; NULL: there is none
 * @wrap:	Makes a message of data; returns the message, which lives until
 *		the next call
 * @fd:		Where the data comes from
 * @size:	For the progress; 0: not known
 * @what:	Said in the progress
 * @answer:	Called for each message that comes back, may be NULL
 * @at_end:	Asked when @fd has ended: 0, or an exit status, and then the
 *		upload is cancelled; may be NULL
 */
struct upload {
	const char *method;
	const ProtobufCMessage *start;
	const ProtobufCMessage *(*wrap)(const uint8_t *data, size_t len);
	int fd;
	uint64_t size;
	const char *what;
	void (*answer)(struct upload *u, const ProtobufCMessage *m);
	int (*at_end)(struct upload *u);
	void *arg;

	struct ctl *ctl;
	struct progress progress;
};

/* Return: the exit status. */
int upload_run(struct ctl *ctl, struct upload *u);

#endif /* CTL_UPLOAD_H */
