/* SPDX-License-Identifier: Apache-2.0 */
/* hv_xml.c - a guest as libvirt's domain XML
 *
 * Theory of operation
 * ===================
 *
 * libvirt relabels (chowns to the guest's uid) every path it knows of when
 * the label says relabel='yes', and it must say so, or QEMU cannot read
 * its master key. So what guests share must not be known to libvirt: kernel and
 * initrd are arguments for QEMU alone, randomness is QEMU's builtin, every disk
 * layer carries relabel='no', and memory is an argument as well.
 *
 * The disk's chain is spelled out to the end (<backingStore/>). Otherwise
 * libvirt would read it from the layers' headers, as root, and a QEMU that was
 * taken over writes such a header.
 *
 * No balloon: in a private mapping it would punch holes into the template's
 * file, which all clones share. No page merging: it tells guests apart by
 * timing. The console goes to a ring in QEMU: it cannot grow.
 *
 * A guest's flushes end in the host's page cache (cache='unsafe'). Its layer is
 * worth something only while its QEMU lives: after a crash of the host a
 * sandbox goes on from its last snapshot, or not at all. Who saves stops QEMU,
 * which writes back what it holds of the layer, and syncs the file itself
 * (disk_seal()).
 *
 * Of a QEMU that can say which CPU features it lacks (cpu-unavailable-features)
 * libvirt reads each property of the CPU by a question of its own, 400 of them,
 * two thirds of the time that a start takes. With that capability taken away it
 * asks for all as two lists, as it did before there was it; what is compared
 * with what is the same, and <cpu check='none'> compares nothing.
 */
#include "engine/hv/hv_xml.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdio.h>
#include <string.h>

#define CONSOLE_SIZE 65536 /* a power of two, says QEMU */

