/* SPDX-License-Identifier: Apache-2.0 */
/* list.h - an intrusive, circular, doubly linked list */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name) { &(name), &(name) }

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* Before @at: at the end, when @at is the head. */
static inline void list_add_tail(struct list *at, struct list *item)
{
	item->prev = at->prev;
	item->next = at;
	at->prev->next = item;
	at->prev = item;
}

/* Safe on an initialised item that is in no list. */
static inline void list_del(struct list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	list_init(item);
}

#define list_entry(ptr, type, member) \
	((type *)((char *)(ptr)-offsetof(type, member)))

/* The current item may be removed and freed in the body. */
#define list_for_each(head, it, type, member)                              \
	for (type *it = list_entry((head)->next, type, member),            \
		  *it##_next = list_entry(it->member.next, type, member);  \
	     &it->member != (head);                                        \
	     it = it##_next,                                               \
		  it##_next = list_entry(it->member.next, type, member))

#endif /* BASE_LIST_H */
