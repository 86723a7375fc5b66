/* Doorbells: one way to ring, whoever answers. */
#ifndef VDP_DOORBELL_H
#define VDP_DOORBELL_H

#include <stdint.h>

enum vdp_doorbell_kind {
	VDP_DOORBELL_MMIO16,  /* 16-bit store to addr (virtio 1.3, 4.1.5.2) */
	VDP_DOORBELL_MMIO32,  /* 32-bit store, NOTIFICATION_DATA */
	VDP_DOORBELL_EVENTFD, /* write to an eventfd */
};

struct vdp_doorbell {
	uint32_t kind;       /* enum vdp_doorbell_kind */
	uint32_t value;      /* what is stored */
	volatile void *addr; /* of MMIO kinds */
	int fd;              /* of the eventfd kind; borrowed */
};

/* Order everything before it and ring. Returns 0 or -errno. */
int vdp_doorbell_ring(const struct vdp_doorbell *bell);

#endif
