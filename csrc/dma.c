#include "dma.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dma_reach.h"

struct vdp_dma_region {
	uint64_t iova, length;
	uint8_t *host;
	uint32_t perm;
};

struct vdp_dma {
	struct vdp_dma_region *regions; /* sorted by iova, no overlap */
	size_t count, capacity;
	uint64_t generation;
	/* Each fault stops a NIC, so a lock costs nothing and any number of them may share this map. */
	pthread_mutex_t lock;
	struct vdp_dma_fault faults[VDP_DMA_MAX_FAULTS];
	uint32_t fault_first, fault_count;
};

int vdp_dma_init(struct vdp_dma **ret)
{
	struct vdp_dma *dma = calloc(1, sizeof(*dma));
	int rc;

	if (!dma)
		return -ENOMEM;
	rc = pthread_mutex_init(&dma->lock, NULL);
	if (rc) {
		free(dma);
		return -rc;
	}
	*ret = dma;
	return 0;
}

void vdp_dma_fini(struct vdp_dma *dma)
{
	if (!dma)
		return;
	pthread_mutex_destroy(&dma->lock);
	free(dma->regions);
	free(dma);
}

/* Index of the first region that begins after iova. */
static size_t dma_after(const struct vdp_dma *dma, uint64_t iova)
{
	size_t low = 0, high = dma->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (dma->regions[middle].iova <= iova)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int dma_grow(struct vdp_dma *dma)
{
	size_t capacity = dma->capacity ? dma->capacity * 2 : 16;
	struct vdp_dma_region *regions;

	if (dma->count < dma->capacity)
		return 0;
	regions = realloc(dma->regions, capacity * sizeof(*regions));
	if (!regions)
		return -ENOMEM;
	dma->regions = regions;
	dma->capacity = capacity;
	return 0;
}

int vdp_dma_map(struct vdp_dma *dma, uint64_t iova, uint64_t length, void *host, uint32_t perm)
{
	struct vdp_dma_region *at;
	size_t i;
	int rc;

	if (!length || iova + (length - 1) < iova || (uintptr_t)host + (length - 1) < (uintptr_t)host)
		return -EINVAL;
	if (!perm || (perm & ~(VDP_DMA_READ | VDP_DMA_WRITE)))
		return -EINVAL;
	i = dma_after(dma, iova);
	if (i > 0 && iova - dma->regions[i - 1].iova < dma->regions[i - 1].length)
		return -EEXIST;
	if (i < dma->count && dma->regions[i].iova - iova < length)
		return -EEXIST;
	rc = dma_grow(dma);
	if (rc < 0)
		return rc;
	at = dma->regions + i;
	memmove(at + 1, at, (dma->count - i) * sizeof(*at));
	*at = (struct vdp_dma_region){.iova = iova, .length = length, .host = host, .perm = perm};
	dma->count++;
	dma->generation++;
	return 0;
}

int vdp_dma_unmap(struct vdp_dma *dma, uint64_t iova, uint64_t length)
{
	size_t i = dma_after(dma, iova);
	struct vdp_dma_region *at;

	if (i == 0 || dma->regions[i - 1].iova != iova || dma->regions[i - 1].length != length)
		return -ENOENT;
	at = dma->regions + i - 1;
	memmove(at, at + 1, (dma->count - i) * sizeof(*at));
	dma->count--;
	dma->generation++;
	return 0;
}

uint64_t vdp_dma_generation(const struct vdp_dma *dma)
{
	return dma->generation;
}

uint8_t *vdp_dma_run(struct vdp_dma *dma, struct vdp_dma_cache *cache, uint64_t iova, uint32_t length,
    uint32_t perm, uint32_t *run)
{
	uint64_t offset = iova - cache->iova;

	if (offset >= cache->length) {
		size_t i = dma ? dma_after(dma, iova) : 0;
		const struct vdp_dma_region *region;

		if (i == 0)
			return NULL;
		region = dma->regions + i - 1;
		offset = iova - region->iova;
		if (offset >= region->length)
			return NULL;
		*cache = (struct vdp_dma_cache){region->iova, region->length, region->host, region->perm};
	}
	if ((cache->perm & perm) != perm)
		return NULL;
	*run = cache->length - offset < length ? (uint32_t)(cache->length - offset) : length;
	return cache->host + offset;
}

void vdp_dma_fault(struct vdp_dma *dma, uint64_t iova, uint32_t length, uint32_t perm)
{
	if (!dma)
		return;
	pthread_mutex_lock(&dma->lock);
	if (dma->fault_count < VDP_DMA_MAX_FAULTS) {
		uint32_t at = (dma->fault_first + dma->fault_count++) % VDP_DMA_MAX_FAULTS;

		dma->faults[at] = (struct vdp_dma_fault){.iova = iova, .length = length, .perm = perm};
	}
	pthread_mutex_unlock(&dma->lock);
}

uint32_t vdp_dma_take_faults(struct vdp_dma *dma, struct vdp_dma_fault *out, uint32_t max)
{
	uint32_t n = 0;

	pthread_mutex_lock(&dma->lock);
	while (n < max && dma->fault_count > 0) {
		out[n++] = dma->faults[dma->fault_first];
		dma->fault_first = (dma->fault_first + 1) % VDP_DMA_MAX_FAULTS;
		dma->fault_count--;
	}
	pthread_mutex_unlock(&dma->lock);
	return n;
}
