/* How workers reach memory through the software IOMMU. */
#ifndef VDP_DMA_REACH_H
#define VDP_DMA_REACH_H

#include <stddef.h>

#include "cpu.h"
#include "dma.h"

/* The region that was hit last, one for each queue. Stale after a change of the map: clear it. */
struct vdp_dma_cache {
	uint64_t iova, length; /* length 0: nothing cached */
	uint8_t *host;
	uint32_t perm;
};

/*
 * Where the bytes from iova on lie, and in *run how many lie together (at most length, at least 1). NULL when
 * the first byte is not mapped with perm. length is not 0.
 */
uint8_t *vdp_dma_run(struct vdp_dma *dma, struct vdp_dma_cache *cache, uint64_t iova, uint32_t length,
    uint32_t perm, uint32_t *run);

/* Note an access that was stopped. The oldest VDP_DMA_MAX_FAULTS are kept until they are taken. */
void vdp_dma_fault(struct vdp_dma *dma, uint64_t iova, uint32_t length, uint32_t perm);

/* Counts changes of the map. */
uint64_t vdp_dma_generation(const struct vdp_dma *dma);

/* The whole of [iova, iova + length) in one region, or NULL: then try vdp_dma_run. */
static inline uint8_t *vdp_dma_reach(
    struct vdp_dma *dma, struct vdp_dma_cache *cache, uint64_t iova, uint32_t length, uint32_t perm)
{
	uint64_t offset = iova - cache->iova;
	uint32_t run;
	uint8_t *host;

	if (VDP_LIKELY(offset < cache->length && length <= cache->length - offset && (cache->perm & perm)))
		return cache->host + offset;
	host = vdp_dma_run(dma, cache, iova, length, perm, &run);
	return host && run == length ? host : NULL;
}

#endif
