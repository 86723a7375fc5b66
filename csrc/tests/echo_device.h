/*
 * The smallest device half, for tests of the driver half: the simplest reading of the specification, no
 * batching, no checks. Guest physical addresses are host addresses.
 */
#ifndef VDP_ECHO_DEVICE_H
#define VDP_ECHO_DEVICE_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <string.h>

#include "check.h"
#include "split_driver.h"

struct ring {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t size, taken;
	bool event_idx;
};

static inline void ring_set_avail_event(struct ring *ring, uint16_t index)
{
	memcpy(&ring->used->ring[ring->size], &index, sizeof(index));
}

static inline void *ring_memory(uint64_t bytes)
{
	void *memory = aligned_alloc(4096, (bytes + 4095) & ~4095ull);

	CHECK(memory);
	memset(memory, 0xa5, bytes);
	return memory;
}

static inline void ring_init(struct ring *ring, struct vdp_driver_conf *conf, uint16_t size, uint16_t flags)
{
	memset(ring, 0, sizeof(*ring));
	memset(conf, 0, sizeof(*conf));
	ring->size = conf->size = size;
	ring->desc = conf->desc = ring_memory(16u * size);
	ring->avail = conf->avail = ring_memory(6u + 2u * size);
	ring->used = conf->used = ring_memory(6u + 8u * size);
	ring->event_idx = flags & VDP_DRIVER_EVENT_IDX;
	conf->flags = flags;
	if (flags & VDP_DRIVER_INDIRECT) {
		conf->table_len = 16;
		conf->tables = ring_memory(16u * 16u * size);
		conf->tables_gpa = (uintptr_t)conf->tables;
	}
}

static inline void ring_fini(struct ring *ring, struct vdp_driver_conf *conf)
{
	free(ring->desc);
	free(ring->avail);
	free(ring->used);
	free(conf->tables);
}

/* Is there a chain? Its head. */
static inline bool ring_peek(struct ring *ring, uint16_t *head)
{
	if (__atomic_load_n(&ring->avail->idx, __ATOMIC_ACQUIRE) == ring->taken)
		return false;
	*head = ring->avail->ring[ring->taken & (ring->size - 1)];
	return true;
}

/* The chain's buffers; returns how many. */
static inline uint32_t ring_walk(const struct ring *ring, uint16_t head, struct vdp_buf *bufs, uint32_t max)
{
	const struct vring_desc *table = ring->desc;
	uint32_t n = 0, at = head;

	if (table[at].flags & VRING_DESC_F_INDIRECT) {
		table = (const struct vring_desc *)(uintptr_t)table[at].addr;
		at = 0;
	}
	for (;;) {
		CHECK(n < max);
		bufs[n].addr = table[at].addr;
		bufs[n].len = table[at].len;
		bufs[n].writable = !!(table[at].flags & VRING_DESC_F_WRITE);
		n++;
		if (!(table[at].flags & VRING_DESC_F_NEXT))
			return n;
		at = table[at].next;
	}
}

/* Put an element without making it visible: step counts from the index on. */
static inline void ring_put(struct ring *ring, uint16_t step, uint32_t id, uint32_t len)
{
	struct vring_used_elem *elem = &ring->used->ring[(ring->used->idx + step) & (ring->size - 1)];

	elem->id = id;
	elem->len = len;
}

/* Returns whether the driver wants a call. */
static inline bool ring_push(struct ring *ring, uint16_t count)
{
	uint16_t old = ring->used->idx, now = (uint16_t)(old + count);

	__atomic_store_n(&ring->used->idx, now, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (ring->event_idx)
		return vring_need_event(
		    __atomic_load_n(&ring->avail->ring[ring->size], __ATOMIC_RELAXED), now, old);
	return !(__atomic_load_n(&ring->avail->flags, __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT);
}

#endif
