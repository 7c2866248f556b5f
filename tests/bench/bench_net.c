/* SPDX-License-Identifier: Apache-2.0 */
/* bench_net.c - traffic and questions for DNS, and who answers them
 *
 *	bench_net serve PORT..		TCP: takes streams, echoes
 *	bench_net stream HOST PORT SECONDS	Gbit/s to it
 *	bench_net rr HOST PORT COUNT	one byte there and back, each microseconds
 *	bench_net connect HOST PORT COUNT	connect, a byte there and back, close
 *	bench_net dns-serve ADDRESS	answers A of any name, TTL 60, on port 53
 *	bench_net dns HOST PREFIX COUNT OUTSTANDING PAUSE_MS [START_US]
 *					A of PREFIX<n>.bench.example, so many
 *					under way at a time, with a pause after
 *					each; from that time of CLOCK_MONOTONIC
 *
 * The clients print JSON. Each connection begins as TLS does, with a Client
 * Hello for BENCH_NAME and a Server Hello: names are bound by these.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHUNK		(256 << 10)
#define OUTSTANDING_MAX 512
#define DNS_TIMEOUT_MS	2000
#define STREAM		'S' /* the first byte of a connection: what follows */
#define ECHO		'E'
#define BENCH_NAME	"w000000.bench.example"

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in address(const char *host, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port) };

	if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
		die(host);
	return a;
}

static void print_us(const double *us, int n)
{
	printf("{\"us\":[");
	for (int i = 0; i < n; i++)
		printf("%s%.1f", i ? "," : "", us[i]);
	puts("]}");
}

/* ---- TCP ---- */

static uint8_t *put(uint8_t *at, const char *bytes, size_t n)
{
	memcpy(at, bytes, n);
	return at + n;
}

static uint8_t *put16(uint8_t *at, size_t value)
{
	*at++ = (uint8_t)(value >> 8);
	*at++ = (uint8_t)value;
	return at;
}

/* A ClientHello of TLS 1.3 that says which server it is for. */
static size_t client_hello(uint8_t msg[512])
{
	const size_t name = sizeof(BENCH_NAME) - 1;
	const size_t extensions = 9 + name + 7;
	const size_t body = 2 + 32 + 1 + 4 + 2 + 2 + extensions;
	uint8_t *at = put(msg, "\x16\3\1", 3);

	at = put16(at, body + 4);
	at = put(at, "\1\0", 2);
	at = put16(at, body);
	at = put(at, "\3\3", 2);
	memset(at, 'r', 32);
	at = put(at + 32, "\0\0\2\x13\1\1\0", 7);
	at = put16(at, extensions);
	at = put(at, "\0\0", 2);
	at = put16(at, name + 5);
	at = put16(at, name + 3);
	at = put(at, "\0", 1);
	at = put16(at, name);
	at = put(at, BENCH_NAME, name);
	at = put(at, "\0\x2b\0\3\2\3\4", 7);
	return (size_t)(at - msg);
}

#define SERVER_HELLO_LEN (5u + 4 + 2 + 32 + 1 + 2 + 1)

static void server_hello(uint8_t msg[SERVER_HELLO_LEN])
{
	uint8_t *at = put(msg, "\x16\3\3", 3);

	at = put16(at, SERVER_HELLO_LEN - 5);
	at = put(at, "\2\0", 2);
	at = put16(at, SERVER_HELLO_LEN - 9);
	at = put(at, "\3\3", 2);
	memset(at, 's', 32);
	put(at + 32, "\0\x13\1\0", 4);
}

static void read_whole(int fd, uint8_t *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = read(fd, buf, len);

		if (n <= 0)
			_exit(1);
		buf += n;
		len -= (size_t)n;
	}
}

static void serve_one(int fd)
{
	uint8_t hello[512];
	static char buf[CHUNK];
	int one = 1;
	char kind;
	ssize_t n;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	read_whole(fd, hello, 5);
	read_whole(fd, hello, hello[3] << 8 | hello[4]);
	server_hello(hello);
	if (write(fd, hello, SERVER_HELLO_LEN) != (ssize_t)SERVER_HELLO_LEN)
		_exit(0);
	read_whole(fd, (uint8_t *)&kind, 1);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (kind == ECHO && write(fd, buf, (size_t)n) != n)
			break;
	/* A byte at the end: all has come. */
	if (kind == STREAM && write(fd, "", 1) != 1)
		_exit(1);
	_exit(0);
}

static void serve(int port)
{
	struct sockaddr_in a = address("0.0.0.0", port);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	signal(SIGCHLD, SIG_IGN);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, 1024) < 0)
		die("listen");
	for (;;) {
		int c = accept(fd, NULL, NULL);

		if (c < 0)
			continue;
		if (fork() == 0) {
			close(fd);
			serve_one(c);
		}
		close(c);
	}
}

static void serve_all(char **ports)
{
	for (; ports[1]; ports++)
		if (fork() == 0)
			serve(atoi(*ports));
	serve(atoi(*ports));
}

static int dial(const char *host, int port, char kind)
{
	struct sockaddr_in a = address(host, port);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	uint8_t hello[512];
	size_t len;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("connect");
	len = client_hello(hello);
	if (write(fd, hello, len) != (ssize_t)len)
		die("write");
	read_whole(fd, hello, SERVER_HELLO_LEN);
	if (write(fd, &kind, 1) != 1)
		die("write");
	return fd;
}

