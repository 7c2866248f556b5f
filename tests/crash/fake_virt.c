/* SPDX-License-Identifier: Apache-2.0 */
/* fake_virt.c - the part of libvirt's API that the engine uses, over fake_virtd
 *
 * Linked in libvirt's place. A connection is no more than the knowledge that
 * somebody answers: every call opens a socket of its own.
 */
#include "fake_virt.h"

#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct _virConnect {
	int refs;
};

struct _virDomain {
	char uuid[VIR_UUID_STRING_BUFLEN];
	char name[VIR_UUID_STRING_BUFLEN + 4];
};

static _Thread_local virError last;
static _Thread_local char last_text[256];

static void set_error(int code, int domain, const char *text)
{
	snprintf(last_text, sizeof(last_text), "%s", text);
	last = (virError){ .code = code,
			   .domain = domain,
			   .message = last_text };
}

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	const char *path = getenv(FAKE_VIRT_ENV);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path ? path : "");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int send_packet(int to, const char *text, size_t len, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)text, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(to, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static char *ask_packet(int fd, const char *text, size_t len)
{
	char *reply = malloc(FAKE_VIRT_MAX), *ret = NULL;
	int sock = dial(), code, at;
	ssize_t n = -1;

	if (!reply)
		abort();
	if (sock >= 0 && send_packet(sock, text, len, fd) == 0)
		n = recv(sock, reply, FAKE_VIRT_MAX - 1, 0);
	if (sock >= 0)
		close(sock);
	reply[n > 0 ? n : 0] = '\0';
	if (n <= 0)
		set_error(VIR_ERR_RPC, VIR_FROM_RPC, "nobody answers");
	else if (!strncmp(reply, "ok", 2))
		ret = strdup(reply + (reply[2] ? 3 : 2));
	else if (sscanf(reply, "err %d %n", &code, &at) == 1)
		set_error(code, VIR_FROM_QEMU, reply + at);
	free(reply);
	return ret;
}

char *fake_virt_ask(int fd, const char *fmt, ...)
{
	char *text, *ret;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		abort();
	ret = ask_packet(fd, text, (size_t)len);
	free(text);
	return ret;
}

static int ask(const char *verb, const char *uuid)
{
	char *reply = fake_virt_ask(-1, "%s %s", verb, uuid);

	free(reply);
	return reply ? 0 : -1;
}

/* ---- the library ---- */

int virGetVersion(unsigned long *version, const char *type,
		  unsigned long *type_version)
{
	(void)type;
	(void)type_version;
	*version = 9000000;
	return 0;
}

int virInitialize(void)
{
	return 0;
}

int virEventRegisterDefaultImpl(void)
{
	return 0;
}

int virEventRunDefaultImpl(void)
{
	sleep(3600);
	return 0;
}

void virSetErrorFunc(void *data, virErrorFunc fn)
{
	(void)data;
	(void)fn;
}

virErrorPtr virGetLastError(void)
{
	return &last;
}

int virGetLastErrorCode(void)
{
	return last.code;
}

const char *virGetLastErrorMessage(void)
{
	return last_text;
}

/* ---- connections ---- */

virConnectPtr virConnectOpen(const char *name)
{
	virConnectPtr c;

	(void)name;
	if (ask("ping", "") < 0)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		abort();
	c->refs = 1;
	return c;
}

int virConnectRef(virConnectPtr c)
{
	__atomic_add_fetch(&c->refs, 1, __ATOMIC_SEQ_CST);
	return 0;
}

int virConnectClose(virConnectPtr c)
{
	int left = __atomic_sub_fetch(&c->refs, 1, __ATOMIC_SEQ_CST);

	if (left == 0)
		free(c);
	return left;
}

int virConnectSetKeepAlive(virConnectPtr c, int interval, unsigned int count)
{
	(void)c;
	(void)interval;
	(void)count;
	return 0;
}

int virConnectRegisterCloseCallback(virConnectPtr c, virConnectCloseFunc fn,
				    void *arg, virFreeCallback drop)
{
	(void)c;
	(void)fn;
	if (drop)
		drop(arg);
	return 0;
}

int virConnectUnregisterCloseCallback(virConnectPtr c, virConnectCloseFunc fn)
{
	(void)c;
	(void)fn;
	return 0;
}

int virConnectDomainEventRegisterAny(virConnectPtr c, virDomainPtr dom,
				     int event,
				     virConnectDomainEventGenericCallback fn,
				     void *arg, virFreeCallback drop)
{
	(void)c;
	(void)dom;
	(void)event;
	(void)fn;
	if (drop)
		drop(arg);
	return 0;
}

int virConnectDomainEventDeregisterAny(virConnectPtr c, int id)
{
	(void)c;
	(void)id;
	return 0;
}

int virConnectGetLibVersion(virConnectPtr c, unsigned long *version)
{
	(void)c;
	*version = 9000000;
	return 0;
}

/* ---- domains ---- */

static virDomainPtr domain_new(const char *uuid)
{
	virDomainPtr dom = calloc(1, sizeof(*dom));

	if (!dom)
		abort();
	snprintf(dom->uuid, sizeof(dom->uuid), "%s", uuid);
	snprintf(dom->name, sizeof(dom->name), "sbx-%.36s", uuid);
	return dom;
}

int virDomainFree(virDomainPtr dom)
{
	free(dom);
	return 0;
}

const char *virDomainGetName(virDomainPtr dom)
{
	return dom->name;
}

int virDomainGetUUIDString(virDomainPtr dom, char *buf)
{
	memcpy(buf, dom->uuid, VIR_UUID_STRING_BUFLEN);
	return 0;
}

virDomainPtr virDomainLookupByUUIDString(virConnectPtr c, const char *uuid)
{
	(void)c;
	return ask("state", uuid) < 0 ? NULL : domain_new(uuid);
}

virDomainPtr virDomainCreateXML(virConnectPtr c, const char *xml,
				unsigned int flags)
{
	virDomainPtr dom = NULL;
	char *uuid;

	(void)c;
	uuid = fake_virt_ask(-1, "create %c %s",
			     flags & VIR_DOMAIN_START_PAUSED ? 'P' : 'R', xml);
	if (uuid)
		dom = domain_new(uuid);
	free(uuid);
	return dom;
}

int virDomainGetState(virDomainPtr dom, int *state, int *reason,
		      unsigned int flags)
{
	char *reply = fake_virt_ask(-1, "state %s", dom->uuid);

	(void)flags;
	if (!reply)
		return -1;
	*state = !strcmp(reply, "running") ? VIR_DOMAIN_RUNNING :
					     VIR_DOMAIN_PAUSED;
	*reason = 0;
	free(reply);
	return 0;
}

int virDomainSuspend(virDomainPtr dom)
{
	return ask("suspend", dom->uuid);
}

int virDomainResume(virDomainPtr dom)
{
	return ask("resume", dom->uuid);
}

int virDomainDestroyFlags(virDomainPtr dom, unsigned int flags)
{
	(void)flags;
	return ask("destroy", dom->uuid);
}

int virDomainSaveFlags(virDomainPtr dom, const char *to, const char *dxml,
		       unsigned int flags)
{
	char *reply = fake_virt_ask(-1, "save %s %s", dom->uuid, to);

	(void)dxml;
	(void)flags;
	free(reply);
	return reply ? 0 : -1;
}

int virDomainRestoreFlags(virConnectPtr c, const char *from, const char *dxml,
			  unsigned int flags)
{
	char *reply =
		fake_virt_ask(-1, "restore %c %s",
			      flags & VIR_DOMAIN_SAVE_PAUSED ? 'P' : 'R', from);

	(void)c;
	(void)dxml;
	free(reply);
	return reply ? 0 : -1;
}

/* A save is one request: whoever asks meanwhile waits for its end. */
int virDomainGetJobInfo(virDomainPtr dom, virDomainJobInfoPtr info)
{
	*info = (virDomainJobInfo){ .type = VIR_DOMAIN_JOB_NONE };
	return ask("state", dom->uuid);
}

int virConnectListAllDomains(virConnectPtr c, virDomainPtr **ret,
			     unsigned int flags)
{
	char *reply = fake_virt_ask(-1, "list"), *at = NULL;
	virDomainPtr *doms;
	int n = 0;

	(void)c;
	(void)flags;
	if (!reply)
		return -1;
	doms = calloc(strlen(reply) / 36 + 2, sizeof(virDomainPtr));
	for (char *u = strtok_r(reply, " ", &at); u;
	     u = strtok_r(NULL, " ", &at))
		doms[n++] = domain_new(u);
	free(reply);
	*ret = doms;
	return n;
}

int virDomainQemuMonitorCommandWithFiles(virDomainPtr dom, const char *cmd,
					 unsigned int nfiles, int *files,
					 unsigned int *nout, int **outfiles,
					 char **result, unsigned int flags)
{
	(void)nout;
	(void)outfiles;
	(void)flags;
	*result = fake_virt_ask(nfiles ? files[0] : -1, "qmp %s %s", dom->uuid,
				cmd);
	return *result ? 0 : -1;
}

int virDomainQemuMonitorCommand(virDomainPtr dom, const char *cmd,
				char **result, unsigned int flags)
{
	return virDomainQemuMonitorCommandWithFiles(dom, cmd, 0, NULL, NULL,
						    NULL, result, flags);
}
