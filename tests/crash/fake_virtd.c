/* SPDX-License-Identifier: Apache-2.0 */
/* fake_virtd.c - a libvirtd whose guests are small processes (fake_qemu.c)
 *
 *	fake_virtd SOCKET	serves until it is killed; its guests end with it
 *	fake_virtd --version	says that it is QEMU, for the engine's probe
 *	fake_virtd rebase ..	is qemu-img, to merge disk layers
 *
 * Outlives the engine under test, as libvirtd does, and its guests with it.
 * One request at a time; see fake_virt.h for what there is.
 */
#include "fake_qemu.h"
#include "fake_virt.h"

#include <libvirt/virterror.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUESTS_MAX 256

struct guest {
	char uuid[40];
	pid_t pid;
	int fd;
	char *xml;
};

static struct guest guests[GUESTS_MAX];
static size_t n_guests;
static unsigned long requests, fault_at;
static char fault_mode[16], fault_hit[64];

static struct guest *find(const char *uuid)
{
	for (size_t i = 0; i < n_guests; i++)
		if (!strncmp(guests[i].uuid, uuid, 36))
			return &guests[i];
	return NULL;
}

static void drop(struct guest *g)
{
	kill(g->pid, SIGKILL);
	waitpid(g->pid, NULL, 0);
	close(g->fd);
	free(g->xml);
	*g = guests[--n_guests];
}

static void answer(char *reply, int code, const char *text)
{
	snprintf(reply, FAKE_VIRT_MAX, "err %d %s", code, text);
}

/* One packet to a guest, and what it says as our answer. */
static void talk(struct guest *g, const char *text, int fd, char *reply)
{
	ssize_t n = -1;

	if (packet_send(g->fd, text, strlen(text), fd) == 0)
		n = recv(g->fd, reply + 3, FAKE_VIRT_MAX - 4, 0);
	if (n <= 0) {
		answer(reply, VIR_ERR_OPERATION_FAILED,
		       "the monitor is closed");
		return;
	}
	memcpy(reply, "ok ", 3);
	reply[3 + n] = '\0';
	/* A guest's own "err CODE TEXT". */
	if (!strncmp(reply + 3, "err ", 4))
		memmove(reply, reply + 3, (size_t)n + 1);
}

/* ---- create ---- */

static bool cut(const char *xml, const char *before, const char *end, char *buf,
		size_t size, const char **ret_next)
{
	const char *p = strstr(xml, before);
	size_t n;

	buf[0] = '\0';
	if (!p)
		return false;
	p += strlen(before);
	n = strcspn(p, end);
	snprintf(buf, size, "%.*s", (int)n, p);
	if (ret_next)
		*ret_next = p + n;
	return true;
}

static pid_t spawn(int control, char *const argv[], unsigned int uid,
		   unsigned int gid)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (control != 3)
		dup2(control, 3);
	close_range(4, ~0u, 0);
	if (setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0)
		execv("/proc/self/exe", argv);
	_exit(127);
}

struct plan {
	char uuid[40], ram[512], mib[16], agent[512];
	char layers[FAKE_LAYERS_MAX][512];
	char *argv[FAKE_LAYERS_MAX + 16];
	unsigned int uid, gid;
};

/* @status: its vCPUs', as it begins. */
static bool read_plan(const char *text, const char *status, struct plan *p)
{
	const char *at = text, *label = strstr(text, "<label>+");
	size_t n = 0, count = 0;

	if (!label || sscanf(label, "<label>+%u:+%u", &p->uid, &p->gid) != 2 ||
	    !cut(text, "<uuid>", "<", p->uuid, sizeof(p->uuid), NULL) ||
	    !cut(text, "mem-path=", "',", p->ram, sizeof(p->ram), NULL) ||
	    !cut(text, "size=", "M", p->mib, sizeof(p->mib), NULL))
		return false;
	cut(text, "<source mode='bind' path='", "'", p->agent, sizeof(p->agent),
	    NULL);
	while (count < FAKE_LAYERS_MAX &&
	       cut(at, "<source file='", "'", p->layers[count], 512, &at))
		count++;
	p->argv[n++] = (char *)"fake-qemu";
	p->argv[n++] = (char *)"-uuid";
	p->argv[n++] = p->uuid;
	p->argv[n++] = p->ram;
	p->argv[n++] = p->mib;
	p->argv[n++] = p->agent;
	p->argv[n++] =
		(char *)(strstr(text, "value='-incoming'") ? "inmigrate" :
							     status);
	for (size_t i = 0; i < count; i++)
		p->argv[n++] = p->layers[i];
	p->argv[n] = NULL;
	return count > 0;
}

