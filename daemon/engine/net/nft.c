/* SPDX-License-Identifier: Apache-2.0 */
/* nft.c - nftables transactions, and questions, over netlink
 *
 * Theory of operation
 * ===================
 *
 * The kernel takes or refuses a whole batch (NFNL_MSG_BATCH_BEGIN .. _END), so
 * no half-applied rule set is ever seen and no undo is needed. It handles a
 * batch within sendmsg(): when that returns, all replies are in the socket's
 * queue, and reading until EAGAIN reads them all.
 *
 * Only the last message asks for an acknowledgement. Messages of a batch that
 * is then refused would be acknowledged too, so acknowledgements prove nothing
 * as long as there is any error; with one ack and no error the batch is in.
 *
 * Each commit by anyone counts the kernel's generation up. A batch names the
 * generation that it was made for and is refused with ERESTART if that has
 * passed. We know the present one without asking, as one commit of ours adds
 * one: so ERESTART also tells that somebody else changed something.
 *
 * If the replies were lost (ENOBUFS), the generation tells whether the batch
 * went in.
 */
#include "engine/net/nft.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "engine/net/nft_expr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define RECEIVE_BUFFER (8 << 20)
#define COMMIT_TRIES   6
#define REPLY_WAIT_MS  2000

struct nft {
	struct nl_sock *sock;
	int fd;
	uint32_t seq;
	uint32_t generation;
	bool foreign;
	int send_buffer;
	uint8_t in[65536];
};

static int set_option(int fd, int option, int value)
{
	return setsockopt(fd, SOL_NETLINK, option, &value, sizeof(value));
}

/* Forced: the limit for ordinary sockets is far below a large batch. */
static void grow_send_buffer(struct nft *nft, size_t len)
{
	int want = (int)len + (1 << 16);

	if (want <= nft->send_buffer)
		return;
	if (setsockopt(nft->fd, SOL_SOCKET, SO_SNDBUFFORCE, &want,
		       sizeof(want)) == 0)
		nft->send_buffer = want;
}

static int ask_generation(struct nft *nft, uint32_t *ret, struct error *err);

