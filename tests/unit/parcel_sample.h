/* SPDX-License-Identifier: Apache-2.0 */
/* parcel_sample.h - a small snapshot's stream, below its compression */
#ifndef TESTS_PARCEL_SAMPLE_H
#define TESTS_PARCEL_SAMPLE_H

#include "engine/sandbox.h"
#include "engine/snapshot/parcel_sheet.h"

#include <stddef.h>
#include <stdint.h>

#define PARCEL_SAMPLE_MIB 2u /* of memory */

/* The one manifest, for a test to change. */
struct parcel_sample {
	ParcelManifest m;
	ParcelPlatform platform;
	ParcelTemplate template;
	Sandbox__Node__V1__CreateSandboxRequest spec;
	Sandbox__Node__V1__Resources resources;
	uint8_t nonce[SANDBOX_NONCE_LEN];
	ParcelPart parts[8], *at[8];
};

extern struct parcel_sample parcel_sample;

/* As it was. */
ParcelManifest *parcel_sample_new(void);

/**
 * struct parcel_stream - All of it
 * @data:	The caller's to free
 * @ends:	Of the manifest, each part, and the end
 */
struct parcel_stream {
	uint8_t *data;
	size_t len;
	size_t ends[10];
	size_t n_ends;
};

struct parcel_stream parcel_sample_stream(const ParcelManifest *m);

#endif /* TESTS_PARCEL_SAMPLE_H */
