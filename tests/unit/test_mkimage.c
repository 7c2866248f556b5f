/* SPDX-License-Identifier: Apache-2.0 */
/* test_mkimage.c - hostile and honest archives, up to the tree they make */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "image/build.h"
#include "image/tree.h"
#include "image_tar.h"

#include <string.h>
#include <sys/stat.h>

/* What an archive made. */
struct outcome {
	struct tree *tree;
	struct oci_config config;
	struct error err;
};

/* Consumes @tar. 0, or -1 with out->err. */
static int make_fd(struct outcome *out, struct tar *tar, uint64_t unpacked_max)
{
	struct reader_input input = { .fd = tar_fd(tar),
				      .size = tar->len,
				      .unpacked_max = unpacked_max };
	struct source source = { .input = NULL };
	int rc = -1;

	*out = (struct outcome){ .tree = NULL };
	if (source_open(&input, &source, &out->err) == 0)
		rc = build_tree(&source, &out->tree, &out->err);
	if (rc == 0) {
		out->config = source.config;
		source.config = (struct oci_config){ .n_env = 0 };
	}
	source_fini(&source);
	close(input.fd);
	tar_free(tar);
	return rc;
}

static int make(struct outcome *out, struct tar *tar)
{
	tar_end(tar);
	return make_fd(out, tar, 1ull << 30);
}

static void release(struct outcome *out)
{
	oci_config_fini(&out->config);
	tree_free(out->tree);
}

static void refused(struct tar *tar, const char *why)
{
	struct outcome out;

	assert_int_equal(make(&out, tar), -1);
	if (!strstr(out.err.msg, why))
		fail_msg("'%s' is not why: %s", why, out.err.msg);
	assert_int_equal(out.err.code, ERR_INVALID);
	release(&out);
}

static void dotdot_is_refused(void **state)
{
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_file(&tar, "etc/../../passwd", "x");
	refused(&tar, "'..' component");
}

static void an_absolute_name_stays_within(void **state)
{
	struct outcome out;
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_file(&tar, "/etc/passwd", "x");
	assert_int_equal(make(&out, &tar), 0);
	assert_non_null(tree_find(out.tree, "etc/passwd"));
	release(&out);
}

static void a_path_through_a_link_stays_within(void **state)
{
	struct outcome out;
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_put(&tar, "usr", S_IFDIR | 0755, NULL, NULL, 0);
	tar_put(&tar, "up", S_IFLNK | 0777, "../../../usr", NULL, 0);
	tar_file(&tar, "up/file", "x");
	assert_int_equal(make(&out, &tar), 0);
	assert_non_null(tree_find(out.tree, "usr/file"));
	assert_true(S_ISLNK(tree_find(out.tree, "up")->mode));
	release(&out);
}

static void a_path_through_a_dangling_link_is_refused(void **state)
{
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_put(&tar, "out", S_IFLNK | 0777, "/tmp/no", NULL, 0);
	tar_file(&tar, "out/file", "x");
	refused(&tar, "symbolic link to nothing");
}

static void a_file_replaces_a_link_and_not_its_target(void **state)
{
	struct outcome out;
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_file(&tar, "etc/shadow", "old");
	tar_put(&tar, "etc/link", S_IFLNK | 0777, "shadow", NULL, 0);
	tar_file(&tar, "etc/link", "newer");
	assert_int_equal(make(&out, &tar), 0);
	assert_int_equal(tree_find(out.tree, "etc/shadow")->size, 3);
	assert_true(S_ISREG(tree_find(out.tree, "etc/link")->mode));
	release(&out);
}

static void links_in_a_circle_are_refused(void **state)
{
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_put(&tar, "a", S_IFLNK | 0777, "b", NULL, 0);
	tar_put(&tar, "b", S_IFLNK | 0777, "a", NULL, 0);
	tar_file(&tar, "a/x", "x");
	refused(&tar, "too many symbolic links");
}

static void a_hard_link_to_nothing_is_refused(void **state)
{
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_file(&tar, "a", "x");
	tar_put(&tar, "b", S_IFREG | 0644, "=/host/file", NULL, 0);
	refused(&tar, "which is not there");
}

static void a_hard_link_is_the_same_file(void **state)
{
	struct outcome out;
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_file(&tar, "a", "text");
	tar_put(&tar, "d/b", S_IFREG | 0644, "=a", NULL, 0);
	assert_int_equal(make(&out, &tar), 0);
	assert_ptr_equal(tree_find(out.tree, "a"), tree_find(out.tree, "d/b"));
	assert_int_equal(tree_find(out.tree, "a")->nlink, 2);
	release(&out);
}

