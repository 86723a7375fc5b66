/* A virtqueue of the software NIC: the ring, what it counts, and whom it calls. */
#ifndef VDP_QUEUE_H
#define VDP_QUEUE_H

#include <unistd.h>

#include "device_ring.h"
#include "nic.h"

/* The worker is the only writer; the relaxed store lets others read whole values. */
static inline void vdp_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Notification coalescing of a queue, and the notification that it holds back. Ref: 5.1.6.5.9 */
struct vdp_calm {
	uint64_t wait_ns; /* after the first buffer that the driver was not told of; 0: no coalescing */
	uint32_t packets; /* or after so many; 0: however many */
	bool owes;
	uint16_t since; /* what the driver was told of, as the ring counts */
	uint64_t begin; /* stats.packets when it was told last */
	uint64_t due_ns;
};

struct vdp_queue {
	struct vdp_ring ring;
	bool enabled; /* by the driver */
	bool live;    /* and its ring was found in memory */
	int call_fd;  /* borrowed, or -1 */
	bool unheard; /* atomic: the driver wanted a call, and there was nobody to call */
	struct vdp_queue_conf conf;
	int kick_fd;     /* our duplicate, or -1 */
	int doorbell_fd; /* made when first asked for */
	struct vdp_calm calm;
	struct vdp_queue_stats stats __attribute__((aligned(VDP_CACHE_LINE)));
} __attribute__((aligned(VDP_CACHE_LINE)));

/* nic_calm.c: notify later of what was used since then. */
void vdp_queue_owe(struct vdp_queue *queue, uint16_t since);

/* After what was used is published and a full fence: interrupt the driver if it wants that. */
static inline void vdp_queue_call(struct vdp_queue *queue, bool wanted)
{
	uint64_t one = 1;

	if (!wanted || queue->call_fd < 0) {
		if (wanted)
			__atomic_store_n(&queue->unheard, true, __ATOMIC_RELEASE);
		vdp_count(&queue->stats.calls_suppressed, 1);
		return;
	}
	/* EAGAIN: the counter is full, so the driver will wake up anyway. Nothing else can be done here. */
	if (write(queue->call_fd, &one, sizeof(one)) == sizeof(one))
		vdp_count(&queue->stats.calls, 1);
}

#endif
