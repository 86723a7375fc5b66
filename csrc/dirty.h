/* A dirty log that the device writes: a bit for each page that a packet was written to. */
#ifndef VDP_DIRTY_H
#define VDP_DIRTY_H

#include <stdbool.h>

#include "dma_reach.h"

#define VDP_DIRTY_PAGE_SHIFT 12u

/* Off while end is 0. Bit n of byte n / 8 from base on is page n of the IOVA space. */
struct vdp_dirty {
	uint64_t base, end; /* iova of the bitmap's first byte, and of the one after its last */
	struct vdp_dma_cache cache;
};

/*
 * Set the bits of [iova, iova + length), to be called after the write; length is not 0. Pages beyond the log
 * have no bit. Returns false, with a fault, when the IOMMU stops the access to the log at *fault.
 */
bool vdp_dirty_mark(
    struct vdp_dirty *log, struct vdp_dma *dma, uint64_t iova, uint32_t length, uint64_t *fault);

#endif
