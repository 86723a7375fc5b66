/*
 * The device's half of a split virtqueue. Ref: virtio 1.3, 2.7
 *
 * What the driver wrote is hostile: each word is loaded once, into private memory, and checked there.
 * Buffers are used in the order they were made available, so one index serves both rings.
 */
#ifndef VDP_SPLIT_DEVICE_H
#define VDP_SPLIT_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "copy.h"
#include "cpu.h"
#include "dirty.h"
#include "dma_reach.h"
#include "nic.h"
#include "split_ring.h"

struct vdp_split {
	const struct vdp_split_desc *desc;
	struct vdp_split_avail *avail; /* only read */
	struct vdp_split_used *used;   /* only written */
	uint16_t size, mask;
	uint16_t next;              /* the entry to take next, in avail and in used */
	uint16_t seen;              /* avail idx as last read */
	uint16_t published;         /* used idx as the driver knows it */
	uint16_t flags;             /* of a plain descriptor: 0 or VDP_DESC_WRITE */
	uint32_t perm;              /* what buffers are reached with */
	uint32_t shortest, longest; /* chain, in bytes */
	bool event_idx, indirect_ok;
	bool saw_indirect; /* the chain read last had a table */
	struct vdp_dma_cache cache;
	struct vdp_dma *dma;
	struct vdp_dirty *log;       /* of the NIC; NULL: what is written is not logged */
	struct vdp_nic_error *error; /* of the worker; the first stays */
	uint32_t index;              /* of the queue */
};

/* One chain, as read into private memory. */
struct vdp_chain {
	uint64_t length; /* sum of its descriptors */
	uint32_t pieces;
	uint16_t head;
};

/*
 * Find the ring's parts through the IOMMU. Returns false when one is unmapped or unaligned; with report set
 * that is also recorded, as a fault and as the error.
 */
bool vdp_split_attach(struct vdp_split *q, const struct vdp_queue_conf *conf, bool report);

/*
 * Read the chain that lies ahead entries beyond next; nothing is consumed. Its first keep bytes are
 * translated into pieces (room for keep of them). Returns 1, 0 when the driver offered no such chain, -1 for
 * an error.
 */
int vdp_split_read(
    struct vdp_split *q, uint16_t ahead, uint32_t keep, struct vdp_piece *pieces, struct vdp_chain *chain);

void vdp_split_fail(struct vdp_split *q, uint32_t code, uint64_t detail);

/* [iova, iova + length) was written by us. */
void vdp_split_log(struct vdp_split *q, uint64_t iova, uint32_t length);

/* How many entries wait, at least want if there are so many. */
static inline uint16_t vdp_split_available(struct vdp_split *q, uint16_t want)
{
	uint16_t n = (uint16_t)(q->seen - q->next);

	if (n >= want)
		return n;
	q->seen = __atomic_load_n(&q->avail->idx, __ATOMIC_ACQUIRE);
	n = (uint16_t)(q->seen - q->next);
	if (VDP_LIKELY(n <= q->size))
		return n;
	vdp_split_fail(q, VDP_NIC_AVAIL_JUMP, q->seen);
	q->seen = q->next;
	return 0;
}

static inline uint16_t vdp_split_head(const struct vdp_split *q, uint16_t ahead)
{
	return __atomic_load_n(&q->avail->ring[(uint16_t)(q->next + ahead) & q->mask], __ATOMIC_RELAXED);
}

static inline struct vdp_split_desc vdp_split_load_desc(const struct vdp_split_desc *desc)
{
	const volatile uint64_t *from = (const volatile uint64_t *)desc;
	uint64_t low = from[0], high = from[1];

	return (struct vdp_split_desc){
	    .addr = low,
	    .length = (uint32_t)high,
	    .flags = (uint16_t)(high >> 32),
	    .next = (uint16_t)(high >> 48),
	};
}

/* Write the used element ahead entries beyond next; the driver does not see it yet. */
static inline void vdp_split_set_used(struct vdp_split *q, uint16_t ahead, uint16_t head, uint32_t length)
{
	uint64_t element = (uint64_t)length << 32 | head;

	__builtin_memcpy(&q->used->ring[(uint16_t)(q->next + ahead) & q->mask], &element, sizeof(element));
}

/* Tell the driver of what was used since the last time. Returns false when that is nothing. */
static inline bool vdp_split_publish(struct vdp_split *q)
{
	if (q->published == q->next)
		return false;
	__atomic_store_n(&q->used->idx, q->next, __ATOMIC_RELEASE);
	return true;
}

/*
 * After vdp_split_publish and a full fence: does the driver want an interrupt? Ref: 2.7.7.2
 */
static inline bool vdp_split_wants_call(struct vdp_split *q)
{
	uint16_t old = q->published;

	q->published = q->next;
	if (q->event_idx)
		return vdp_split_crossed(
		    __atomic_load_n(&q->avail->ring[q->size], __ATOMIC_RELAXED), q->next, old);
	return !(__atomic_load_n(&q->avail->flags, __ATOMIC_RELAXED) & VDP_SPLIT_NO_INTERRUPT);
}

/* Did the driver offer buffers that vdp_split_available has not seen yet? */
static inline bool vdp_split_moved(const struct vdp_split *q)
{
	return __atomic_load_n(&q->avail->idx, __ATOMIC_RELAXED) != q->seen;
}

/*
 * Ask for a notification of buffers beyond those seen, or for none. After "on" a full fence must come, and
 * another look with vdp_split_moved. Ref: 2.7.10
 */
static inline void vdp_split_notify(struct vdp_split *q, bool on)
{
	if (!q->event_idx)
		__atomic_store_n(&q->used->flags, on ? 0 : VDP_SPLIT_NO_NOTIFY, __ATOMIC_RELAXED);
	else if (on)
		__atomic_store_n((uint16_t *)&q->used->ring[q->size], q->seen, __ATOMIC_RELAXED);
}

#endif
