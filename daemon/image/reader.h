/* SPDX-License-Identifier: Apache-2.0 */
/* reader.h - entries of an archive, or of an archive within one, bounded
 *
 * tar, plain or compressed with gzip, xz or zstd, by libarchive. What it gives
 * is limited in bytes whatever the archive claims.
 */
#ifndef IMAGE_READER_H
#define IMAGE_READER_H

#include <stddef.h>
#include <stdint.h>

struct archive_entry;
struct error;
struct reader;

/* More than this many times the archive's size, beyond READER_FREE, is a
 * bomb: text compresses 20 times, zeros a million times.
 */
#define READER_RATIO_MAX 200u
#define READER_FREE	 (256ull << 20)

/**
 * struct reader_input - The file that everything is read from
 * @fd:		A regular file
 * @size:	Of it
 * @unpacked_max: Bytes that archives within may unpack to, all together
 * @unpacked:	What they did, in this pass
 * @tick:	Called now and then with the position; may be NULL
 */
struct reader_input {
	int fd;
	uint64_t size;
	uint64_t unpacked_max, unpacked;
	void (*tick)(uint64_t done, void *arg);
	void *arg;
};

/* @input must outlive the reader. One outer reader at a time: they share the
 * file's position.
 */
int reader_open(struct reader_input *input, struct reader **ret,
		struct error *err);

/**
 * reader_open_nested() - An archive that is @outer's present entry
 * @digest:	SHA-256 the entry must have, hex; empty: any
 * @diff_id:	The same of an entry that is not compressed; empty: any
 *
 * Use @outer only after the nested one is freed.
 */
int reader_open_nested(struct reader *outer, const char *digest,
		       const char *diff_id, struct reader **ret,
		       struct error *err);
struct reader *reader_free(struct reader *reader);

/* 1 and the next entry (the reader's), 0 at the end, -1. */
int reader_next(struct reader *reader, struct archive_entry **ret,
		struct error *err);

/* 1 and the next piece of the present entry's data: at increasing offsets,
 * holes left out; 0 at its end, -1.
 */
int reader_block(struct reader *reader, const void **ret, size_t *ret_len,
		 uint64_t *ret_at, struct error *err);

/* After reader_next() returned 0 on a nested one: read what is behind the end
 * and check the digests.
 */
int reader_verify(struct reader *reader, struct error *err);

/* The whole present entry in a buffer of the caller's, with a NUL behind. */
int reader_slurp(struct reader *reader, size_t max, char **ret, size_t *ret_len,
		 struct error *err);

/* To be called before the process is jailed: what is loaded at first use. */
void reader_warm_up(void);

#endif /* IMAGE_READER_H */