static void device_nodes_are_left_out(void **state)
{
	struct outcome out;
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_put(&tar, "dev/sda", S_IFBLK | 0666, NULL, NULL, 0);
	tar_put(&tar, "dev/zero", S_IFCHR | 0666, NULL, NULL, 0);
	tar_put(&tar, "pipe", S_IFIFO | 0600, NULL, NULL, 0);
	assert_int_equal(make(&out, &tar), 0);
	assert_null(tree_find(out.tree, "dev/sda"));
	assert_null(tree_find(out.tree, "dev/zero"));
	assert_true(S_ISFIFO(tree_find(out.tree, "pipe")->mode));
	assert_int_equal(tree_dropped(out.tree), 2);
	release(&out);
}

static void a_long_name_is_refused(void **state)
{
	char name[300];
	struct tar tar;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	tar_begin(&tar, 'n');
	tar_file(&tar, name, "x");
	refused(&tar, "longer than 255 bytes");
}

static void a_long_path_is_refused(void **state)
{
	static char path[5000];
	struct tar tar;

	(void)state;
	for (size_t i = 0; i < sizeof(path) - 1; i++)
		path[i] = i % 2 ? '/' : 'd';
	tar_begin(&tar, 'n');
	tar_file(&tar, path, "x");
	refused(&tar, "longer than 4096 bytes");
}

static void the_later_of_two_entries_counts(void **state)
{
	struct outcome out;
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_file(&tar, "a/b", "first");
	tar_file(&tar, "./a//b", "second one");
	tar_put(&tar, "a/b/c", S_IFDIR | 0755, NULL, NULL, 0);
	tar_end(&tar);
	/* A file is no way to another. */
	assert_int_equal(make_fd(&out, &tar, 1 << 20), -1);
	release(&out);
	tar_begin(&tar, 'n');
	tar_file(&tar, "a/b", "first");
	tar_file(&tar, "./a//b", "second one");
	assert_int_equal(make(&out, &tar), 0);
	assert_int_equal(tree_find(out.tree, "a/b")->size, 10);
	assert_null(tree_file(out.tree, 0));
	assert_ptr_equal(tree_file(out.tree, 1), tree_find(out.tree, "a/b"));
	release(&out);
}

static void capabilities_are_kept_and_labels_dropped(void **state)
{
	struct outcome out;
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_xattr(&tar, "ping", "security.capability", "\1\0\0\2", 4);
	tar_xattr(&tar, "labelled", "security.selinux", "x", 1);
	assert_int_equal(make(&out, &tar), 0);
	assert_string_equal(tree_find(out.tree, "ping")->xattrs->name,
			    "security.capability");
	assert_int_equal(tree_find(out.tree, "ping")->xattrs->len, 4);
	assert_null(tree_find(out.tree, "labelled")->xattrs);
	release(&out);
}

static void holes_are_not_counted_as_data(void **state)
{
	struct outcome out;
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_sparse(&tar, "sparse", 64u << 20, 32u << 20, "island");
	assert_int_equal(make(&out, &tar), 0);
	assert_int_equal(tree_find(out.tree, "sparse")->size, 64u << 20);
	assert_true(tree_find(out.tree, "sparse")->data < 4096);
	release(&out);
}

/* A bomb: zeros, so many times the archive's size. */
static void bomb(struct tar *tar, char filter, size_t size)
{
	_cleanup_free_ char *zeros = xcalloc(1, size);

	tar_begin(tar, filter);
	tar_put(tar, "zeros", S_IFREG | 0644, NULL, zeros, size);
	tar_end(tar);
}

static void a_compression_bomb_is_refused(void **state)
{
	static const char filters[] = "gzx";
	struct outcome out;
	struct tar tar;

	(void)state;
	for (size_t i = 0; filters[i]; i++) {
		bomb(&tar, filters[i], 400u << 20);
		assert_int_equal(make_fd(&out, &tar, 1ull << 40), -1);
		assert_int_equal(out.err.code, ERR_LIMIT);
		assert_non_null(strstr(out.err.msg, "times its size"));
		release(&out);
	}
}

static void more_than_the_disk_may_hold_is_refused(void **state)
{
	struct outcome out;
	struct tar tar;

	(void)state;
	bomb(&tar, 'g', 8u << 20);
	assert_int_equal(make_fd(&out, &tar, 4u << 20), -1);
	assert_int_equal(out.err.code, ERR_LIMIT);
	assert_non_null(strstr(out.err.msg, "4 MiB"));
	release(&out);
}

static void a_truncated_archive_is_refused(void **state)
{
	struct outcome out;
	struct tar tar;

	(void)state;
	bomb(&tar, 'n', 1u << 20);
	tar.len /= 2;
	assert_int_equal(make_fd(&out, &tar, 1u << 30), -1);
	assert_int_equal(out.err.code, ERR_INVALID);
	release(&out);
}

