#include "packed_driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver_chain.h"
#include "packed_ring.h"

/* A position is a descriptor in bits 0 to 14 and the wrap counter in bit 15, as everywhere in 2.8. */
struct vdp_packed_driver {
	struct vdp_packed_desc *desc;
	struct vdp_packed_event *driver_event;
	const struct vdp_packed_event *device_event; /* only read */
	struct vdp_packed_desc *tables;
	uint64_t tables_gpa;
	uint16_t table_len, size, flags;

	uint16_t next;       /* to write, behind chains that are not yet published */
	uint16_t avail;      /* published up to here */
	uint16_t kicked;     /* avail at the last question whether to kick */
	uint16_t used;       /* where the device writes next */
	uint16_t head_flags; /* of the descriptor at avail, once something was added */
	uint16_t free_count; /* descriptors */
	uint16_t free_get;   /* free ids: a queue, so that an orderly device reuses them in order */
	uint16_t id_count;
	uint64_t added, published, popped; /* chains */
	uint16_t oldest;                   /* IN_ORDER: id of the chain to be used next; ids go round */
	struct vdp_driver_batch batch;
	uint32_t fault, fault_detail;

	uint16_t *free_ids;
	struct vdp_driver_chain *chains; /* by id */
};

static bool conf_ok(const struct vdp_driver_conf *conf)
{
	if (!conf->size || conf->size > VDP_PACKED_MAX_SIZE || vdp_packed_at(conf->start) >= conf->size)
		return false;
	if (((uintptr_t)conf->desc & 15) || ((uintptr_t)conf->avail & 3) || ((uintptr_t)conf->used & 3))
		return false; /* 2.8.10.1 */
	return !(conf->flags & VDP_DRIVER_INDIRECT) || (conf->tables && conf->table_len);
}

static void take_conf(struct vdp_packed_driver *drv, const struct vdp_driver_conf *conf)
{
	drv->desc = conf->desc;
	drv->driver_event = conf->avail;
	drv->device_event = conf->used;
	drv->tables = conf->tables;
	drv->tables_gpa = conf->tables_gpa;
	drv->table_len = conf->table_len;
	drv->flags = conf->flags;
	drv->size = drv->free_count = drv->id_count = conf->size;
	drv->next = drv->avail = drv->kicked = drv->used = conf->start;
}

int vdp_packed_driver_init(struct vdp_packed_driver **ret, const struct vdp_driver_conf *conf)
{
	struct vdp_packed_driver *drv;
	uint32_t size = conf->size;

	if (!conf_ok(conf))
		return -EINVAL;
	drv = calloc(1, sizeof(*drv));
	if (drv) {
		drv->free_ids = calloc(size, sizeof(*drv->free_ids));
		drv->chains = calloc(size, sizeof(*drv->chains));
	}
	if (!drv || !drv->free_ids || !drv->chains) {
		vdp_packed_driver_fini(drv);
		return -ENOMEM;
	}
	take_conf(drv, conf);
	for (uint32_t i = 0; i < size; i++)
		drv->free_ids[i] = (uint16_t)i;
	memset(conf->desc, 0, size * sizeof(*drv->desc)); /* AVAIL = USED: nothing is offered */
	memset(conf->avail, 0, sizeof(*drv->driver_event));
	memset(conf->used, 0, sizeof(*drv->device_event));
	*ret = drv;
	return 0;
}

void vdp_packed_driver_fini(struct vdp_packed_driver *drv)
{
	if (!drv)
		return;
	free(drv->free_ids);
	free(drv->chains);
	free(drv);
}

static uint16_t take_id(struct vdp_packed_driver *drv)
{
	uint16_t id = drv->free_ids[drv->free_get];

	drv->free_get = (uint16_t)(drv->free_get + 1u == drv->size ? 0 : drv->free_get + 1);
	drv->id_count--;
	return id;
}

static void give_id(struct vdp_packed_driver *drv, uint16_t id)
{
	uint32_t at = (uint32_t)drv->free_get + drv->id_count;

	drv->free_ids[at < drv->size ? at : at - drv->size] = id;
	drv->id_count++;
}

/*
 * Write the next descriptor. The device looks at the first one of a batch only: its flags wait for publish,
 * which thereby offers the whole batch at once (2.8.21).
 */
static void put(struct vdp_packed_driver *drv, const struct vdp_buf *buf, uint16_t id, uint16_t flags)
{
	struct vdp_packed_desc *desc = &drv->desc[vdp_packed_at(drv->next)];

	flags |= vdp_packed_avail_flags(drv->next);
	desc->addr = buf->addr;
	desc->length = buf->len;
	desc->id = id;
	if (drv->next == drv->avail && drv->added == drv->published)
		drv->head_flags = flags;
	else
		__atomic_store_n(&desc->flags, flags, __ATOMIC_RELAXED);
	drv->next = vdp_packed_advance(drv->next, 1, drv->size);
}

