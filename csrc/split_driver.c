#include "split_driver.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "driver_chain.h"

typedef uint16_t __attribute__((may_alias)) alias16;

/* Private state first; the ring itself is only written, apart from what the device writes. */
struct vdp_split_driver {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_desc *tables;
	uint64_t tables_gpa;
	uint16_t table_len, size, mask, flags;

	uint16_t avail_next; /* with chains not yet published */
	uint16_t avail_idx;  /* published */
	uint16_t kicked_idx; /* at the last question whether to kick */
	uint16_t last_used;
	uint16_t free_get, free_count; /* free descriptors: a queue, so that an orderly device reuses heads */
	uint64_t added, published;     /* chains */
	struct vdp_driver_batch batch;
	uint32_t fault, fault_detail;

	struct vring_desc
	    *desc_shadow; /* what the table holds: equal stores are skipped, the line stays shared */
	uint16_t *avail_shadow;
	uint16_t *free_ring;
	uint16_t *next;                  /* of chained descriptors */
	struct vdp_driver_chain *chains; /* by head */
};

static bool conf_ok(const struct vdp_driver_conf *conf)
{
	uint32_t size = conf->size;

	if (!size || size > 32768 || (size & (size - 1)))
		return false;
	if (((uintptr_t)conf->desc & 15) || ((uintptr_t)conf->avail & 1) || ((uintptr_t)conf->used & 3))
		return false;
	return !(conf->flags & VDP_DRIVER_INDIRECT) || (conf->tables && conf->table_len);
}

static bool allocate(struct vdp_split_driver *drv, uint32_t size)
{
	drv->desc_shadow = calloc(size, sizeof(*drv->desc_shadow));
	drv->avail_shadow = calloc(size, sizeof(*drv->avail_shadow));
	drv->free_ring = calloc(size, sizeof(*drv->free_ring));
	drv->next = calloc(size, sizeof(*drv->next));
	drv->chains = calloc(size, sizeof(*drv->chains));
	return drv->desc_shadow && drv->avail_shadow && drv->free_ring && drv->next && drv->chains;
}

int vdp_split_driver_init(struct vdp_split_driver **ret, const struct vdp_driver_conf *conf)
{
	struct vdp_split_driver *drv;
	uint32_t size = conf->size;

	if (!conf_ok(conf))
		return -EINVAL;
	drv = calloc(1, sizeof(*drv));
	if (!drv || !allocate(drv, size)) {
		vdp_split_driver_fini(drv);
		return -ENOMEM;
	}
	drv->desc = conf->desc;
	drv->avail = conf->avail;
	drv->used = conf->used;
	drv->tables = conf->tables;
	drv->tables_gpa = conf->tables_gpa;
	drv->table_len = conf->table_len;
	drv->flags = conf->flags;
	drv->size = drv->free_count = conf->size;
	drv->mask = (uint16_t)(size - 1);
	drv->avail_next = drv->avail_idx = drv->kicked_idx = drv->last_used = conf->start;
	for (uint32_t i = 0; i < size; i++)
		drv->free_ring[i] = (uint16_t)i;
	memset(drv->desc, 0, size * sizeof(*drv->desc));
	memset(drv->avail, 0, 6 + 2 * size);
	memset(drv->used, 0, 6 + 8 * size);
	drv->avail->idx = drv->used->idx = conf->start;
	*ret = drv;
	return 0;
}

void vdp_split_driver_fini(struct vdp_split_driver *drv)
{
	if (!drv)
		return;
	free(drv->desc_shadow);
	free(drv->avail_shadow);
	free(drv->free_ring);
	free(drv->next);
	free(drv->chains);
	free(drv);
}

static uint16_t *used_event(struct vdp_split_driver *drv)
{
	return &drv->avail->ring[drv->size];
}

/* It lies where the used ring's next element would. */
static alias16 *avail_event(struct vdp_split_driver *drv)
{
	return (alias16 *)&drv->used->ring[drv->size];
}

static void store_desc(struct vdp_split_driver *drv, uint16_t at, const struct vring_desc *desc)
{
	struct vring_desc *shadow = &drv->desc_shadow[at];

	if (shadow->addr == desc->addr && shadow->len == desc->len && shadow->flags == desc->flags &&
	    shadow->next == desc->next)
		return;
	*shadow = *desc;
	drv->desc[at] = *desc;
}

static uint16_t take_free(struct vdp_split_driver *drv)
{
	uint16_t at = drv->free_ring[drv->free_get & drv->mask];

	drv->free_get++;
	drv->free_count--;
	return at;
}

static void give_free(struct vdp_split_driver *drv, uint16_t at)
{
	drv->free_ring[(uint16_t)(drv->free_get + drv->free_count) & drv->mask] = at;
	drv->free_count++;
}