/* Text for an attribute or element. False: a character XML has no way for. */
static bool put_text(FILE *f, const char *text)
{
	for (const char *p = text; *p; p++) {
		switch (*p) {
		case '&':
			fputs("&amp;", f);
			break;
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '\'':
			fputs("&apos;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		default:
			if ((unsigned char)*p < 0x20 || *p == 0x7f)
				return false;
			fputc(*p, f);
		}
	}
	return true;
}

static bool put_element(FILE *f, const char *before, const char *text,
			const char *after)
{
	fputs(before, f);
	if (!put_text(f, text))
		return false;
	fputs(after, f);
	return true;
}

static bool put_arg(FILE *f, const char *option, const char *value)
{
	fprintf(f, "    <qemu:arg value='%s'/>\n", option);
	return !value ||
	       put_element(f, "    <qemu:arg value='", value, "'/>\n");
}

/* QEMU's options are cut at commas: one in a value is doubled. */
static void put_option_value(FILE *f, const char *value)
{
	for (const char *p = value; *p; p++) {
		if (*p == ',')
			fputc(',', f);
		fputc(*p, f);
	}
}

static bool put_source(FILE *f, const char *path)
{
	return put_element(f, "<source file='", path,
			   "'><seclabel model='dac' relabel='no'/></source>\n");
}

static bool put_disk(FILE *f, const struct hv_xml_options *opt)
{
	fputs("    <disk type='file' device='disk'>\n"
	      "      <driver name='qemu' type='qcow2' cache='unsafe' "
	      "error_policy='report' discard='unmap'/>\n      ",
	      f);
	if (!put_source(f, opt->layers[0]))
		return false;
	for (size_t i = 1; i < opt->n_layers; i++) {
		fprintf(f,
			"      <backingStore type='file'><format type='%s'/>",
			i + 1 == opt->n_layers ? "raw" : "qcow2");
		if (!put_source(f, opt->layers[i]))
			return false;
	}
	fputs("      <backingStore/>\n", f);
	for (size_t i = 1; i < opt->n_layers; i++)
		fputs("      </backingStore>\n", f);
	fputs("      <target dev='vda' bus='virtio'/>\n"
	      "    </disk>\n",
	      f);
	return true;
}

static bool put_devices(FILE *f, const struct guest_spec *spec,
			const struct hv_xml_options *opt)
{
	fputs("  <devices>\n", f);
	if (!put_element(f, "    <emulator>", opt->emulator, "</emulator>\n"))
		return false;
	fputs("    <controller type='usb' model='none'/>\n"
	      "    <memballoon model='none'/>\n",
	      f);
	if (!put_disk(f, opt))
		return false;
	if (spec->slot.tap[0]) {
		fputs("    <interface type='ethernet'>\n"
		      "      <mac address='" HV_GUEST_MAC "'/>\n",
		      f);
		if (!put_element(f, "      <target dev='", spec->slot.tap,
				 "' managed='no'/>\n"))
			return false;
		fputs("      <model type='virtio'/>\n"
		      "      <rom enabled='no'/>\n"
		      "    </interface>\n",
		      f);
	}
	fputs("    <rng model='virtio'>"
	      "<backend model='builtin'/></rng>\n",
	      f);
	if (opt->vsock) {
		fprintf(f,
			"    <vsock model='virtio'>"
			"<cid auto='no' address='%u'/></vsock>\n",
			spec->slot.cid);
	} else {
		fputs("    <channel type='unix'>\n", f);
		if (!put_element(f, "      <source mode='bind' path='",
				 spec->dir, "/agent.sock'/>\n"))
			return false;
		fputs("      <target type='virtio' name='" HV_XML_AGENT_PORT
		      "'/>\n    </channel>\n",
		      f);
	}
	fputs("  </devices>\n", f);
	return true;
}

static bool put_ram(FILE *f, const struct guest_spec *spec,
		    const struct hv_xml_options *opt)
{
	_cleanup_free_ char *value = NULL;
	size_t len;
	FILE *v = open_memstream(&value, &len);
	bool ok;

	if (!v)
		return false;
	fprintf(v, "memory-backend-file,id=sbxram,size=%uM,share=off,mem-path=",
		spec->memory_mib);
	put_option_value(v, opt->ram_path);
	if (opt->ram_readonly)
		fputs(",readonly=on,rom=off", v);
	ok = fclose(v) == 0 && put_arg(f, "-object", value);
	/* A later key takes the place of libvirt's own backend. */
	return ok && put_arg(f, "-machine", "memory-backend=sbxram");
}

static bool put_qemu(FILE *f, const struct guest_spec *spec,
		     const struct hv_xml_options *opt)
{
	char ring[80];

	snprintf(ring, sizeof(ring), "ringbuf,id=%s,size=%d", HV_XML_CONSOLE,
		 CONSOLE_SIZE);
	fputs("  <qemu:commandline>\n", f);
	if (!put_ram(f, spec, opt) || !put_arg(f, "-kernel", opt->kernel) ||
	    !put_arg(f, "-initrd", opt->initrd) ||
	    !put_arg(f, "-append", opt->cmdline) ||
	    !put_arg(f, "-chardev", ring) ||
	    !put_arg(f, "-device",
		     "isa-serial,id=sbxserial,chardev=" HV_XML_CONSOLE) ||
	    /* State saved without memory has no configuration section. */
	    !put_arg(f, "-global", "migration.send-configuration=off"))
		return false;
	if (opt->incoming && !put_arg(f, "-incoming", "defer"))
		return false;
	fputs("  </qemu:commandline>\n"
	      "  <qemu:capabilities>\n"
	      "    <qemu:del capability='cpu-unavailable-features'/>\n"
	      "  </qemu:capabilities>\n",
	      f);
	return true;
}

static bool put_domain(FILE *f, const struct guest_spec *spec,
		       const struct hv_xml_options *opt)
{
	bool kvm = opt->accelerator == HV_ACCEL_KVM;

	fprintf(f,
		"<domain type='%s' "
		"xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
		"  <name>sbx-%s</name>\n"
		"  <uuid>%s</uuid>\n"
		"  <genid/>\n"
		"  <memory unit='MiB' dumpCore='off'>%u</memory>\n"
		"  <memoryBacking><nosharepages/></memoryBacking>\n"
		"  <vcpu>%u</vcpu>\n",
		kvm ? "kvm" : "qemu", spec->uuid, spec->uuid, spec->memory_mib,
		spec->cpu);
	if (!put_element(f, "  <os><type arch='x86_64' machine='", opt->machine,
			 "'>hvm</type></os>\n"))
		return false;
	fprintf(f,
		"  <features><acpi/><apic/><vmport state='off'/></features>\n"
		"  <cpu mode='%s' check='none'%s>\n"
		"    <feature policy='disable' name='svm'/>\n"
		"    <feature policy='disable' name='vmx'/>\n"
		"%s"
		"  </cpu>\n"
		"  <clock offset='utc'/>\n"
		"  <on_poweroff>destroy</on_poweroff>\n"
		"  <on_reboot>destroy</on_reboot>\n"
		"  <on_crash>destroy</on_crash>\n",
		kvm ? "host-passthrough" : "maximum",
		kvm ? " migratable='on'" : "",
		/* Without svm the emulated CPU has no leaf that tells its
		 * address sizes; Linux then takes 48 bits for granted, and with
		 * five-level paging all its own addresses for invalid: every
		 * path that it tells (/proc/self/exe) is "xxxx".
		 */
		kvm ? "" : "    <feature policy='disable' name='la57'/>\n");
	if (!put_devices(f, spec, opt))
		return false;
	fprintf(f,
		"  <seclabel type='static' model='dac' relabel='yes'>"
		"<label>+%u:+%u</label></seclabel>\n",
		spec->slot.uid, opt->gid);
	if (!put_qemu(f, spec, opt))
		return false;
	fputs("</domain>\n", f);
	return true;
}

int hv_xml_build(const struct guest_spec *spec,
		 const struct hv_xml_options *opt, char **ret,
		 struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *f;
	bool ok;

	if (opt->n_layers < 1 || opt->n_layers > HV_XML_LAYERS_MAX)
		return err_set(err, ERR_LIMIT, "disk of %zu layers",
			       opt->n_layers);
	f = open_memstream(&text, &len);
	if (!f)
		return err_set(err, ERR_INTERNAL, "no memory for XML");
	ok = put_domain(f, spec, opt);
	if (fclose(f) != 0 || !ok)
		return err_set(err, ERR_INVALID,
			       "guest '%s': a path has a control character",
			       spec->uuid);
	*ret = TAKE_PTR(text);
	return 0;
}
