#include "split_device.h"

bool vdp_split_attach(struct vdp_ring *q, const struct vdp_queue_conf *conf, bool report)
{
	uint32_t event = q->event_idx ? 2 : 0;

	q->mask = (uint16_t)(conf->size - 1);
	q->cache = (struct vdp_dma_cache){0};
	q->split.desc = vdp_ring_part(q, conf->desc, 16u * conf->size, 16, VDP_DMA_READ, report);
	q->split.avail = vdp_ring_part(q, conf->driver, 4 + 2u * conf->size + event, 2, VDP_DMA_READ, report);
	q->split.used = vdp_ring_part(q, conf->device, 4 + 8u * conf->size + event, 4, VDP_DMA_WRITE, report);
	return q->split.desc && q->split.avail && q->split.used;
}

/* A table of descriptors: the ring's own, or an indirect one, which is reached by address. */
struct split_table {
	uint64_t iova; /* of an indirect table */
	uint32_t count;
	bool indirect;
};

static bool split_load(
    struct vdp_ring *q, const struct split_table *table, uint16_t at, struct vdp_buffer *buffer)
{
	uint64_t desc[2];

	if (at >= table->count) {
		vdp_ring_fail(q, VDP_NIC_BAD_HEAD, at);
		return false;
	}
	if (!table->indirect) {
		*buffer = vdp_split_buffer(q->split.desc + at);
		return true;
	}
	if (!vdp_ring_load(q, table->iova + 16u * (uint64_t)at, desc))
		return false;
	*buffer = vdp_split_buffer(desc);
	return true;
}

static bool split_walk(struct vdp_ring *q, uint32_t keep, struct vdp_piece *pieces, struct vdp_chain *chain)
{
	struct split_table table = {.count = q->size};
	struct vdp_buffer buffer;
	uint16_t at = chain->id;

	for (uint32_t taken = 0; taken < table.count; taken++) {
		if (!split_load(q, &table, at, &buffer))
			return false;
		if (buffer.flags & VDP_DESC_INDIRECT) {
			/* Ref: 2.7.5.3: alone or at the end of a chain, not nested */
			if (!vdp_ring_enter(q, &buffer, !table.indirect && !(buffer.flags & VDP_DESC_NEXT)))
				return false;
			table = (struct split_table){buffer.addr, buffer.length / 16, true};
			at = 0;
			taken = UINT32_MAX; /* count anew: the table has its own length */
			continue;
		}
		if (!vdp_ring_add(q, &buffer, keep, pieces, chain))
			return false;
		if (!(buffer.flags & VDP_DESC_NEXT))
			return true;
		at = buffer.link;
	}
	vdp_ring_fail(q, VDP_NIC_LOOP, chain->id);
	return false;
}

int vdp_split_read(
    struct vdp_ring *q, uint16_t at, uint32_t keep, struct vdp_piece *pieces, struct vdp_chain *chain)
{
	uint16_t ahead = (uint16_t)(at - q->next);

	if (vdp_split_available(q, (uint16_t)(ahead + 1)) <= ahead)
		return q->error->code == VDP_NIC_OK ? 0 : -1;
	*chain = (struct vdp_chain){.id = vdp_split_head(q, at), .slots = 1};
	q->saw_indirect = false;
	if (!split_walk(q, keep, pieces, chain))
		return -1;
	if (chain->length < q->shortest) {
		vdp_ring_fail(q, VDP_NIC_BAD_LENGTH, chain->length);
		return -1;
	}
	return 1;
}