static void stream(const char *host, int port, double seconds)
{
	static char buf[CHUNK];
	int fd = dial(host, port, STREAM);
	double begin = now_us(), end;
	uint64_t bytes = 0;
	char last;

	while (now_us() - begin < seconds * 1e6) {
		ssize_t n = write(fd, buf, sizeof(buf));

		if (n <= 0)
			die("write");
		bytes += (uint64_t)n;
	}
	shutdown(fd, SHUT_WR);
	if (read(fd, &last, 1) != 1)
		die("read");
	end = now_us();
	close(fd);
	printf("{\"gbit_s\":%.4f}\n",
	       (double)bytes * 8 / ((end - begin) * 1e3));
}

static void one_byte(int fd)
{
	char byte = 'x';

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		die("echo");
}

static void round_trips(const char *host, int port, int n, int anew)
{
	double *us = calloc((size_t)n, sizeof(*us));
	int fd = anew ? -1 : dial(host, port, ECHO);

	if (!us)
		die("memory");
	for (int i = 0; i < n; i++) {
		double t = now_us();

		if (anew)
			fd = dial(host, port, ECHO);
		one_byte(fd);
		us[i] = now_us() - t;
		if (anew)
			close(fd);
	}
	print_us(us, n);
	free(us);
}

/* ---- DNS ---- */

static int dns_socket(const char *host, int server)
{
	struct sockaddr_in a = address(host, 53);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if ((server ? bind(fd, (struct sockaddr *)&a, sizeof(a)) :
		      connect(fd, (struct sockaddr *)&a, sizeof(a))) < 0)
		die("DNS socket");
	return fd;
}

/* The end of the question that begins at 12; 0: there is none. */
static size_t question_end(const uint8_t *msg, size_t len)
{
	size_t at = 12;

	while (at < len && msg[at])
		at += 1u + msg[at];
	return at + 5 <= len ? at + 5 : 0;
}

static void dns_serve(const char *host)
{
	static const uint8_t head[] = { 0xc0, 12, 0, 1, 0,   1, 0,  0,
					0,    60, 0, 4, 203, 0, 113 };
	int fd = dns_socket(host, 1);
	struct sockaddr_in peer;
	uint8_t msg[1500];

	for (;;) {
		socklen_t size = sizeof(peer);
		ssize_t n = recvfrom(fd, msg, sizeof(msg) - 32, 0,
				     (struct sockaddr *)&peer, &size);
		size_t end = n > 12 ? question_end(msg, (size_t)n) : 0;
		int is_a;

		if (!end)
			continue;
		is_a = msg[end - 3] == 1;
		msg[2] = 0x81;
		msg[3] = 0x80;
		msg[7] = (uint8_t)is_a;
		msg[9] = msg[11] = 0;
		if (is_a) {
			memcpy(msg + end, head, sizeof(head));
			/* An address by the name: not always the same one. */
			msg[end + sizeof(head)] = (uint8_t)(msg[14] % 200 + 1);
			end += sizeof(head) + 1;
		}
		sendto(fd, msg, end, 0, (struct sockaddr *)&peer, size);
	}
}

static size_t make_query(uint8_t *msg, uint16_t id, const char *prefix, int n)
{
	static const char rest[] = "\5bench\7example\0\0\1\0\1";
	char label[64];
	int len = snprintf(label, sizeof(label), "%s%06d", prefix, n);

	memset(msg, 0, 12);
	msg[0] = (uint8_t)(id >> 8);
	msg[1] = (uint8_t)id;
	msg[2] = 1;
	msg[5] = 1;
	msg[12] = (uint8_t)len;
	memcpy(msg + 13, label, (size_t)len);
	memcpy(msg + 13 + len, rest, sizeof(rest) - 1);
	return 13 + (size_t)len + sizeof(rest) - 1;
}

static void dns(const char *host, const char *prefix, int n, int outstanding,
		int pause_ms, double start)
{
	double *sent = calloc((size_t)n, sizeof(*sent));
	double *us = calloc((size_t)n, sizeof(*us)), begin;
	int fd = dns_socket(host, 0), next = 0, answered = 0, refused = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t msg[1500];

	if (!sent || !us || n > 65536 || outstanding > OUTSTANDING_MAX)
		die("dns");
	while (now_us() < start)
		usleep(50);
	begin = now_us();
	while (answered < n) {
		while (next < n && next - answered < outstanding) {
			size_t len =
				make_query(msg, (uint16_t)next, prefix, next);

			sent[next++] = now_us();
			if (send(fd, msg, len, 0) < 0)
				die("send");
		}
		if (poll(&p, 1, DNS_TIMEOUT_MS) <= 0)
			break;
		if (recv(fd, msg, sizeof(msg), 0) < 12)
			continue;
		refused += (msg[3] & 15) != 0 || msg[7] == 0;
		us[answered] = now_us() - sent[msg[0] << 8 | msg[1]];
		answered++;
		if (pause_ms)
			usleep((useconds_t)pause_ms * 1000);
	}
	printf("{\"begin_us\":%.1f,\"end_us\":%.1f,\"lost\":%d,\"refused\":%d,"
	       "\"answers\":",
	       begin, now_us(), n - answered, refused);
	print_us(us, answered);
	puts("}");
	free(sent);
	free(us);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(what, "serve"))
		serve_all(argv + 2);
	else if (!strcmp(what, "dns-serve"))
		dns_serve(argv[2]);
	else if (!strcmp(what, "stream") && argc == 5)
		stream(argv[2], atoi(argv[3]), atof(argv[4]));
	else if (!strcmp(what, "rr") && argc == 5)
		round_trips(argv[2], atoi(argv[3]), atoi(argv[4]), 0);
	else if (!strcmp(what, "connect") && argc == 5)
		round_trips(argv[2], atoi(argv[3]), atoi(argv[4]), 1);
	else if (!strcmp(what, "dns") && argc >= 7)
		dns(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]),
		    atoi(argv[6]), argc > 7 ? atof(argv[7]) : 0);
	else
		return 2;
	return 0;
}