static struct vring_desc plain_desc(const struct vdp_buf *buf)
{
	struct vring_desc desc = {.addr = buf->addr, .len = buf->len};

	desc.flags = buf->writable ? VRING_DESC_F_WRITE : 0;
	return desc;
}

/* 2.7.5.3: one descriptor that points to a table; inside it the chain is linked by position. */
static uint16_t add_indirect(struct vdp_split_driver *drv, const struct vdp_buf *bufs, uint32_t count)
{
	uint16_t head = take_free(drv);
	uint64_t offset = (uint64_t)head * drv->table_len;
	struct vring_desc pointer = {
	    .addr = drv->tables_gpa + offset * sizeof(pointer),
	    .len = count * (uint32_t)sizeof(pointer),
	    .flags = VRING_DESC_F_INDIRECT,
	};

	for (uint32_t i = 0; i < count; i++) {
		struct vring_desc desc = plain_desc(&bufs[i]);

		if (i + 1 < count) {
			desc.flags |= VRING_DESC_F_NEXT;
			desc.next = (uint16_t)(i + 1);
		}
		drv->tables[offset + i] = desc;
	}
	store_desc(drv, head, &pointer);
	drv->chains[head].length = 1;
	return head;
}

static uint16_t add_direct(struct vdp_split_driver *drv, const struct vdp_buf *bufs, uint32_t count)
{
	uint16_t head = take_free(drv), at = head;

	for (uint32_t i = 0; i < count; i++) {
		struct vring_desc desc = plain_desc(&bufs[i]);
		uint16_t following = 0;

		if (i + 1 < count) {
			following = take_free(drv);
			desc.flags |= VRING_DESC_F_NEXT;
			desc.next = following;
		}
		store_desc(drv, at, &desc);
		drv->next[at] = following;
		at = following;
	}
	drv->chains[head].length = (uint16_t)count;
	return head;
}

static bool goes_indirect(const struct vdp_split_driver *drv, uint32_t count)
{
	return (drv->flags & VDP_DRIVER_INDIRECT) && count > 1 && count <= drv->table_len;
}

int vdp_split_driver_add(
    struct vdp_split_driver *drv, const struct vdp_buf *bufs, uint32_t count, uint64_t cookie)
{
	bool indirect = goes_indirect(drv, count);
	uint32_t writable;
	uint16_t head, slot;

	if (!vdp_driver_chain_ok(bufs, count, &writable))
		return -EINVAL;
	if ((indirect ? 1 : count) > drv->free_count)
		return -ENOSPC;
	head = indirect ? add_indirect(drv, bufs, count) : add_direct(drv, bufs, count);
	drv->chains[head].cookie = cookie;
	drv->chains[head].serial = drv->added++;
	drv->chains[head].writable = writable;
	slot = drv->avail_next++ & drv->mask;
	/* Ring entries start as 0 in the ring and in the shadow. */
	if (drv->avail_shadow[slot] != head) {
		drv->avail_shadow[slot] = head;
		__atomic_store_n(&drv->avail->ring[slot], head, __ATOMIC_RELAXED);
	}
	return head;
}

int vdp_split_driver_next_head(const struct vdp_split_driver *drv)
{
	return drv->free_count ? drv->free_ring[drv->free_get & drv->mask] : -ENOSPC;
}

uint32_t vdp_split_driver_room(const struct vdp_split_driver *drv, uint32_t count)
{
	return goes_indirect(drv, count) ? drv->free_count : drv->free_count / count;
}

uint32_t vdp_split_driver_publish(struct vdp_split_driver *drv)
{
	uint16_t added = (uint16_t)(drv->avail_next - drv->avail_idx);

	if (!added)
		return 0;
	drv->avail_idx = drv->avail_next;
	drv->published = drv->added;
	/* The entries before the index (2.7.13.3). */
	__atomic_store_n(&drv->avail->idx, drv->avail_idx, __ATOMIC_RELEASE);
	return added;
}

bool vdp_split_driver_must_kick(struct vdp_split_driver *drv)
{
	uint16_t old = drv->kicked_idx;
	uint16_t flags;

	drv->kicked_idx = drv->avail_idx;
	if (old == drv->avail_idx)
		return false;
	/* The index before the question, or both sides could miss each other (2.7.13.4.1). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (drv->flags & VDP_DRIVER_EVENT_IDX)
		return vring_need_event(
		    __atomic_load_n(avail_event(drv), __ATOMIC_RELAXED), drv->avail_idx, old);
	flags = __atomic_load_n(&drv->used->flags, __ATOMIC_RELAXED);
	return !(flags & VRING_USED_F_NO_NOTIFY);
}

uint32_t vdp_split_driver_outstanding(const struct vdp_split_driver *drv)
{
	/* Chains taken back count in last_used, so the difference never exceeds the size. */
	return (uint16_t)(drv->avail_idx - drv->last_used);
}

