/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_image_archive.c - an image archive that anybody may have made */
#include "base/error.h"
#include "base/fd.h"
#include "image/build.h"
#include "image/tree.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every name is one that ext4 can hold, every directory knows its parent. */
static void check(struct tree_node *dir, int depth)
{
	uint32_t n = 0;

	if (depth > 64)
		return;
	list_for_each(&dir->children, it, struct tree_name, link)
	{
		assert(it->dir == dir && it->len > 0 && it->node->nlink > 0);
		assert(!memchr(it->name, '/', it->len));
		assert(strcmp(it->name, ".") != 0 &&
		       strcmp(it->name, "..") != 0);
		if (S_ISDIR(it->node->mode)) {
			assert(it->node->parent == dir);
			check(it->node, depth + 1);
		}
		n++;
	}
	assert(n == dir->n_children);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader_input input = { .size = size, .unpacked_max = 8u << 20 };
	struct source source = { .input = NULL };
	struct error err = { 0 };
	struct tree *tree;

	input.fd = memfd_create("archive", MFD_CLOEXEC);
	assert(input.fd >= 0 && fd_write_full(input.fd, data, size) == 0);
	if (source_open(&input, &source, &err) == 0 &&
	    build_tree(&source, &tree, &err) == 0) {
		check(tree_root(tree), 0);
		tree_free(tree);
	} else {
		assert(err.code && err.msg[0]);
	}
	source_fini(&source);
	close(input.fd);
	return 0;
}
