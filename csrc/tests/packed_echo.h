/* The smallest device half of a packed ring: the simplest reading of 2.8.24, no checks. */
#ifndef VDP_PACKED_ECHO_H
#define VDP_PACKED_ECHO_H

#include <errno.h>
#include <string.h>

#include "check.h"
#include "packed_driver.h"
#include "packed_ring.h"

#define START VDP_PACKED_START

/* One ring, both halves of it. */
struct packed {
	struct vdp_packed_desc *desc;
	struct vdp_packed_event *driver_event, *device_event;
	uint32_t size;
	uint16_t next; /* to look at */
	uint16_t used; /* to write */
	struct vdp_driver_conf conf;
	struct vdp_packed_driver *drv;
};

struct taken {
	struct vdp_buf bufs[32];
	uint32_t count;  /* of buffers */
	uint16_t length; /* in descriptors */
	uint16_t id;
	bool indirect;
};

static inline void *packed_memory(uint64_t bytes)
{
	void *ret = aligned_alloc(4096, (bytes + 4095) & ~4095ull);

	CHECK(ret);
	memset(ret, 0xa5, bytes);
	return ret;
}

static inline void packed_setup(struct packed *dev, uint16_t size, uint16_t flags, uint16_t start)
{
	memset(dev, 0, sizeof(*dev));
	dev->size = dev->conf.size = size;
	dev->desc = dev->conf.desc = packed_memory(16u * size);
	dev->driver_event = dev->conf.avail = packed_memory(4);
	dev->device_event = dev->conf.used = packed_memory(4);
	dev->next = dev->used = dev->conf.start = start;
	dev->conf.flags = flags;
	if (flags & VDP_DRIVER_INDIRECT) {
		dev->conf.table_len = 16;
		dev->conf.tables = packed_memory(16u * 16u * size);
		dev->conf.tables_gpa = (uintptr_t)dev->conf.tables;
	}
	CHECK_EQ(vdp_packed_driver_init(&dev->drv, &dev->conf), 0);
}

static inline void packed_teardown(struct packed *dev)
{
	vdp_packed_driver_fini(dev->drv);
	free(dev->conf.desc);
	free(dev->conf.avail);
	free(dev->conf.used);
	free(dev->conf.tables);
}

static inline void packed_walk_table(const struct vdp_packed_desc *pointer, struct taken *ret)
{
	const struct vdp_packed_desc *table = (const struct vdp_packed_desc *)(uintptr_t)pointer->addr;

	ret->indirect = true;
	for (ret->count = 0; ret->count < pointer->length / sizeof(*table); ret->count++) {
		const struct vdp_packed_desc *desc = &table[ret->count];

		ret->bufs[ret->count] =
		    (struct vdp_buf){desc->addr, desc->length, !!(desc->flags & VDP_PACKED_WRITE)};
	}
}

/* The next chain, if one is offered. */
static inline bool packed_take(struct packed *dev, struct taken *ret)
{
	struct vdp_packed_desc desc;

	memset(ret, 0, sizeof(*ret));
	do {
		desc = dev->desc[vdp_packed_at(dev->next)];
		if (!vdp_packed_is_avail(desc.flags, dev->next)) {
			CHECK_EQ(ret->length, 0); /* a chain is offered as a whole */
			return false;
		}
		if (desc.flags & VDP_PACKED_INDIRECT)
			packed_walk_table(&desc, ret);
		else
			ret->bufs[ret->count++] =
			    (struct vdp_buf){desc.addr, desc.length, !!(desc.flags & VDP_PACKED_WRITE)};
		ret->length++;
		dev->next = vdp_packed_advance(dev->next, 1, dev->size);
	} while (desc.flags & VDP_PACKED_NEXT);
	ret->id = desc.id;
	return true;
}

/* Write a used descriptor, and step over so many; returns whether the driver wants a call. */
static inline bool packed_use(struct packed *dev, uint16_t id, uint32_t len, uint16_t length)
{
	struct vdp_packed_desc *desc = &dev->desc[vdp_packed_at(dev->used)];
	uint16_t old = dev->used;

	desc->id = id;
	desc->length = len;
	__atomic_store_n(
	    &desc->flags, vdp_packed_used_flags(dev->used) | (len ? VDP_PACKED_WRITE : 0u), __ATOMIC_RELEASE);
	dev->used = vdp_packed_advance(dev->used, length, dev->size);
	return vdp_packed_wants(
	    dev->driver_event->flags, dev->driver_event->position, old, dev->used, dev->size);
}

/* Buffers of 10, 11, 12 ... bytes. */
static inline int packed_add(struct packed *dev, uint32_t readable, uint32_t writable, uint64_t cookie)
{
	struct vdp_buf bufs[32];

	for (uint32_t i = 0; i < readable + writable; i++)
		bufs[i] = (struct vdp_buf){0x1000 + 0x100 * i, 10 + i, i >= readable};
	return vdp_packed_driver_add(dev->drv, bufs, readable + writable, cookie);
}

static inline struct vdp_driver_state packed_state(const struct packed *dev)
{
	struct vdp_driver_state ret;

	vdp_packed_driver_state(dev->drv, &ret);
	return ret;
}

/* The next pop finds the device out, and so does each after it. Ends the ring. */
static inline void packed_expect_fault(struct packed *dev, uint32_t code, uint32_t detail)
{
	struct vdp_used used[8];

	CHECK_EQ(vdp_packed_driver_pop(dev->drv, used, 8), -EPROTO);
	CHECK_EQ(vdp_packed_driver_pop(dev->drv, used, 8), -EPROTO);
	CHECK_EQ(packed_state(dev).fault, code);
	CHECK_EQ(packed_state(dev).fault_detail, detail);
	packed_teardown(dev);
}

#endif
