/*
 * What the device's halves of a split and of a packed virtqueue share.
 *
 * What the driver wrote is hostile: each word is loaded once, into private memory, and checked there.
 * Buffers are used in the order they were made available, so one index serves both directions.
 */
#ifndef VDP_DEVICE_RING_H
#define VDP_DEVICE_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "copy.h"
#include "cpu.h"
#include "dirty.h"
#include "dma_reach.h"
#include "nic.h"
#include "packed_ring.h"
#include "split_ring.h"

_Static_assert(VDP_DESC_NEXT == VDP_PACKED_NEXT && VDP_DESC_WRITE == VDP_PACKED_WRITE &&
		   VDP_DESC_INDIRECT == VDP_PACKED_INDIRECT,
    "one set of flags for both");

struct vdp_ring {
	union {
		struct {
			const struct vdp_split_desc *desc;
			struct vdp_split_avail *avail; /* only read */
			struct vdp_split_used *used;   /* only written */
		} split;
		struct {
			struct vdp_packed_desc *desc;
			struct vdp_packed_event *driver; /* only read */
			struct vdp_packed_event *device; /* only written */
		} packed;
	};
	/* Free-running indices of a split ring, positions of a packed one (packed_ring.h). */
	uint16_t next;      /* to take next, and to use next */
	uint16_t seen;      /* the first that was not available when we looked */
	uint16_t published; /* used up to here as the driver knows it */
	uint16_t size;
	uint16_t mask;              /* next & mask: where in the ring that is */
	uint16_t flags;             /* of a plain descriptor: 0 or VDP_DESC_WRITE */
	uint32_t perm;              /* what buffers are reached with */
	uint32_t header;            /* bytes before each frame */
	uint32_t offloads;          /* enum vdp_offload: what the driver may send, or takes */
	uint32_t shortest, longest; /* chain, in bytes */
	uint64_t held;              /* the used entry at published, which the driver may see last */
	bool batch;                 /* IN_ORDER: one used entry tells of all transmitted since published */
	bool event_idx, indirect_ok;
	bool mixed;        /* chains have a readable and a writable part; perm and keep are per part */
	bool saw_indirect; /* the chain read last had a table */
	struct vdp_dma_cache cache;
	struct vdp_dma *dma;
	struct vdp_dirty *log;       /* of the NIC; NULL: what is written is not logged */
	struct vdp_nic_error *error; /* of the worker; the first stays */
	uint32_t index;              /* of the queue */
	uint32_t mutant;             /* of the NIC; looked at by its mutants only (net_mutant.h) */
	/* What the header of the frame to be delivered has behind VDP_NET_HDR_HASH, where it is longer:
	 * outer_th_offset, inner_nh_offset, outer_nh_offset, 3 words of padding. */
	uint16_t tail[6];
};

/* One chain, as read into private memory. */
struct vdp_chain {
	uint64_t length; /* sum of its buffers */
	uint32_t pieces;
	uint16_t id;    /* the driver's name for it: the head, in a split ring */
	uint16_t slots; /* of the ring: 1 in a split one */
	uint32_t frame; /* bytes behind the virtio header, where net_device.h says so */
	/* Of a mixed queue: where the writable part begins, if there is one. */
	uint64_t readable;
	uint32_t readable_pieces;
	bool turned;
};

/* A buffer, whichever layout described it. */
struct vdp_buffer {
	uint64_t addr;
	uint32_t length;
	uint16_t flags;
	uint16_t link; /* next of a split descriptor, id of a packed one */
};

void vdp_ring_fail(struct vdp_ring *q, uint32_t code, uint64_t detail);

/* An access that the IOMMU stopped: a fault, and the error. Returns false. */
bool vdp_ring_fault(struct vdp_ring *q, uint64_t iova, uint32_t length, uint32_t perm);

/* [iova, iova + length) was written by us. */
void vdp_ring_log(struct vdp_ring *q, uint64_t iova, uint32_t length);

/* Find a part of the ring through the IOMMU; NULL, with report set also recorded, when that fails. */
void *vdp_ring_part(
    struct vdp_ring *q, uint64_t iova, uint32_t length, uint32_t align, uint32_t perm, bool report);

/*
 * Is this a table that the driver may give? With the layout's own rules (flags) checked by the caller.
 * Records BAD_INDIRECT.
 */
bool vdp_ring_enter(struct vdp_ring *q, const struct vdp_buffer *table, bool allowed);

/* 16 bytes of a table, which may lie across two regions. */
bool vdp_ring_load(struct vdp_ring *q, uint64_t iova, void *desc);

/* Add a buffer to the chain; only its part within keep is translated, since no more will be touched. */
bool vdp_ring_add(struct vdp_ring *q, const struct vdp_buffer *buffer, uint32_t keep,
    struct vdp_piece *pieces, struct vdp_chain *chain);

static inline bool vdp_ring_at_start(const struct vdp_ring *q)
{
	return (q->next & q->mask) == 0;
}

/* The region hit last, for a loop: by value, so that it stays in registers. */
struct vdp_window {
	uint64_t iova, reach; /* from each address in [iova, iova + reach) on, span bytes lie inside */
	uint8_t *host;
};

static inline struct vdp_window vdp_ring_window(const struct vdp_ring *q, uint32_t span)
{
	const struct vdp_dma_cache *cache = &q->cache;
	/* Behind such a region a buffer could wrap: it is looked at more closely. */
	bool low = cache->iova + cache->length - 1 <= UINT64_MAX - UINT32_MAX;
	bool good = (cache->perm & q->perm) && cache->length > span && low;

	return (struct vdp_window){cache->iova, good ? cache->length - span : 0, cache->host};
}

/*
 * Where a buffer lies of which need bytes, at most span, are going to be touched; false: not in one region.
 * One comparison for nearly all, since few lie at the end of their region.
 */
static inline bool vdp_ring_reach(struct vdp_ring *q, struct vdp_window *window, uint32_t span,
    const struct vdp_buffer *buffer, uint8_t **host)
{
	uint64_t offset = buffer->addr - window->iova;

	if (VDP_LIKELY(offset < window->reach)) {
		*host = window->host + offset;
		return true;
	}
	*host = vdp_dma_reach(q->dma, &q->cache, buffer->addr, buffer->length, q->perm);
	*window = vdp_ring_window(q, span);
	return *host;
}

#endif