int nft_open(struct nft **ret, struct error *err)
{
	struct nft *nft = xcalloc(1, sizeof(*nft));
	int size = RECEIVE_BUFFER, r;

	nft->sock = nl_socket_alloc();
	r = nft->sock ? nl_connect(nft->sock, NETLINK_NETFILTER) : -NLE_NOMEM;
	if (r < 0) {
		nft_close(nft);
		return err_set(err, ERR_UNAVAILABLE,
			       "open netfilter's netlink: %s", nl_geterror(r));
	}
	nft->fd = nl_socket_get_fd(nft->sock);
	nft->seq = 1;
	setsockopt(nft->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	set_option(nft->fd, NETLINK_EXT_ACK, 1);
	set_option(nft->fd, NETLINK_CAP_ACK, 1);
	if (ask_generation(nft, &nft->generation, err) < 0) {
		nft_close(nft);
		return err_wrap(err, "nftables does not answer (is nf_tables "
				     "in this kernel?)");
	}
	*ret = nft;
	return 0;
}

uint32_t nft_port(const struct nft *nft)
{
	return nl_socket_get_local_port(nft->sock);
}

struct nft *nft_close(struct nft *nft)
{
	if (!nft)
		return NULL;
	nl_socket_free(nft->sock);
	free(nft);
	return NULL;
}

static int send_all(struct nft *nft, struct iovec *iov, size_t n)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct msghdr msg = { .msg_name = &kernel,
			      .msg_namelen = sizeof(kernel),
			      .msg_iov = iov,
			      .msg_iovlen = n };
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += iov[i].iov_len;
	grow_send_buffer(nft, total);
	for (;;) {
		ssize_t sent = sendmsg(nft->fd, &msg, 0);

		if (sent >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

/* One datagram. 0: none now; or -errno, -ENOBUFS for lost ones. */
static ssize_t receive(struct nft *nft)
{
	for (;;) {
		ssize_t got =
			recv(nft->fd, nft->in, sizeof(nft->in), MSG_DONTWAIT);

		if (got >= 0)
			return got;
		if (errno == EAGAIN)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

/* What an earlier request that failed half-way left. */
static void drain(struct nft *nft)
{
	ssize_t got;

	do
		got = receive(nft);
	while (got > 0 || got == -ENOBUFS);
}

/* ---- transactions ------------------------------------------------------- */

struct frame {
	struct nlmsghdr nh;
	struct nfgenmsg nfg;
	struct nlattr nla;
	uint32_t generation;
};

static void put_frame(struct frame *f, uint16_t type, uint32_t seq)
{
	*f = (struct frame){
		.nh = { .nlmsg_len = sizeof(f->nh) + sizeof(f->nfg),
			.nlmsg_type = type,
			.nlmsg_flags = NLM_F_REQUEST,
			.nlmsg_seq = seq },
		.nfg = { .nfgen_family = AF_UNSPEC,
			 .version = NFNETLINK_V0,
			 .res_id = htons(NFNL_SUBSYS_NFTABLES) },
	};
}

/* Number the messages; the last one is to be acknowledged. */
static void number(struct nft *nft, const struct nft_batch *b)
{
	struct nlmsghdr *nh = NULL;

	for (size_t at = 0; at < b->len; at += NLMSG_ALIGN(nh->nlmsg_len)) {
		nh = (struct nlmsghdr *)(void *)(b->data + at);
		nh->nlmsg_seq = nft->seq++;
		nh->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
	}
	if (nh)
		nh->nlmsg_flags |= NLM_F_ACK;
}

static int try_commit(struct nft *nft, const struct nft_batch *b,
		      struct nft_result *result, uint32_t *ret_first)
{
	struct frame begin, end;
	struct iovec iov[3];
	bool lost = false;
	ssize_t got;
	int r;

	put_frame(&begin, NFNL_MSG_BATCH_BEGIN, nft->seq++);
	begin.nla.nla_type = NFNL_BATCH_GENID;
	begin.nla.nla_len = sizeof(begin.nla) + sizeof(begin.generation);
	begin.generation = htonl(nft->generation);
	begin.nh.nlmsg_len = sizeof(begin);
	*ret_first = nft->seq;
	number(nft, b);
	put_frame(&end, NFNL_MSG_BATCH_END, nft->seq++);
	iov[0] = (struct iovec){ &begin, begin.nh.nlmsg_len };
	iov[1] = (struct iovec){ b->data, b->len };
	iov[2] = (struct iovec){ &end, end.nh.nlmsg_len };
	r = send_all(nft, iov, 3);
	if (r < 0)
		return r;
	while ((got = receive(nft)) != 0) {
		if (got == -ENOBUFS)
			lost = true;
		else if (got < 0)
			return (int)got;
		else
			nft_reply_parse(nft->in, (size_t)got, result, NULL,
					NULL);
	}
	return lost && !result->errnum ? -ENOBUFS : 0;
}

/* The replies were lost: did it go in? */
static int commit_read_back(struct nft *nft, struct error *err)
{
	uint32_t now;

	drain(nft);
	if (ask_generation(nft, &now, err) < 0)
		return -1;
	if (now == nft->generation)
		return err_set(err, ERR_INTERNAL,
			       "nftables did not take the rules");
	nft->foreign |= now != nft->generation + 1;
	if (now != nft->generation + 1) {
		nft->generation = now;
		return err_set(err, ERR_UNAVAILABLE,
			       "nftables' answer was lost");
	}
	nft->generation = now;
	return 0;
}

int nft_commit(struct nft *nft, const struct nft_batch *b, struct error *err)
{
	struct nft_result result;
	uint32_t first;
	int r;

	if (b->failed)
		return err_set(err, ERR_LIMIT, "the rules do not fit");
	if (b->messages == 0)
		return 0;
	for (int tries = 0; tries < COMMIT_TRIES; tries++) {
		memset(&result, 0, sizeof(result));
		drain(nft);
		r = try_commit(nft, b, &result, &first);
		if (r == -ENOBUFS)
			return commit_read_back(nft, err);
		if (r < 0)
			return err_sys(err, -r, "send rules to nftables");
		if (result.errnum == 0 && result.acks == 1) {
			nft->generation++;
			return 0;
		}
		if (result.errnum != ERESTART && result.errnum != EINTR)
			break;
		nft->foreign = true;
		if (ask_generation(nft, &nft->generation, err) < 0)
			return -1;
	}
	if (result.errnum == 0)
		return err_set(err, ERR_INTERNAL,
			       "nftables gave no clear answer");
	return err_sys(err, result.errnum,
		       "nftables refused message %u of %u%s%s",
		       result.seq - first + 1, b->messages,
		       result.text[0] ? ": " : "", result.text);
}

/* ---- questions ---------------------------------------------------------- */

static bool ended(const struct nft_result *result, bool dump)
{
	return result->errnum || (dump ? result->done : result->acks > 0);
}

static int ask_once(struct nft *nft, uint8_t *msg, size_t len,
		    nft_message_fn fn, void *arg, struct nft_result *result)
{
	struct nlmsghdr *nh = (struct nlmsghdr *)(void *)msg;
	bool dump = (nh->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	struct iovec iov = { msg, len };
	struct pollfd p = { .fd = nft->fd, .events = POLLIN };
	int r;

	drain(nft);
	nh->nlmsg_seq = nft->seq++;
	r = send_all(nft, &iov, 1);
	while (r == 0 && !ended(result, dump)) {
		ssize_t got = receive(nft);

		if (got < 0)
			return (int)got;
		if (got > 0)
			nft_reply_parse(nft->in, (size_t)got, result, fn, arg);
		else if (poll(&p, 1, REPLY_WAIT_MS) == 0)
			return -ETIMEDOUT;
	}
	return r;
}

int nft_request(struct nft *nft, uint8_t *msg, size_t len, nft_message_fn fn,
		void *arg, const char *what, struct error *err)
{
	struct nft_result result = { 0 };
	int r = ask_once(nft, msg, len, fn, arg, &result);

	if (r == 0)
		r = -result.errnum;
	if (r == -EINTR || (r == 0 && result.again))
		return err_set(err, ERR_UNAVAILABLE,
			       "%s: it changed at the same time", what);
	if (r == 0)
		return 0;
	err_sys(err, -r, "%s", what);
	if (err && r == -ENOENT)
		err->code = ERR_NOT_FOUND;
	return -1;
}

static void take_generation(uint16_t type, const uint8_t *attrs, size_t len,
			    void *arg)
{
	struct nft_attr a[NFTA_GEN_MAX + 1];

	(void)type;
	if (nft_attrs(attrs, len, a, NFTA_GEN_MAX + 1))
		*(uint32_t *)arg = nft_attr_u32(&a[NFTA_GEN_ID]);
}

static int ask_generation(struct nft *nft, uint32_t *ret, struct error *err)
{
	struct {
		struct nlmsghdr nh;
		struct nfgenmsg nfg;
	} ask = { .nh = { .nlmsg_len = sizeof(ask),
			  .nlmsg_type =
				  NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK } };

	return nft_request(nft, (uint8_t *)&ask, sizeof(ask), take_generation,
			   ret, "ask for nftables' generation", err);
}

int nft_foreign(struct nft *nft, bool *ret, struct error *err)
{
	uint32_t now = nft->generation;

	if (ask_generation(nft, &now, err) < 0)
		return -1;
	*ret = nft->foreign || now != nft->generation;
	nft->foreign = false;
	nft->generation = now;
	return 0;
}

static struct nl_msg *ask_new(uint8_t family, int type, int flags)
{
	struct nfgenmsg nfg = { .nfgen_family = family,
				.version = NFNETLINK_V0 };
	struct nl_msg *msg = nlmsg_alloc_size(1024);

	/* 1 KiB holds what is asked here: these cannot fail. */
	nlmsg_put(msg, 0, 0, NFNL_SUBSYS_NFTABLES << 8 | type, 0,
		  NLM_F_REQUEST | flags);
	nlmsg_append(msg, &nfg, sizeof(nfg), NLMSG_ALIGNTO);
	return msg;
}

struct elems {
	nft_elem_fn fn;
	void *arg;
};

static void take_elems(uint16_t type, const uint8_t *attrs, size_t len,
		       void *arg)
{
	struct elems *e = arg;

	if ((type & 0xff) == NFT_MSG_NEWSETELEM)
		nft_reply_elems(attrs, len, e->fn, e->arg);
}

int nft_each_elem(struct nft *nft, uint8_t family, const char *set,
		  nft_elem_fn fn, void *arg, struct error *err)
{
	struct nl_msg *msg = ask_new(family, NFT_MSG_GETSETELEM, NLM_F_DUMP);
	struct elems e = { fn, arg };
	int r;

	nla_put_string(msg, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE_NAME);
	nla_put_string(msg, NFTA_SET_ELEM_LIST_SET, set);
	r = nft_request(nft, (uint8_t *)nlmsg_hdr(msg),
			nlmsg_hdr(msg)->nlmsg_len, take_elems, &e,
			"list a set's elements", err);
	nlmsg_free(msg);
	return r;
}

static void take_one(const struct nft_got_elem *elem, void *arg)
{
	*(struct nft_got_elem *)arg = *elem;
}

int nft_get_elem(struct nft *nft, uint8_t family, const char *set,
		 const uint8_t *key, size_t key_len, struct nft_got_elem *ret,
		 struct error *err)
{
	struct nl_msg *msg = ask_new(family, NFT_MSG_GETSETELEM, NLM_F_ACK);
	struct elems e = { take_one, ret };
	struct nlattr *list, *elem, *k;
	int r;

	memset(ret, 0, sizeof(*ret));
	nla_put_string(msg, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE_NAME);
	nla_put_string(msg, NFTA_SET_ELEM_LIST_SET, set);
	list = nla_nest_start(msg, NFTA_SET_ELEM_LIST_ELEMENTS);
	elem = nla_nest_start(msg, NFTA_LIST_ELEM);
	k = nla_nest_start(msg, NFTA_SET_ELEM_KEY);
	nla_put(msg, NFTA_DATA_VALUE, (int)key_len, key);
	nla_nest_end(msg, k);
	nla_nest_end(msg, elem);
	nla_nest_end(msg, list);
	r = nft_request(nft, (uint8_t *)nlmsg_hdr(msg),
			nlmsg_hdr(msg)->nlmsg_len, take_elems, &e,
			"read a set's element", err);
	nlmsg_free(msg);
	return r;
}

struct names {
	nft_name_fn fn;
	void *arg;
	int table_attr, name_attr;
};

static void take_name(uint16_t type, const uint8_t *attrs, size_t len,
		      void *arg)
{
	struct nft_attr a[NFTA_SET_MAX + 1];
	const struct names *n = arg;
	char table[NFT_NAME_SIZE], name[NFT_NAME_SIZE];

	(void)type;
	if (!nft_attrs(attrs, len, a, NFTA_SET_MAX + 1))
		return;
	nft_attr_str(&a[n->table_attr], table, sizeof(table));
	nft_attr_str(&a[n->name_attr], name, sizeof(name));
	if (!strcmp(table, NFT_TABLE_NAME))
		n->fn(name, n->arg);
}

static int each_name(struct nft *nft, uint8_t family, int type, int table_attr,
		     struct names *names, const char *what, struct error *err)
{
	struct nl_msg *msg = ask_new(family, type, NLM_F_DUMP);
	int r;

	nla_put_string(msg, table_attr, NFT_TABLE_NAME);
	r = nft_request(nft, (uint8_t *)nlmsg_hdr(msg),
			nlmsg_hdr(msg)->nlmsg_len, take_name, names, what, err);
	nlmsg_free(msg);
	return r;
}

int nft_each_chain(struct nft *nft, uint8_t family, nft_name_fn fn, void *arg,
		   struct error *err)
{
	struct names names = { fn, arg, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME };

	return each_name(nft, family, NFT_MSG_GETCHAIN, NFTA_CHAIN_TABLE,
			 &names, "list nftables' chains", err);
}

int nft_each_set(struct nft *nft, uint8_t family, nft_name_fn fn, void *arg,
		 struct error *err)
{
	struct names names = { fn, arg, NFTA_SET_TABLE, NFTA_SET_NAME };

	return each_name(nft, family, NFT_MSG_GETSET, NFTA_SET_TABLE, &names,
			 "list nftables' sets", err);
}

static void count_one(const char *name, void *arg)
{
	(void)name;
	++*(uint32_t *)arg;
}

int nft_count_rules(struct nft *nft, uint8_t family, uint32_t *ret,
		    struct error *err)
{
	struct names names = { count_one, ret, NFTA_RULE_TABLE,
			       NFTA_RULE_CHAIN };

	*ret = 0;
	return each_name(nft, family, NFT_MSG_GETRULE, NFTA_RULE_TABLE, &names,
			 "count nftables' rules", err);
}
