/* A software IOMMU: what is not mapped is not reached. */
#ifndef VDP_DMA_H
#define VDP_DMA_H

#include <stdint.h>

#define VDP_DMA_READ       1u /* the device may read */
#define VDP_DMA_WRITE      2u
#define VDP_DMA_MAX_FAULTS 64u

struct vdp_dma_fault {
	uint64_t iova;
	uint32_t length;
	uint32_t perm; /* what was tried */
};

struct vdp_dma; /* regions sorted by iova, and a ring of faults */

int vdp_dma_init(struct vdp_dma **ret);
void vdp_dma_fini(struct vdp_dma *dma);

/*
 * Change the map. Only while every NIC that uses it is paused (vdp_nic_pause). -EEXIST for an overlap,
 * -EINVAL for zero size or an address that wraps, -ENOENT when no map begins at iova with this size.
 */
int vdp_dma_map(struct vdp_dma *dma, uint64_t iova, uint64_t length, void *host, uint32_t perm);
int vdp_dma_unmap(struct vdp_dma *dma, uint64_t iova, uint64_t length);

/* Take up to max recorded faults, oldest first; returns how many. Any thread. */
uint32_t vdp_dma_take_faults(struct vdp_dma *dma, struct vdp_dma_fault *out, uint32_t max);

#endif