static int fault(struct vdp_split_driver *drv, uint32_t code, uint32_t detail)
{
	drv->fault = code;
	drv->fault_detail = detail;
	return -EPROTO;
}

static void free_chain(struct vdp_split_driver *drv, uint16_t head)
{
	uint16_t at = head;

	for (uint16_t left = drv->chains[head].length; left; left--) {
		give_free(drv, at);
		at = drv->next[at];
	}
	drv->chains[head].length = 0;
}

/* The entry at last_used, if it can be. */
static int read_entry(struct vdp_split_driver *drv, uint32_t *id, uint32_t *len)
{
	const struct vring_used_elem *elem = &drv->used->ring[drv->last_used & drv->mask];
	const struct vdp_driver_chain *chain;

	*id = __atomic_load_n(&elem->id, __ATOMIC_RELAXED); /* once: it may change under us */
	*len = __atomic_load_n(&elem->len, __ATOMIC_RELAXED);
	if (*id >= drv->size)
		return fault(drv, VDP_DRIVER_BAD_ID, *id);
	chain = &drv->chains[*id];
	if (!chain->length || chain->serial >= drv->published)
		return fault(drv, VDP_DRIVER_NOT_OUTSTANDING, *id);
	if (*len > chain->writable)
		return fault(drv, VDP_DRIVER_BAD_LENGTH, *len);
	return 0;
}

/* pending: chains of which the used index tells. */
static int open_batch(struct vdp_split_driver *drv, uint16_t oldest, uint16_t pending)
{
	uint32_t id;

	if (read_entry(drv, &id, &drv->batch.length) < 0)
		return -EPROTO;
	drv->batch.left = drv->chains[id].serial - drv->chains[oldest].serial + 1;
	return drv->batch.left > pending ? fault(drv, VDP_DRIVER_OUT_OF_ORDER, id) : 0;
}

static int pop_one(struct vdp_split_driver *drv, uint16_t pending, struct vdp_used *out)
{
	uint32_t id, len;

	if (drv->flags & VDP_DRIVER_IN_ORDER) {
		id = drv->avail_shadow[drv->last_used & drv->mask];
		if (!drv->batch.left && open_batch(drv, (uint16_t)id, pending) < 0)
			return -EPROTO;
		len = vdp_driver_batch_take(&drv->batch, &drv->chains[id]);
	} else if (read_entry(drv, &id, &len) < 0) {
		return -EPROTO;
	}
	*out = (struct vdp_used){.cookie = drv->chains[id].cookie, .len = len, .head = id};
	free_chain(drv, (uint16_t)id);
	drv->last_used++;
	return 0;
}

int vdp_split_driver_pop(struct vdp_split_driver *drv, struct vdp_used *out, uint32_t max)
{
	uint16_t idx, pending;
	uint32_t done = 0;

	if (drv->fault)
		return -EPROTO;
	idx = __atomic_load_n(&drv->used->idx, __ATOMIC_ACQUIRE);
	pending = (uint16_t)(idx - drv->last_used);
	if (pending > vdp_split_driver_outstanding(drv))
		return fault(drv, VDP_DRIVER_USED_JUMP, pending);
	while (done < max && done < pending) {
		if (pop_one(drv, (uint16_t)(pending - done), &out[done]) < 0)
			return done ? (int)done : -EPROTO;
		done++;
	}
	return (int)done;
}

void vdp_split_driver_no_calls(struct vdp_split_driver *drv)
{
	if (drv->flags & VDP_DRIVER_EVENT_IDX)
		/* Just passed: not reached again for 65535 chains. */
		__atomic_store_n(used_event(drv), (uint16_t)(drv->last_used - 1), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&drv->avail->flags, VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
}

bool vdp_split_driver_want_calls(struct vdp_split_driver *drv, uint16_t after)
{
	bool event_idx = drv->flags & VDP_DRIVER_EVENT_IDX;
	uint16_t idx;

	if (event_idx)
		__atomic_store_n(used_event(drv), (uint16_t)(drv->last_used + after), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&drv->avail->flags, 0, __ATOMIC_RELAXED);
	/* The wish before the check (2.7.9.2). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	idx = __atomic_load_n(&drv->used->idx, __ATOMIC_ACQUIRE);
	return (uint16_t)(idx - drv->last_used) <= (event_idx ? after : 0);
}

void vdp_split_driver_state(const struct vdp_split_driver *drv, struct vdp_driver_state *ret)
{
	ret->size = drv->size;
	ret->free = drv->free_count;
	ret->avail_idx = drv->avail_idx;
	ret->used_idx = drv->last_used;
	ret->added = (uint16_t)(drv->avail_next - drv->avail_idx);
	ret->outstanding = vdp_split_driver_outstanding(drv);
	ret->fault = drv->fault;
	ret->fault_detail = drv->fault_detail;
}