/* 2.8.7: the table's entries follow each other; of their flags only WRITE has a meaning. */
static void add_indirect(
    struct vdp_packed_driver *drv, const struct vdp_buf *bufs, uint32_t count, uint16_t id)
{
	uint64_t offset = (uint64_t)id * drv->table_len;
	struct vdp_buf table = {
	    .addr = drv->tables_gpa + offset * sizeof(*drv->tables),
	    .len = count * (uint32_t)sizeof(*drv->tables),
	};

	for (uint32_t i = 0; i < count; i++)
		drv->tables[offset + i] = (struct vdp_packed_desc){
		    .addr = bufs[i].addr,
		    .length = bufs[i].len,
		    .flags = bufs[i].writable ? VDP_PACKED_WRITE : 0,
		};
	put(drv, &table, id, VDP_PACKED_INDIRECT);
}

/* The id counts in the last descriptor only (2.8.2); the others have it too. */
static void add_direct(struct vdp_packed_driver *drv, const struct vdp_buf *bufs, uint32_t count, uint16_t id)
{
	for (uint32_t i = 0; i < count; i++) {
		uint16_t flags = bufs[i].writable ? VDP_PACKED_WRITE : 0;

		put(drv, &bufs[i], id, (uint16_t)(flags | (i + 1 < count ? VDP_PACKED_NEXT : 0)));
	}
}

static bool goes_indirect(const struct vdp_packed_driver *drv, uint32_t count)
{
	return (drv->flags & VDP_DRIVER_INDIRECT) && count > 1 && count <= drv->table_len;
}

int vdp_packed_driver_add(
    struct vdp_packed_driver *drv, const struct vdp_buf *bufs, uint32_t count, uint64_t cookie)
{
	bool indirect = goes_indirect(drv, count);
	uint32_t length = indirect ? 1 : count, writable;
	uint16_t id;

	if (!vdp_driver_chain_ok(bufs, count, &writable))
		return -EINVAL;
	if (length > drv->free_count)
		return -ENOSPC; /* there is an id for each descriptor */
	id = take_id(drv);
	if (indirect)
		add_indirect(drv, bufs, count, id);
	else
		add_direct(drv, bufs, count, id);
	drv->free_count = (uint16_t)(drv->free_count - length);
	drv->chains[id] = (struct vdp_driver_chain){
	    .cookie = cookie,
	    .serial = drv->added++,
	    .writable = writable,
	    .length = (uint16_t)length,
	};
	return id;
}

int vdp_packed_driver_next_head(const struct vdp_packed_driver *drv)
{
	return drv->free_count ? drv->free_ids[drv->free_get] : -ENOSPC;
}

uint32_t vdp_packed_driver_room(const struct vdp_packed_driver *drv, uint32_t count)
{
	return goes_indirect(drv, count) ? drv->free_count : drv->free_count / count;
}

uint32_t vdp_packed_driver_publish(struct vdp_packed_driver *drv)
{
	uint32_t added = (uint32_t)(drv->added - drv->published);

	if (!added)
		return 0;
	/* Everything else of the batch before the flags of its first descriptor (2.8.21). */
	__atomic_store_n(&drv->desc[vdp_packed_at(drv->avail)].flags, drv->head_flags, __ATOMIC_RELEASE);
	drv->avail = drv->next;
	drv->published = drv->added;
	return added;
}

