/*
 * What memory says at the very moment when a word of it changes: Python would look too late to tell in which
 * order a device writes. Our own memory only: nobody else may truncate it.
 */
#ifndef VDP_RING_WATCH_H
#define VDP_RING_WATCH_H

#include <stdint.h>

#define VDP_WATCH_AREAS 4u

struct vdp_watch_area {
	const void *from;
	void *to; /* private */
	uint32_t length;
};

struct vdp_watch {
	const uint16_t *word;
	uint16_t mask, was; /* it has changed when (*word & mask) != was */
	uint32_t count;     /* of areas */
	struct vdp_watch_area areas[VDP_WATCH_AREAS];
	uint32_t watching; /* atomic: set once it looks, or after it */
};

/* Spin until the word changes, then copy the areas at once. 0, or -ETIMEDOUT with nothing copied. */
int vdp_watch_run(struct vdp_watch *watch, uint64_t timeout_ns);

#endif
