/* SPDX-License-Identifier: Apache-2.0 */
/* fake_qemu.c - a guest's process, as far as the engine looks at it */
#include "fake_qemu.h"
#include "fake_virt.h"

#include "engine/hv/hv_xml.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE	   4096u
#define KNOWN	   (1u << 20) /* bytes of memory that are used */
#define TOKEN_PAGE 5	      /* where the guest keeps its token */
#define RING_PAGE  20	      /* written as device state is saved */
#define TOKEN_SIZE 64
#define TOKEN_AT   (1 << 20) /* and on its disk */
#define NODES_MAX  4
#define NOTE_SIZE  4096

struct chain {
	char *at[FAKE_LAYERS_MAX]; /* writable one first */
	size_t n;
};

struct node {
	char name[32];
	struct chain chain;
};

static struct {
	uint8_t *ram;
	char status[32];
	char disk[32]; /* name of the node that is the disk */
	struct chain chain;
	struct node nodes[NODES_MAX];
	size_t n_nodes;
	int state_fd; /* of add-fd or getfd */
	char reply[FAKE_VIRT_MAX];
} q = { .state_fd = -1 };

/* ---- packets ---- */

int packet_send(int to, const char *text, size_t len, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)text, len };
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

long packet_receive(int from, char *buf, size_t size, int *ret_fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { buf, size - 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c;
	ssize_t n = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);

	*ret_fd = -1;
	buf[n > 0 ? n : 0] = '\0';
	c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return n;
}

/* ---- answers ---- */

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(q.reply, sizeof(q.reply), fmt, ap);
	va_end(ap);
}

static void refuse(const char *why)
{
	say("{\"error\":{\"class\":\"GenericError\",\"desc\":\"%s\"}}", why);
}

static void fine(void)
{
	say("{\"return\":{}}");
}

/* ---- memory and disk ---- */

static uint64_t checksum(void)
{
	uint64_t h = 1469598103934665603ull;

	for (size_t i = 0; i < KNOWN; i++)
		h = (h ^ q.ram[i]) * 1099511628211ull;
	return h;
}

static void boot(void)
{
	for (unsigned int i = 0; i < 40; i++)
		snprintf((char *)q.ram + i * 3 * PAGE, PAGE, "booted %u", i);
}

/* QEMU opens its files again when the guest runs: it must still be able to. */
static bool open_chain(const struct chain *chain)
{
	for (size_t i = 0; i < chain->n; i++) {
		int fd = open(chain->at[i],
			      (i == 0 ? O_RDWR : O_RDONLY) | O_CLOEXEC);

		if (fd < 0) {
			say("err 38 open %s: %s", chain->at[i],
			    strerror(errno));
			return false;
		}
		close(fd);
	}
	return true;
}

static void poke(const char *token)
{
	char data[TOKEN_SIZE] = "";
	int fd = open(q.chain.at[0], O_RDWR | O_CLOEXEC);

	if (strcmp(q.status, "running") != 0) {
		say("err 55 it is %s", q.status);
	} else if (fd < 0) {
		say("err 38 %s", strerror(errno));
	} else {
		snprintf(data, sizeof(data), "%.63s", token);
		memcpy(q.ram + TOKEN_PAGE * PAGE, data, sizeof(data));
		say(pwrite(fd, data, sizeof(data), TOKEN_AT) < 0 ?
			    "err 38 the disk is full" :
			    "poked");
	}
	if (fd >= 0)
		close(fd);
}

