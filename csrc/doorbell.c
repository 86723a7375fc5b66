#include "doorbell.h"

#include <errno.h>
#include <unistd.h>

#include "mmio.h"

int vdp_doorbell_ring(const struct vdp_doorbell *bell)
{
	uint64_t one = 1;

	/* The device must see the ring before the bell (virtio 1.3, 2.7.13.4). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	switch (bell->kind) {
	case VDP_DOORBELL_MMIO16:
		vdp_mmio_write16(bell->addr, (uint16_t)bell->value);
		return 0;
	case VDP_DOORBELL_MMIO32:
		vdp_mmio_write32(bell->addr, bell->value);
		return 0;
	case VDP_DOORBELL_EVENTFD:
		/* EAGAIN: the counter is full, so the other side is woken anyway. */
		if (write(bell->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
			return -errno;
		return 0;
	default:
		return -EINVAL;
	}
}