/* ---- images in layers ---- */

static void put_blob(struct tar *outer, const struct tar *blob, char hex[65])
{
	char path[100];

	tar_digest(blob, hex);
	snprintf(path, sizeof(path), "blobs/sha256/%s", hex);
	tar_put(outer, path, S_IFREG | 0644, NULL, blob->data, blob->len);
}

static void put_text(struct tar *outer, const char *text, char hex[65])
{
	struct tar blob = { .data = xstrdup(text), .len = strlen(text) };

	put_blob(outer, &blob, hex);
	tar_free(&blob);
}

#define DESCRIPTOR "{\"digest\": \"sha256:%s\", \"size\": 1}"

/* An OCI layout of these layers; consumes them. */
static void oci(struct tar *outer, struct tar *layers, size_t n,
		const char *config, bool spoil)
{
	_cleanup_free_ char *list = xstrdup(""), *text = NULL;
	char hex[65], config_hex[65];

	tar_begin(outer, 'n');
	tar_file(outer, "oci-layout", "{\"imageLayoutVersion\": \"1.0.0\"}");
	for (size_t i = 0; i < n; i++) {
		char *more;

		tar_end(&layers[i]);
		put_blob(outer, &layers[i], hex);
		if (spoil)
			hex[0] = hex[0] == 'a' ? 'b' : 'a';
		more = xasprintf("%s%s" DESCRIPTOR, list, i ? "," : "", hex);
		free(list);
		list = more;
		tar_free(&layers[i]);
	}
	put_text(outer, config, config_hex);
	text = xasprintf("{\"config\": " DESCRIPTOR ", \"layers\": [%s]}",
			 config_hex, list);
	put_text(outer, text, hex);
	free(text);
	text = xasprintf("{\"manifests\": [" DESCRIPTOR "]}", hex);
	tar_file(outer, "index.json", text);
}

static void layers_lie_over_each_other(void **state)
{
	struct tar layers[2], outer;
	struct outcome out;

	(void)state;
	tar_begin(&layers[0], 'g');
	tar_file(&layers[0], "etc/gone", "x");
	tar_file(&layers[0], "etc/kept", "x");
	tar_file(&layers[0], "opq/old", "x");
	tar_file(&layers[0], "opq/sub/old", "x");
	tar_begin(&layers[1], 'z');
	tar_file(&layers[1], "etc/.wh.gone", "");
	tar_file(&layers[1], "opq/new", "y");
	tar_file(&layers[1], "opq/.wh..wh..opq", "");
	tar_file(&layers[1], "opq/sub/new", "y");
	oci(&outer, layers, 2,
	    "{\"architecture\": \"amd64\", \"config\": {\"Env\": "
	    "[\"PATH=/bin\", \"bad name=1\"], \"User\": \"app\", "
	    "\"WorkingDir\": \"/srv\"}}",
	    false);
	assert_int_equal(make(&out, &outer), 0);
	assert_null(tree_find(out.tree, "etc/gone"));
	assert_null(tree_find(out.tree, "etc/.wh.gone"));
	assert_non_null(tree_find(out.tree, "etc/kept"));
	assert_null(tree_find(out.tree, "opq/old"));
	assert_null(tree_find(out.tree, "opq/sub/old"));
	assert_non_null(tree_find(out.tree, "opq/new"));
	assert_non_null(tree_find(out.tree, "opq/sub/new"));
	assert_int_equal(out.config.n_env, 1);
	assert_string_equal(out.config.env[0], "PATH=/bin");
	assert_string_equal(out.config.user, "app");
	assert_string_equal(out.config.workdir, "/srv");
	release(&out);
}

static void whiteouts_are_names_in_a_plain_archive(void **state)
{
	struct outcome out;
	struct tar tar;

	(void)state;
	tar_begin(&tar, 'n');
	tar_file(&tar, "etc/.wh.file", "x");
	assert_int_equal(make(&out, &tar), 0);
	assert_non_null(tree_find(out.tree, "etc/.wh.file"));
	release(&out);
}

static void a_layer_with_another_digest_is_refused(void **state)
{
	struct tar layer, outer;

	(void)state;
	tar_begin(&layer, 'g');
	tar_file(&layer, "a", "x");
	oci(&outer, &layer, 1, "{}", true);
	refused(&outer, "lacks 'blobs/sha256/");
}

static void an_image_for_another_machine_is_refused(void **state)
{
	struct tar layer, outer;

	(void)state;
	tar_begin(&layer, 'g');
	tar_file(&layer, "a", "x");
	oci(&outer, &layer, 1, "{\"architecture\": \"arm64\"}", false);
	refused(&outer, "'arm64'");
}

