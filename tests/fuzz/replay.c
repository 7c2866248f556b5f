/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - runs a fuzz target over its saved corpus, without a fuzzer
 *
 * fuzz_X replays $srcdir/tests/fuzz/corpus/X, or the files it is given. Each
 * input is copied to a block of exactly its size, so that a sanitizer sees
 * every read beyond it.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	static uint8_t buf[INPUT_MAX];
	FILE *f = fopen(path, "re");
	uint8_t *exact;
	size_t n;

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	n = fread(buf, 1, sizeof(buf), f);
	fclose(f);
	exact = malloc(n ? n : 1);
	if (!exact)
		return -1;
	memcpy(exact, buf, n);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	return 0;
}

static int replay_dir(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	int n = 0, rc = 0;

	if (!dir) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	while (rc == 0 && (entry = readdir(dir))) {
		char file[1024];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		rc = replay_file(file);
		n++;
	}
	closedir(dir);
	printf("%s: %d inputs\n", path, n);
	return n ? rc : -1;
}

int main(int argc, char **argv)
{
	const char *srcdir = getenv("srcdir");
	const char *name = strstr(argv[0], "fuzz_");
	char path[512];

	for (int i = 1; i < argc; i++)
		if (replay_file(argv[i]) < 0)
			return 1;
	if (argc > 1)
		return 0;
	for (const char *p = name; p; p = strstr(p + 1, "fuzz_"))
		name = p;
	if (!name)
		return 1;
	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s",
		 srcdir ? srcdir : ".", name + strlen("fuzz_"));
	return replay_dir(path) < 0;
}
