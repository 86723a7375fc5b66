#include "device_ring.h"

void vdp_ring_fail(struct vdp_ring *q, uint32_t code, uint64_t detail)
{
	if (q->error->code != VDP_NIC_OK)
		return;
	*q->error = (struct vdp_nic_error){.code = code, .queue = q->index, .detail = detail};
}

bool vdp_ring_fault(struct vdp_ring *q, uint64_t iova, uint32_t length, uint32_t perm)
{
	vdp_dma_fault(q->dma, iova, length, perm);
	vdp_ring_fail(q, VDP_NIC_DMA_FAULT, iova);
	return false;
}

void vdp_ring_log(struct vdp_ring *q, uint64_t iova, uint32_t length)
{
	uint64_t fault;

	if (!vdp_dirty_mark(q->log, q->dma, iova, length, &fault))
		vdp_ring_fail(q, VDP_NIC_DMA_FAULT, fault);
}

void *vdp_ring_part(
    struct vdp_ring *q, uint64_t iova, uint32_t length, uint32_t align, uint32_t perm, bool report)
{
	void *part = NULL;

	if (iova % align) {
		if (report)
			vdp_ring_fail(q, VDP_NIC_BAD_RING, iova);
		return NULL;
	}
	part = vdp_dma_reach(q->dma, &q->cache, iova, length, perm);
	if (part && (q->cache.perm & perm) != perm)
		part = NULL;
	if (!part && report)
		vdp_ring_fault(q, iova, length, perm);
	/* The host's address must be as well aligned, or loads of indices are not atomic. */
	if (part && (uintptr_t)part % align) {
		if (report)
			vdp_ring_fail(q, VDP_NIC_BAD_RING, iova);
		return NULL;
	}
	return part;
}

bool vdp_ring_load(struct vdp_ring *q, uint64_t iova, void *desc)
{
	uint32_t done = 0, run;

	while (done < 16) {
		uint8_t *from = vdp_dma_run(q->dma, &q->cache, iova + done, 16 - done, VDP_DMA_READ, &run);

		if (!from)
			return vdp_ring_fault(q, iova + done, 16 - done, VDP_DMA_READ);
		memcpy((uint8_t *)desc + done, from, run);
		done += run;
	}
	return true;
}

/* Ref: 2.7.5.3, 2.8.8: whole descriptors, no more than the queue has */
bool vdp_ring_enter(struct vdp_ring *q, const struct vdp_buffer *table, bool allowed)
{
	if (!q->indirect_ok || !allowed || table->length == 0 || table->length % 16 ||
	    table->length / 16 > q->size || table->addr + table->length < table->addr) {
		vdp_ring_fail(q, VDP_NIC_BAD_INDIRECT, table->length);
		return false;
	}
	q->saw_indirect = true;
	return true;
}

/* Readable buffers come first, where a chain has both (2.7.4.2, 2.8.17). */
static bool right_direction(struct vdp_ring *q, const struct vdp_buffer *buffer, struct vdp_chain *chain)
{
	uint16_t writable = buffer->flags & VDP_DESC_WRITE;

	if (!q->mixed)
		return writable == q->flags;
	if (writable && !chain->turned) {
		chain->turned = true;
		chain->readable = chain->length;
		chain->readable_pieces = chain->pieces;
	}
	return writable || !chain->turned;
}

bool vdp_ring_add(struct vdp_ring *q, const struct vdp_buffer *buffer, uint32_t keep,
    struct vdp_piece *pieces, struct vdp_chain *chain)
{
	uint64_t iova = buffer->addr, kept;
	uint32_t length, perm;

	if (!right_direction(q, buffer, chain)) {
		vdp_ring_fail(q, VDP_NIC_BAD_ORDER, chain->id);
		return false;
	}
	perm = chain->turned ? VDP_DMA_WRITE : q->perm;
	kept = chain->length - chain->readable; /* of this part */
	kept = kept < keep ? keep - kept : 0;
	length = buffer->length < kept ? buffer->length : (uint32_t)kept;
	chain->length += buffer->length;
	if (chain->length > q->longest || iova + buffer->length < iova) {
		vdp_ring_fail(q, VDP_NIC_BAD_LENGTH, chain->length);
		return false;
	}
	while (length > 0) {
		uint32_t run;
		uint8_t *host = vdp_dma_run(q->dma, &q->cache, iova, length, perm, &run);

		if (!host)
			return vdp_ring_fault(q, iova, length, perm);
		pieces[chain->pieces++] = (struct vdp_piece){.addr = host, .length = run, .iova = iova};
		iova += run;
		length -= run;
	}
	return true;
}