static struct guest *begin(const char *xml, const char *status, char *reply)
{
	static struct plan p;
	struct guest *g = &guests[n_guests];
	int pair[2];

	if (n_guests == GUESTS_MAX || !read_plan(xml, status, &p)) {
		answer(reply, VIR_ERR_XML_ERROR, "that is no domain");
		return NULL;
	}
	if (find(p.uuid)) {
		answer(reply, VIR_ERR_OPERATION_FAILED, "it exists");
		return NULL;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0) {
		answer(reply, VIR_ERR_NO_MEMORY, "no sockets");
		return NULL;
	}
	snprintf(g->uuid, sizeof(g->uuid), "%s", p.uuid);
	g->fd = pair[0];
	g->pid = spawn(pair[1], p.argv, p.uid, p.gid);
	g->xml = strdup(xml);
	close(pair[1]);
	n_guests++;
	return g;
}

/* It lives if the last that it said was good. */
static void began(struct guest *g, char *reply)
{
	if (!strncmp(reply, "ok", 2))
		snprintf(reply, FAKE_VIRT_MAX, "ok %s", g->uuid);
	else
		drop(g);
}

static void create(const char *text, char *reply)
{
	struct guest *g =
		begin(text + 2, text[0] == 'P' ? "paused" : "running", reply);

	if (!g)
		return;
	talk(g, "hello", -1, reply);
	began(g, reply);
}

/* ---- save and restore ---- */

#define SAVE_MAGIC "LibvirtQemudSave"

/* Libvirt's own, as far as the engine looks at it. */
struct save_header {
	char magic[16];
	uint32_t version, data_len, rest[17];
};

static void save(struct guest *g, const char *path, char *reply)
{
	struct save_header h = { .version = 2 };
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	h.data_len = (uint32_t)strlen(g->xml) + 1;
	memcpy(h.magic, SAVE_MAGIC, sizeof(h.magic));
	if (fd < 0 || write(fd, &h, sizeof(h)) != sizeof(h) ||
	    write(fd, g->xml, h.data_len) != (ssize_t)h.data_len)
		answer(reply, VIR_ERR_OPERATION_FAILED, "it cannot be written");
	else
		talk(g, "save", fd, reply);
	if (fd >= 0)
		close(fd);
	if (!strncmp(reply, "ok", 2))
		drop(g);
	else
		unlink(path);
}

static void restore(const char *text, char *reply)
{
	static char xml[FAKE_VIRT_MAX];
	int fd = open(text + 2, O_RDONLY | O_CLOEXEC);
	struct save_header h = { .version = 0 };
	struct guest *g = NULL;

	if (fd < 0 || read(fd, &h, sizeof(h)) != sizeof(h) ||
	    memcmp(h.magic, SAVE_MAGIC, sizeof(h.magic)) != 0 ||
	    h.data_len > sizeof(xml) ||
	    read(fd, xml, h.data_len) != (ssize_t)h.data_len)
		answer(reply, VIR_ERR_OPERATION_FAILED, "that is no save");
	else
		g = begin(xml, "inmigrate", reply);
	if (g) {
		talk(g, "load", fd, reply);
		if (!strncmp(reply, "ok", 2) && text[0] == 'R')
			talk(g, "resume", -1, reply);
		began(g, reply);
	}
	if (fd >= 0)
		close(fd);
}

/* ---- disks ---- */

#define TOKEN_AT   (1 << 20) /* as fake_qemu.c */
#define TOKEN_SIZE 64

static bool token_of(const char *path, char token[TOKEN_SIZE])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, token, TOKEN_SIZE, TOKEN_AT);

	if (fd >= 0)
		close(fd);
	return n == TOKEN_SIZE && token[0];
}

/* The last argument is the layer that gets what is in those below it. */
static int rebase(const char *path)
{
	const char *slash = strrchr(path, '/');
	char token[TOKEN_SIZE], layer[4096];
	bool found = token_of(path, token);
	int fd;

	for (int n = FAKE_LAYERS_MAX; !found && slash && n >= 0; n--) {
		snprintf(layer, sizeof(layer), "%.*s/disk.%d.qcow2",
			 (int)(slash - path), path, n);
		found = token_of(layer, token);
	}
	if (!found)
		return 0;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || pwrite(fd, token, TOKEN_SIZE, TOKEN_AT) != TOKEN_SIZE;
}

/* ---- requests ---- */

