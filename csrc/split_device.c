#include "split_device.h"

void vdp_split_fail(struct vdp_split *q, uint32_t code, uint64_t detail)
{
	if (q->error->code != VDP_NIC_OK)
		return;
	*q->error = (struct vdp_nic_error){.code = code, .queue = q->index, .detail = detail};
}

void vdp_split_log(struct vdp_split *q, uint64_t iova, uint32_t length)
{
	uint64_t fault;

	if (!vdp_dirty_mark(q->log, q->dma, iova, length, &fault))
		vdp_split_fail(q, VDP_NIC_DMA_FAULT, fault);
}

static void *split_part(
    struct vdp_split *q, uint64_t iova, uint32_t length, uint32_t align, uint32_t perm, bool report)
{
	void *part = NULL;

	if (iova % align) {
		if (report)
			vdp_split_fail(q, VDP_NIC_BAD_RING, iova);
		return NULL;
	}
	part = vdp_dma_reach(q->dma, &q->cache, iova, length, perm);
	if (!part && report) {
		vdp_dma_fault(q->dma, iova, length, perm);
		vdp_split_fail(q, VDP_NIC_DMA_FAULT, iova);
	}
	/* The host's address must be as well aligned, or loads of indices are not atomic. */
	if (part && (uintptr_t)part % align) {
		if (report)
			vdp_split_fail(q, VDP_NIC_BAD_RING, iova);
		return NULL;
	}
	return part;
}

bool vdp_split_attach(struct vdp_split *q, const struct vdp_queue_conf *conf, bool report)
{
	uint32_t event = q->event_idx ? 2 : 0;

	q->cache = (struct vdp_dma_cache){0};
	q->desc = split_part(q, conf->desc, 16u * conf->size, 16, VDP_DMA_READ, report);
	q->avail = split_part(q, conf->driver, 4 + 2u * conf->size + event, 2, VDP_DMA_READ, report);
	q->used = split_part(q, conf->device, 4 + 8u * conf->size + event, 4, VDP_DMA_WRITE, report);
	return q->desc && q->avail && q->used;
}

/* A table of descriptors: the ring's own, or an indirect one, which is reached by address. */
struct split_table {
	uint64_t iova; /* of an indirect table */
	uint32_t count;
	bool indirect;
};

static bool split_fault(struct vdp_split *q, uint64_t iova, uint32_t length, uint32_t perm)
{
	vdp_dma_fault(q->dma, iova, length, perm);
	vdp_split_fail(q, VDP_NIC_DMA_FAULT, iova);
	return false;
}

/* A table may lie across two regions, even in the middle of a descriptor. */
static bool split_load_indirect(struct vdp_split *q, uint64_t iova, struct vdp_split_desc *desc)
{
	uint32_t done = 0, run;

	while (done < sizeof(*desc)) {
		uint32_t left = (uint32_t)sizeof(*desc) - done;
		uint8_t *from = vdp_dma_run(q->dma, &q->cache, iova + done, left, VDP_DMA_READ, &run);

		if (!from)
			return split_fault(q, iova + done, left, VDP_DMA_READ);
		memcpy((uint8_t *)desc + done, from, run);
		done += run;
	}
	return true;
}

static bool split_load(
    struct vdp_split *q, const struct split_table *table, uint16_t at, struct vdp_split_desc *desc)
{
	if (at >= table->count) {
		vdp_split_fail(q, VDP_NIC_BAD_HEAD, at);
		return false;
	}
	if (table->indirect)
		return split_load_indirect(q, table->iova + 16u * (uint64_t)at, desc);
	*desc = vdp_split_load_desc(q->desc + at);
	return true;
}

/* Ref: 2.7.5.3: alone or at the end of a chain, not nested, whole descriptors, no longer than the queue */
static bool split_enter(struct vdp_split *q, const struct vdp_split_desc *desc, struct split_table *table)
{
	if (!q->indirect_ok || table->indirect || (desc->flags & VDP_DESC_NEXT) || desc->length == 0 ||
	    desc->length % 16 || desc->length / 16 > q->size || desc->addr + desc->length < desc->addr) {
		vdp_split_fail(q, VDP_NIC_BAD_INDIRECT, desc->length);
		return false;
	}
	*table = (struct split_table){.iova = desc->addr, .count = desc->length / 16, .indirect = true};
	q->saw_indirect = true;
	return true;
}

/* Add a buffer to the chain; only its part within keep is translated, since no more will be touched. */
static bool split_add(struct vdp_split *q, const struct vdp_split_desc *desc, uint32_t keep,
    struct vdp_piece *pieces, struct vdp_chain *chain)
{
	uint64_t kept = chain->length < keep ? keep - chain->length : 0;
	uint32_t length = desc->length < kept ? desc->length : (uint32_t)kept;
	uint64_t iova = desc->addr;

	if ((desc->flags & VDP_DESC_WRITE) != q->flags) {
		vdp_split_fail(q, VDP_NIC_BAD_ORDER, chain->head);
		return false;
	}
	chain->length += desc->length;
	if (chain->length > q->longest || iova + desc->length < iova) {
		vdp_split_fail(q, VDP_NIC_BAD_LENGTH, chain->length);
		return false;
	}
	while (length > 0) {
		uint32_t run;
		uint8_t *host = vdp_dma_run(q->dma, &q->cache, iova, length, q->perm, &run);

		if (!host)
			return split_fault(q, iova, length, q->perm);
		pieces[chain->pieces++] = (struct vdp_piece){.addr = host, .length = run, .iova = iova};
		iova += run;
		length -= run;
	}
	return true;
}

static bool split_walk(struct vdp_split *q, uint32_t keep, struct vdp_piece *pieces, struct vdp_chain *chain)
{
	struct split_table table = {.count = q->size};
	struct vdp_split_desc desc;
	uint16_t at = chain->head;

	for (uint32_t taken = 0; taken < table.count; taken++) {
		if (!split_load(q, &table, at, &desc))
			return false;
		if (desc.flags & VDP_DESC_INDIRECT) {
			if (!split_enter(q, &desc, &table))
				return false;
			at = 0;
			taken = UINT32_MAX; /* count anew: the table has its own length */
			continue;
		}
		if (!split_add(q, &desc, keep, pieces, chain))
			return false;
		if (!(desc.flags & VDP_DESC_NEXT))
			return true;
		at = desc.next;
	}
	vdp_split_fail(q, VDP_NIC_LOOP, chain->head);
	return false;
}

int vdp_split_read(
    struct vdp_split *q, uint16_t ahead, uint32_t keep, struct vdp_piece *pieces, struct vdp_chain *chain)
{
	if (vdp_split_available(q, (uint16_t)(ahead + 1)) <= ahead)
		return q->error->code == VDP_NIC_OK ? 0 : -1;
	*chain = (struct vdp_chain){.head = vdp_split_head(q, ahead)};
	q->saw_indirect = false;
	if (!split_walk(q, keep, pieces, chain))
		return -1;
	if (chain->length < q->shortest) {
		vdp_split_fail(q, VDP_NIC_BAD_LENGTH, chain->length);
		return -1;
	}
	return 1;
}