/* The lowest layer is the image: what is there is not ours. */
static void peek(void)
{
	char found[TOKEN_SIZE] = "";

	for (size_t i = 0; i + 1 < q.chain.n && !found[0]; i++) {
		int fd = open(q.chain.at[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0 || pread(fd, found, sizeof(found) - 1, TOKEN_AT) < 0)
			found[0] = '\0';
		if (fd >= 0)
			close(fd);
	}
	say("%.60s %s", (char *)q.ram + TOKEN_PAGE * PAGE, found);
}

/* ---- the monitor ---- */

static const char *text_of(json_object *args, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(args, key, &v) && v ?
		       json_object_get_string(v) :
		       "";
}

static void save_state(void)
{
	char note[NOTE_SIZE] = "";

	if (strcmp(q.status, "paused") != 0 || q.state_fd < 0) {
		refuse("not now");
		return;
	}
	/* As devices do: their rings go to memory. */
	snprintf((char *)q.ram + RING_PAGE * PAGE, PAGE, "ring %llu",
		 (unsigned long long)checksum());
	snprintf(note, sizeof(note), "state of %016llx",
		 (unsigned long long)checksum());
	if (write(q.state_fd, note, sizeof(note)) != sizeof(note))
		refuse("state cannot be written");
	else
		fine();
}

static void load_state(void)
{
	char note[NOTE_SIZE] = "", want[40];

	if (strcmp(q.status, "inmigrate") != 0 || q.state_fd < 0) {
		refuse("not now");
		return;
	}
	snprintf(want, sizeof(want), "state of %016llx",
		 (unsigned long long)checksum());
	if (read(q.state_fd, note, sizeof(note)) != sizeof(note) ||
	    strcmp(note, want) != 0)
		strcpy(q.status, "internal-error");
	else
		strcpy(q.status, "paused");
	close(q.state_fd);
	q.state_fd = -1;
	fine();
}

/* All of it, into what libvirt opened. */
static void save_ram(int fd)
{
	if (fd < 0 || !strcmp(q.status, "inmigrate"))
		say("err 55 it is %s", q.status);
	else if (write(fd, q.ram, KNOWN) != KNOWN)
		say("err 38 %s", strerror(errno));
	else
		say("done");
}

static void load_ram(int fd)
{
	if (fd < 0 || strcmp(q.status, "inmigrate") != 0) {
		say("err 55 it is %s", q.status);
	} else if (read(fd, q.ram, KNOWN) != KNOWN) {
		say("err 38 it is cut off");
	} else {
		strcpy(q.status, "paused");
		say("done");
	}
}

static void read_chain(json_object *node, struct chain *chain)
{
	json_object *file, *backing = node;

	do {
		node = backing;
		if (json_object_object_get_ex(node, "file", &file))
			chain->at[chain->n++] =
				strdup(text_of(file, "filename"));
	} while (json_object_object_get_ex(node, "backing", &backing) &&
		 backing);
}

static void add_node(json_object *args)
{
	struct node *n = &q.nodes[q.n_nodes];

	if (q.n_nodes == NODES_MAX) {
		refuse("too many nodes");
		return;
	}
	*n = (struct node){ 0 };
	snprintf(n->name, sizeof(n->name), "%s", text_of(args, "node-name"));
	read_chain(args, &n->chain);
	if (!open_chain(&n->chain)) {
		refuse("a layer cannot be opened");
		return;
	}
	q.n_nodes++;
	fine();
}

static struct node *find_node(const char *name)
{
	for (size_t i = 0; i < q.n_nodes; i++)
		if (!strcmp(q.nodes[i].name, name))
			return &q.nodes[i];
	return NULL;
}

static void use_node(const char *name, bool on_top)
{
	struct node *n = find_node(name);

	if (!n) {
		refuse("no such node");
		return;
	}
	if (on_top) {
		memmove(q.chain.at + 1, q.chain.at, q.chain.n * sizeof(char *));
		q.chain.at[0] = n->chain.at[0];
		q.chain.n++;
	} else {
		q.chain = n->chain;
	}
	snprintf(q.disk, sizeof(q.disk), "%s", name);
	*n = q.nodes[--q.n_nodes];
	fine();
}

static void monitor(const char *text, int fd)
{
	json_object *cmd = json_tokener_parse(text), *args = NULL;
	const char *name = cmd ? text_of(cmd, "execute") : "";

	if (cmd)
		json_object_object_get_ex(cmd, "arguments", &args);
	if (!strcmp(name, "add-fd") || !strcmp(name, "getfd")) {
		if (q.state_fd >= 0)
			close(q.state_fd);
		q.state_fd = dup(fd);
		fine();
	} else if (!strcmp(name, "remove-fd")) {
		if (q.state_fd >= 0)
			close(q.state_fd);
		q.state_fd = -1;
		fine();
	} else if (!strcmp(name, "xen-save-devices-state")) {
		save_state();
	} else if (!strcmp(name, "migrate-incoming")) {
		load_state();
	} else if (!strcmp(name, "query-status")) {
		say("{\"return\":{\"status\":\"%s\"}}", q.status);
	} else if (!strcmp(name, "query-block")) {
		say("{\"return\":[{\"qdev\":\"%s/virtio-backend\","
		    "\"inserted\":{\"node-name\":\"%s\"}}]}",
		    HV_XML_DISK_QDEV, q.disk);
	} else if (!strcmp(name, "blockdev-add")) {
		add_node(args);
	} else if (!strcmp(name, "blockdev-snapshot")) {
		use_node(text_of(args, "overlay"), true);
	} else if (!strcmp(name, "qom-set")) {
		use_node(text_of(args, "value"), false);
	} else if (!strcmp(name, "blockdev-del")) {
		struct node *n = find_node(text_of(args, "node-name"));

		if (n)
			*n = q.nodes[--q.n_nodes];
		fine();
	} else if (!strcmp(name, "block_resize")) {
		fine();
	} else if (!strcmp(name, "ringbuf-read")) {
		say("{\"return\":\"\"}");
	} else {
		refuse("no such command");
	}
	json_object_put(cmd);
}

/* ---- the process ---- */

static void on_word(const char *text, int fd)
{
	if (text[0] == '{') {
		monitor(text, fd);
	} else if (!strncmp(text, "state", 5)) {
		say("%s", !strcmp(q.status, "running") ? "running" : "paused");
	} else if (!strncmp(text, "suspend", 7)) {
		if (!strcmp(q.status, "running"))
			strcpy(q.status, "paused");
		say("done");
	} else if (!strncmp(text, "resume", 6)) {
		if (strcmp(q.status, "paused") != 0) {
			say("err 55 it is %s", q.status);
		} else if (open_chain(&q.chain)) {
			strcpy(q.status, "running");
			say("done");
		}
	} else if (!strncmp(text, "save", 4)) {
		save_ram(fd);
	} else if (!strncmp(text, "load", 4)) {
		load_ram(fd);
	} else if (!strncmp(text, "poke ", 5)) {
		poke(text + 5);
	} else if (!strncmp(text, "peek", 4)) {
		peek();
	} else {
		say("done"); /* hello */
	}
}

static int listen_to_agent(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(sa.sun_path))
		return -1;
	strcpy(sa.sun_path, path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 8) < 0)
		return -1;
	return fd;
}

