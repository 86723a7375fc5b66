/* What both layouts of the driver's half keep privately (split_driver.c, packed_driver.c). */
#ifndef VDP_DRIVER_CHAIN_H
#define VDP_DRIVER_CHAIN_H

#include "driver.h"

struct vdp_driver_chain {
	uint64_t cookie;
	uint64_t serial;   /* of the add: says whether it was published, and its place in a batch */
	uint32_t writable; /* bytes, saturated */
	uint16_t length;   /* descriptors taken from the ring; 0: not in use */
};

/*
 * IN_ORDER: a used entry names the last chain of a batch, which begins with the oldest that the device owns.
 * Those before the last were used in full and have no entry. Ref: virtio 1.3, 2.7.9 and 2.8.8
 */
struct vdp_driver_batch {
	uint64_t left; /* chains not yet taken */
	uint32_t length;
};

/* Readable buffers come first (2.7.4.2, 2.8.17). *writable: bytes, saturated. */
static inline bool vdp_driver_chain_ok(const struct vdp_buf *bufs, uint32_t count, uint32_t *writable)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (i && bufs[i - 1].writable && !bufs[i].writable)
			return false;
		sum += bufs[i].writable ? bufs[i].len : 0;
	}
	*writable = sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
	return count > 0;
}

/* What the device wrote into the next chain of a batch: all of it, but for the last one. */
static inline uint32_t vdp_driver_batch_take(
    struct vdp_driver_batch *batch, const struct vdp_driver_chain *chain)
{
	return --batch->left ? chain->writable : batch->length;
}

#endif