static void list(char *reply)
{
	size_t at = (size_t)sprintf(reply, "ok");

	for (size_t i = 0; i < n_guests; i++)
		at += (size_t)sprintf(reply + at, " %s", guests[i].uuid);
}

static void on_guest(const char *text, int fd, char *reply)
{
	const char *uuid = strchr(text, ' ');
	struct guest *g = uuid ? find(++uuid) : NULL;

	if (!g) {
		answer(reply, VIR_ERR_NO_DOMAIN, "no such domain");
	} else if (!strncmp(text, "qmp ", 4)) {
		talk(g, uuid + 37, fd, reply);
	} else if (!strncmp(text, "save ", 5)) {
		save(g, uuid + 37, reply);
	} else if (!strncmp(text, "destroy ", 8)) {
		drop(g);
		sprintf(reply, "ok");
	} else {
		char word[128];

		/* state, suspend, resume, poke, peek */
		snprintf(word, sizeof(word), "%.*s%s", (int)(uuid - text), text,
			 strlen(uuid) > 37 ? uuid + 37 : "");
		talk(g, word, fd, reply);
	}
}

static void serve(const char *text, int fd, char *reply)
{
	if (!strncmp(text, "ping", 4))
		sprintf(reply, "ok");
	else if (!strncmp(text, "list", 4))
		list(reply);
	else if (!strncmp(text, "create ", 7))
		create(text + 7, reply);
	else if (!strncmp(text, "restore ", 8))
		restore(text + 8, reply);
	else
		on_guest(text, fd, reply);
}

static bool is_about_tests(const char *text, char *reply)
{
	if (!strncmp(text, "fault ", 6)) {
		requests = 0;
		fault_hit[0] = '\0';
		sscanf(text, "fault %lu %15s", &fault_at, fault_mode);
		sprintf(reply, "ok");
		return true;
	}
	if (!strncmp(text, "count", 5)) {
		snprintf(reply, FAKE_VIRT_MAX, "ok %lu %s", requests,
			 fault_hit);
		return true;
	}
	if (!strncmp(text, "poke ", 5) || !strncmp(text, "peek ", 5)) {
		on_guest(text, -1, reply);
		return true;
	}
	return false;
}

/* False: there is no answer. */
static bool with_fault(const char *text, int fd, char *reply)
{
	const char *uuid = strchr(text, ' ');
	struct guest *g = uuid ? find(uuid + 1) : NULL;
	const char *what = strstr(text, "\"execute\"");

	requests++;
	if (!fault_at || requests != fault_at) {
		serve(text, fd, reply);
		return true;
	}
	snprintf(fault_hit, sizeof(fault_hit), "%.40s",
		 what ? what + 11 : text);
	fault_hit[strcspn(fault_hit, "\n,<")] = '\0';
	if (!strcmp(fault_mode, "die") && g) {
		drop(g);
		serve(text, fd, reply);
		return true;
	}
	if (!strcmp(fault_mode, "late") || !strcmp(fault_mode, "lost"))
		serve(text, fd, reply);
	answer(reply, VIR_ERR_INTERNAL_ERROR, "as the test wants it");
	return strcmp(fault_mode, "drop") != 0 &&
	       strcmp(fault_mode, "lost") != 0;
}

static void on_client(int client)
{
	static char text[FAKE_VIRT_MAX], reply[FAKE_VIRT_MAX];
	int fd = -1;
	long n = packet_receive(client, text, sizeof(text), &fd);

	if (n > 0 &&
	    (is_about_tests(text, reply) || with_fault(text, fd, reply)))
		packet_send(client, reply, strlen(reply), -1);
	if (fd >= 0)
		close(fd);
	close(client);
}

/* A guest that ended by itself is no more. */
static void reap(void)
{
	for (size_t i = 0; i < n_guests; i++) {
		struct pollfd p = { .fd = guests[i].fd };

		if (poll(&p, 1, 0) > 0 && (p.revents & POLLHUP))
			drop(&guests[i--]);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (argc > 0 && !strcmp(argv[0], "fake-qemu"))
		return fake_qemu_main(argc, argv);
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		puts("QEMU emulator version 7.2.0");
		return 0;
	}
	if (argc > 2 && !strcmp(argv[1], "rebase"))
		return rebase(argv[argc - 1]);
	if (argc != 2 || strlen(argv[1]) >= sizeof(sa.sun_path))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	strcpy(sa.sun_path, argv[1]);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 64) < 0) {
		perror(argv[1]);
		return 1;
	}
	for (;;) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		reap();
		if (client >= 0)
			on_client(client);
	}
}
