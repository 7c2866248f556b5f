/* SPDX-License-Identifier: Apache-2.0 */
/* test_hv_xml.c - a guest as libvirt's domain XML
 *
 * Golden files are in golden/. With HV_XML_WRITE set they are written anew: look
 * at the difference before you commit it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/hv/hv_xml.h"

#include <fcntl.h>
#include <string.h>

static const char *const layers[] = {
	"/state/guests/g/disk.qcow2",
	"/state/guests/g/disk.0.qcow2",
	"/state/templates/t/disk.qcow2",
	"/state/images/i/disk.raw",
};

static struct guest_spec spec_of(void)
{
	struct guest_spec spec = {
		.uuid = "5b0a0000-0000-4000-8000-000000000001",
		.slot = { .uid = 30001, .cid = 4097, .tap = "sbx1" },
		.cpu = 2,
		.memory_mib = 512,
		.disk_mib = 1024,
		.dir = "/state/guests/g",
	};

	return spec;
}

static struct hv_xml_options options_of(void)
{
	struct hv_xml_options opt = {
		.accelerator = HV_ACCEL_TCG,
		.emulator = "/usr/bin/qemu-system-x86_64",
		.machine = "pc-q35-7.2",
		.kernel = "/state/kernel/vmlinuz",
		.initrd = "/state/kernel/initrd.img",
		.cmdline = "console=ttyS0 quiet panic=-1",
		.gid = 30000,
		.ram_path = "/state/guests/g/empty.ram",
		.layers = layers,
		.n_layers = 4,
	};

	return opt;
}

static char *golden_path(const char *name)
{
	const char *srcdir = getenv("srcdir");

	return xasprintf("%s/tests/unit/golden/%s", srcdir ? srcdir : "..",
			 name);
}

static void assert_golden(const char *name, const struct guest_spec *spec,
			  const struct hv_xml_options *opt)
{
	_cleanup_free_ char *path = golden_path(name);
	_cleanup_free_ char *want = NULL;
	_cleanup_free_ char *got = NULL;
	struct error err;

	assert_int_equal(hv_xml_build(spec, opt, &got, &err), 0);
	if (getenv("HV_XML_WRITE"))
		fd_replace_file(AT_FDCWD, path, got, strlen(got), 0644, &err);
	assert_int_equal(fd_read_file(AT_FDCWD, path, 65536, &want, NULL), 0);
	assert_string_equal(got, want);
}

static void a_cold_guest_under_tcg_on_a_serial_link(void **state)
{
	struct guest_spec spec = spec_of();
	struct hv_xml_options opt = options_of();
	const char *const two[] = { layers[0], layers[3] };

	(void)state;
	opt.layers = two;
	opt.n_layers = 2;
	assert_golden("hv_cold_tcg.xml", &spec, &opt);
}

static void a_clone_under_kvm_on_vsock(void **state)
{
	struct guest_spec spec = spec_of();
	struct hv_xml_options opt = options_of();

	(void)state;
	opt.accelerator = HV_ACCEL_KVM;
	opt.vsock = true;
	opt.incoming = true;
	opt.ram_path = "/state/templates/t/template.ram";
	opt.ram_readonly = true;
	assert_golden("hv_clone_kvm.xml", &spec, &opt);
}

static void paths_are_escaped_for_xml_and_for_qemu(void **state)
{
	struct guest_spec spec = spec_of();
	struct hv_xml_options opt = options_of();
	_cleanup_free_ char *xml = NULL;

	(void)state;
	opt.ram_path = "/a,share=on/<'&\">";
	assert_int_equal(hv_xml_build(&spec, &opt, &xml, NULL), 0);
	assert_non_null(strstr(
		xml, "mem-path=/a,,share=on/&lt;&apos;&amp;&quot;&gt;'/>"));
}

static void a_path_with_a_control_character_is_refused(void **state)
{
	struct guest_spec spec = spec_of();
	struct hv_xml_options opt = options_of();
	struct error err = { 0 };
	char *xml = NULL;

	(void)state;
	opt.kernel = "/a\nb";
	assert_int_equal(hv_xml_build(&spec, &opt, &xml, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	assert_null(xml);
}

/* Cut out what a clone may differ in; the rest must be its template's. */
static void template_and_clone_have_the_same_devices(void **state)
{
	struct guest_spec spec = spec_of();
	struct hv_xml_options cold = options_of(), clone = options_of();
	_cleanup_free_ char *a = NULL;
	_cleanup_free_ char *b = NULL;
	char *from, *to;

	(void)state;
	clone.incoming = true;
	assert_int_equal(hv_xml_build(&spec, &cold, &a, NULL), 0);
	assert_int_equal(hv_xml_build(&spec, &clone, &b, NULL), 0);
	from = strstr(b, "    <qemu:arg value='-incoming'/>\n");
	assert_non_null(from);
	to = strstr(from, "  </qemu:commandline>");
	memmove(from, to, strlen(to) + 1);
	assert_string_equal(a, b);
}

static void nothing_libvirt_would_chown_is_shared_with_others(void **state)
{
	struct guest_spec spec = spec_of();
	struct hv_xml_options opt = options_of();
	_cleanup_free_ char *xml = NULL;
	size_t sources = 0, fixed = 0;

	(void)state;
	assert_int_equal(hv_xml_build(&spec, &opt, &xml, NULL), 0);
	for (const char *p = xml; (p = strstr(p, "<source file=")); p++)
		sources++;
	for (const char *p = xml;
	     (p = strstr(p, "<seclabel model='dac' relabel='no'/></source>"));
	     p++)
		fixed++;
	assert_int_equal(sources, 4);
	assert_int_equal(fixed, 4);
	assert_null(strstr(xml, "<kernel>"));
	assert_null(strstr(xml, "/dev/urandom"));
	assert_non_null(strstr(xml, "<memballoon model='none'/>"));
}

static void too_many_layers_are_refused(void **state)
{
	struct guest_spec spec = spec_of();
	struct hv_xml_options opt = options_of();
	struct error err = { 0 };
	char *xml = NULL;

	(void)state;
	opt.n_layers = HV_XML_LAYERS_MAX + 1;
	assert_int_equal(hv_xml_build(&spec, &opt, &xml, &err), -1);
	assert_int_equal(err.code, ERR_LIMIT);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cold_guest_under_tcg_on_a_serial_link),
		cmocka_unit_test(a_clone_under_kvm_on_vsock),
		cmocka_unit_test(paths_are_escaped_for_xml_and_for_qemu),
		cmocka_unit_test(a_path_with_a_control_character_is_refused),
		cmocka_unit_test(template_and_clone_have_the_same_devices),
		cmocka_unit_test(
			nothing_libvirt_would_chown_is_shared_with_others),
		cmocka_unit_test(too_many_layers_are_refused),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