bool vdp_packed_driver_must_kick(struct vdp_packed_driver *drv)
{
	uint16_t old = drv->kicked;
	uint32_t event;

	drv->kicked = drv->avail;
	if (old == drv->avail)
		return false;
	/* The descriptors before the question, or both sides could miss each other (2.8.21.3.1). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n((const uint32_t *)(const void *)drv->device_event, __ATOMIC_RELAXED);
	return vdp_packed_wants((uint16_t)(event >> 16), (uint16_t)event, old, drv->avail, drv->size);
}

static int fault(struct vdp_packed_driver *drv, uint32_t code, uint32_t detail)
{
	drv->fault = code;
	drv->fault_detail = detail;
	return -EPROTO;
}

/* Has the device used the chain that comes next in the ring? */
static bool is_used(const struct vdp_packed_driver *drv, uint16_t *flags)
{
	/* Behind what was published lie flags of an earlier lap: nothing to be asked there. */
	if (drv->popped == drv->published)
		return false;
	if (drv->batch.left)
		return true;
	*flags = __atomic_load_n(&drv->desc[vdp_packed_at(drv->used)].flags, __ATOMIC_ACQUIRE);
	return vdp_packed_is_used(*flags, drv->used);
}

/* The used descriptor, if it can be. flags: its own. */
static int read_used(struct vdp_packed_driver *drv, uint16_t flags, uint16_t *id, uint32_t *len)
{
	const struct vdp_packed_desc *desc = &drv->desc[vdp_packed_at(drv->used)];
	const struct vdp_driver_chain *chain;

	*id = __atomic_load_n(&desc->id, __ATOMIC_RELAXED); /* once: it may change under us */
	*len = __atomic_load_n(&desc->length, __ATOMIC_RELAXED);
	if (*id >= drv->size)
		return fault(drv, VDP_DRIVER_BAD_ID, *id);
	chain = &drv->chains[*id];
	if (!chain->length || chain->serial >= drv->published)
		return fault(drv, VDP_DRIVER_NOT_OUTSTANDING, *id);
	if (*len > chain->writable) {
		if (flags & VDP_PACKED_WRITE)
			return fault(drv, VDP_DRIVER_BAD_LENGTH, *len);
		/* Without the flag it is reserved (2.8.6), but QEMU never sets it: a length that can be is
		 * one. */
		*len = 0;
	}
	return 0;
}

/* The chain to take from a batch, which begins where the last one ended. */
static int next_in_order(struct vdp_packed_driver *drv, uint16_t flags, uint16_t *id, uint32_t *len)
{
	if (!drv->batch.left) {
		if (read_used(drv, flags, id, &drv->batch.length) < 0)
			return -EPROTO;
		drv->batch.left = drv->chains[*id].serial - drv->popped + 1;
	}
	*id = drv->oldest;
	*len = vdp_driver_batch_take(&drv->batch, &drv->chains[*id]);
	drv->oldest = (uint16_t)(*id + 1u == drv->size ? 0 : *id + 1);
	return 0;
}

static int pop_one(struct vdp_packed_driver *drv, uint16_t flags, struct vdp_used *out)
{
	struct vdp_driver_chain *chain;
	uint32_t len;
	uint16_t id;
	int rc;

	if (drv->flags & VDP_DRIVER_IN_ORDER)
		rc = next_in_order(drv, flags, &id, &len);
	else
		rc = read_used(drv, flags, &id, &len);
	if (rc < 0)
		return rc;
	chain = &drv->chains[id];
	*out = (struct vdp_used){.cookie = chain->cookie, .len = len, .head = id};
	/* One used descriptor for the chain; both sides skip the rest of it (2.8.6). */
	drv->used = vdp_packed_advance(drv->used, chain->length, drv->size);
	drv->free_count = (uint16_t)(drv->free_count + chain->length);
	chain->length = 0;
	give_id(drv, id);
	drv->popped++;
	return 0;
}

int vdp_packed_driver_pop(struct vdp_packed_driver *drv, struct vdp_used *out, uint32_t max)
{
	uint32_t done = 0;
	uint16_t flags = 0;

	if (drv->fault)
		return -EPROTO;
	while (done < max && is_used(drv, &flags)) {
		if (pop_one(drv, flags, &out[done]) < 0)
			return done ? (int)done : -EPROTO;
		done++;
	}
	return (int)done;
}

void vdp_packed_driver_no_calls(struct vdp_packed_driver *drv)
{
	__atomic_store_n(&drv->driver_event->flags, VDP_PACKED_EVENT_DISABLE, __ATOMIC_RELAXED);
}

bool vdp_packed_driver_want_calls(struct vdp_packed_driver *drv, uint16_t after)
{
	uint16_t wish = VDP_PACKED_EVENT_ENABLE, flags;

	if (drv->flags & VDP_DRIVER_EVENT_IDX) {
		/* It counts descriptors: with chains of several the notification comes earlier. */
		uint32_t ahead = after < drv->size ? after : drv->size - 1u;

		__atomic_store_n(&drv->driver_event->position,
		    vdp_packed_advance(drv->used, ahead, drv->size), __ATOMIC_RELAXED);
		wish = VDP_PACKED_EVENT_DESC;
	}
	__atomic_store_n(&drv->driver_event->flags, wish, __ATOMIC_RELEASE);
	/* The wish before the check (2.8.21.3.1, the other way round). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !is_used(drv, &flags);
}

void vdp_packed_driver_state(const struct vdp_packed_driver *drv, struct vdp_driver_state *ret)
{
	ret->size = drv->size;
	ret->free = drv->free_count;
	ret->avail_idx = drv->avail;
	ret->used_idx = drv->used;
	ret->added = (uint32_t)(drv->added - drv->published);
	ret->outstanding = (uint32_t)(drv->published - drv->popped);
	ret->fault = drv->fault;
	ret->fault_detail = drv->fault_detail;
}
