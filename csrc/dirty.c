#include "dirty.h"

bool vdp_dirty_mark(
    struct vdp_dirty *log, struct vdp_dma *dma, uint64_t iova, uint32_t length, uint64_t *fault)
{
	uint64_t last = (iova + (length - 1)) >> VDP_DIRTY_PAGE_SHIFT;

	for (uint64_t page = iova >> VDP_DIRTY_PAGE_SHIFT; page <= last; page++) {
		uint64_t at = log->base + page / 8;
		uint8_t bit = (uint8_t)(1u << page % 8), *byte;

		if (page / 8 >= log->end - log->base)
			return true;
		byte = vdp_dma_reach(dma, &log->cache, at, 1, VDP_DMA_WRITE);
		if (!byte) {
			vdp_dma_fault(dma, at, 1, VDP_DMA_WRITE);
			*fault = at;
			return false;
		}
		/* Whoever reads the log takes words out of it at the same time. */
		if (!(__atomic_load_n(byte, __ATOMIC_RELAXED) & bit))
			__atomic_fetch_or(byte, bit, __ATOMIC_RELEASE);
	}
	return true;
}
