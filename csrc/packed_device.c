#include "packed_device.h"

bool vdp_packed_attach(struct vdp_ring *q, const struct vdp_queue_conf *conf, bool report)
{
	q->mask = VDP_PACKED_WRAP - 1;
	q->cache = (struct vdp_dma_cache){0};
	q->packed.desc =
	    vdp_ring_part(q, conf->desc, 16u * conf->size, 16, VDP_DMA_READ | VDP_DMA_WRITE, report);
	q->packed.driver = vdp_ring_part(q, conf->driver, 4, 4, VDP_DMA_READ, report);
	q->packed.device = vdp_ring_part(q, conf->device, 4, 4, VDP_DMA_WRITE, report);
	return q->packed.desc && q->packed.driver && q->packed.device;
}

/* Ref: 2.8.8: a table alone; in it only WRITE means something, and it ends where its length says. */
static bool packed_walk_table(struct vdp_ring *q, const struct vdp_buffer *table, uint32_t keep,
    struct vdp_piece *pieces, struct vdp_chain *chain)
{
	bool alone = chain->slots == 1 && !(table->flags & VDP_PACKED_NEXT);

	if (!vdp_ring_enter(q, table, alone))
		return false;
	for (uint32_t i = 0; i < table->length / 16; i++) {
		struct vdp_packed_desc desc;
		struct vdp_buffer buffer;

		if (!vdp_ring_load(q, table->addr + 16u * (uint64_t)i, &desc))
			return false;
		if (desc.flags & VDP_PACKED_INDIRECT) {
			vdp_ring_fail(q, VDP_NIC_BAD_INDIRECT, table->length);
			return false;
		}
		/* DPDK's driver leaves WRITE at the header of what it sends: nobody writes there anyway. */
		if (!q->mixed && !q->flags)
			desc.flags &= (uint16_t)~VDP_PACKED_WRITE;
		buffer = vdp_packed_buffer(&desc, desc.flags);
		if (!vdp_ring_add(q, &buffer, keep, pieces, chain))
			return false;
	}
	return true;
}

/* The driver made the first available last, so the whole chain is there, or it lied. Ref: 2.8.6 */
static bool packed_walk(struct vdp_ring *q, uint16_t at, uint16_t flags, uint32_t keep,
    struct vdp_piece *pieces, struct vdp_chain *chain)
{
	while (chain->slots < q->size) {
		struct vdp_buffer buffer = vdp_packed_buffer(q->packed.desc + vdp_packed_at(at), flags);

		chain->slots++;
		chain->id = buffer.link; /* that of the last counts */
		if (flags & VDP_PACKED_INDIRECT)
			return packed_walk_table(q, &buffer, keep, pieces, chain);
		if (!vdp_ring_add(q, &buffer, keep, pieces, chain))
			return false;
		if (!(flags & VDP_PACKED_NEXT))
			return true;
		at = vdp_packed_after(q, at, 1);
		flags = vdp_packed_flags(q, at, __ATOMIC_RELAXED);
		if (!vdp_packed_is_avail(flags, at) && chain->slots < q->size) {
			vdp_ring_fail(q, VDP_NIC_BAD_WRAP, at);
			return false;
		}
	}
	vdp_ring_fail(q, VDP_NIC_LOOP, at);
	return false;
}

int vdp_packed_read(
    struct vdp_ring *q, uint16_t at, uint32_t keep, struct vdp_piece *pieces, struct vdp_chain *chain)
{
	uint16_t flags = vdp_packed_flags(q, at, __ATOMIC_ACQUIRE);

	if (!vdp_packed_is_avail(flags, at)) {
		q->seen = at;
		return 0;
	}
	*chain = (struct vdp_chain){0};
	q->saw_indirect = false;
	if (!packed_walk(q, at, flags, keep, pieces, chain))
		return -1;
	if (chain->length < q->shortest) {
		vdp_ring_fail(q, VDP_NIC_BAD_LENGTH, chain->length);
		return -1;
	}
	return 1;
}