static void docker_save_is_understood(void **state)
{
	struct outcome out;
	struct tar layer, tar;

	(void)state;
	tar_begin(&layer, 'n');
	tar_file(&layer, "etc/a", "text");
	tar_end(&layer);
	tar_begin(&tar, 'g');
	tar_put(&tar, "one/layer.tar", S_IFREG | 0644, NULL, layer.data,
		layer.len);
	tar_put(&tar, "two/layer.tar", S_IFLNK | 0777, "../one/layer.tar", NULL,
		0);
	tar_file(&tar, "c.json", "{\"config\": {\"Env\": [\"A=b\"]}}");
	tar_file(&tar, "manifest.json",
		 "[{\"Config\": \"c.json\", \"Layers\": [\"one/layer.tar\", "
		 "\"two/layer.tar\"]}]");
	tar_free(&layer);
	assert_int_equal(make(&out, &tar), 0);
	assert_non_null(tree_find(out.tree, "etc/a"));
	assert_string_equal(out.config.env[0], "A=b");
	release(&out);
}

static void a_layer_that_is_not_what_its_diff_id_says_is_refused(void **state)
{
	struct tar layer, tar;
	_cleanup_free_ char *config = xasprintf(
		"{\"rootfs\": {\"diff_ids\": [\"sha256:%064d\"]}}", 1);

	(void)state;
	tar_begin(&layer, 'n');
	tar_file(&layer, "etc/a", "text");
	tar_end(&layer);
	tar_begin(&tar, 'n');
	tar_put(&tar, "l.tar", S_IFREG | 0644, NULL, layer.data, layer.len);
	tar_file(&tar, "c.json", config);
	tar_file(&tar, "manifest.json",
		 "[{\"Config\": \"c.json\", \"Layers\": [\"l.tar\"]}]");
	tar_free(&layer);
	refused(&tar, "damaged");
}

static void a_very_deep_tree_is_refused(void **state)
{
	static char way[4096];
	struct tar tar;

	(void)state;
	/* Each link leads to the end of the way before. */
	tar_begin(&tar, 'n');
	for (size_t i = 0; i < 2000; i++) {
		way[2 * i] = 'd';
		way[2 * i + 1] = '/';
	}
	tar_put(&tar, way, S_IFDIR | 0755, NULL, NULL, 0);
	tar_put(&tar, "s", S_IFLNK | 0777, way, NULL, 0);
	way[0] = 's';
	tar_put(&tar, way, S_IFDIR | 0755, NULL, NULL, 0);
	refused(&tar, "too deep");
}

static void too_many_entries_are_refused(void **state)
{
	struct tree_entry e = { .path = "same", .mode = S_IFREG | 0644 };
	struct tree *tree = tree_new();
	struct error err = { 0 };
	struct tree_node *node;
	uint32_t n = 0;

	(void)state;
	tree_begin_layer(tree, false);
	while (n <= TREE_ENTRIES_MAX && tree_add(tree, &e, &node, &err) == 0)
		n++;
	assert_int_equal(n, TREE_ENTRIES_MAX);
	assert_int_equal(err.code, ERR_LIMIT);
	tree_free(tree);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dotdot_is_refused),
		cmocka_unit_test(an_absolute_name_stays_within),
		cmocka_unit_test(a_path_through_a_link_stays_within),
		cmocka_unit_test(a_path_through_a_dangling_link_is_refused),
		cmocka_unit_test(a_file_replaces_a_link_and_not_its_target),
		cmocka_unit_test(links_in_a_circle_are_refused),
		cmocka_unit_test(a_hard_link_to_nothing_is_refused),
		cmocka_unit_test(a_hard_link_is_the_same_file),
		cmocka_unit_test(device_nodes_are_left_out),
		cmocka_unit_test(a_long_name_is_refused),
		cmocka_unit_test(a_long_path_is_refused),
		cmocka_unit_test(the_later_of_two_entries_counts),
		cmocka_unit_test(capabilities_are_kept_and_labels_dropped),
		cmocka_unit_test(holes_are_not_counted_as_data),
		cmocka_unit_test(a_compression_bomb_is_refused),
		cmocka_unit_test(more_than_the_disk_may_hold_is_refused),
		cmocka_unit_test(a_truncated_archive_is_refused),
		cmocka_unit_test(layers_lie_over_each_other),
		cmocka_unit_test(whiteouts_are_names_in_a_plain_archive),
		cmocka_unit_test(a_layer_with_another_digest_is_refused),
		cmocka_unit_test(an_image_for_another_machine_is_refused),
		cmocka_unit_test(docker_save_is_understood),
		cmocka_unit_test(
			a_layer_that_is_not_what_its_diff_id_says_is_refused),
		cmocka_unit_test(a_very_deep_tree_is_refused),
		cmocka_unit_test(too_many_entries_are_refused),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	reader_warm_up();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