static bool map_ram(const char *path, size_t size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		say("err 38 open %s: %s", path, strerror(errno));
		return false;
	}
	q.ram = mmap(NULL, size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_NORESERVE, fd, 0);
	close(fd);
	return q.ram != MAP_FAILED;
}

int fake_qemu_main(int argc, char **argv)
{
	static char text[FAKE_VIRT_MAX];
	bool well;
	int agent, fd;

	if (argc < 8)
		return 2;
	snprintf(q.status, sizeof(q.status), "%s", argv[6]);
	strcpy(q.disk, "libvirt-1-format");
	for (int i = 7; i < argc; i++)
		q.chain.at[q.chain.n++] = argv[i];
	agent = listen_to_agent(argv[5]);
	well = map_ram(argv[3], strtoull(argv[4], NULL, 10) << 20) &&
	       open_chain(&q.chain);
	if (well && strcmp(q.status, "inmigrate") != 0)
		boot();
	for (;;) {
		struct pollfd p[2] = { { .fd = 3, .events = POLLIN },
				       { .fd = agent, .events = POLLIN } };

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents & POLLIN)
			accept4(agent, NULL, NULL, SOCK_CLOEXEC);
		if (!p[0].revents)
			continue;
		if (packet_receive(3, text, sizeof(text), &fd) <= 0)
			return 0;
		if (well)
			on_word(text, fd);
		packet_send(3, q.reply, strlen(q.reply), -1);
		if (fd >= 0)
			close(fd);
	}
}
