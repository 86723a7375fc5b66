/* The inside of a worker: the thread (worker.c), control (worker_control.c), and what a NIC needs of it
 * (nic_worker.c). */
#ifndef VDP_WORKER_IMPL_H
#define VDP_WORKER_IMPL_H

#include <pthread.h>
#include <stdbool.h>

#include "cpu.h"
#include "net_device.h"
#include "worker.h"

struct vdp_nic;

/* Bits of vdp_worker.attention. */
#define VDP_WORKER_PAUSE  1u
#define VDP_WORKER_STOP   2u
#define VDP_WORKER_INJECT 4u /* a NIC has a frame to inject */

struct vdp_worker {
	/* The thread's, and control's while it is parked. */
	struct vdp_nic **polled; /* polled again and again */
	struct vdp_nic **timed;  /* asleep until an event or their wake_ns */
	uint32_t polled_count, timed_count, rounds;
	bool fresh;                       /* a polled NIC is, too */
	struct vdp_nic *volatile current; /* whose memory is touched, for SIGBUS */
	struct vdp_scratch *scratch;
	int epoll_fd, wake_fd;
	struct vdp_nic **nics; /* all, each at its slot; NULL where none is */
	uint32_t slots, count;
	struct vdp_worker_stats stats __attribute__((aligned(VDP_CACHE_LINE)));

	/* Between them. */
	uint32_t attention __attribute__((aligned(VDP_CACHE_LINE))); /* atomic */
	pthread_t thread;
	pthread_mutex_t lock;   /* of all below */
	pthread_cond_t changed; /* of parked and pauses */
	uint32_t pauses;        /* by how many NICs */
	bool parked;
};

void *vdp_worker_main(void *worker); /* the thread */

/* Park the thread between two polls: each is taken back once. -ETIMEDOUT: it is not parked. Any thread. */
int vdp_worker_pause(struct vdp_worker *worker, uint32_t timeout_ms);
void vdp_worker_resume(struct vdp_worker *worker);

/* Have the thread look at its attention bits; any thread. */
void vdp_worker_call(struct vdp_worker *worker, uint32_t attention);

/* While parked: serve one NIC more, or no longer. It is asleep until it is polled or an event comes. */
int vdp_worker_add(struct vdp_worker *worker, struct vdp_nic *nic);
void vdp_worker_remove(struct vdp_worker *worker, struct vdp_nic *nic);

/* While parked, or by the thread: poll a NIC from now on, or let it sleep until its wake_ns. */
void vdp_worker_poll(struct vdp_worker *worker, struct vdp_nic *nic);
void vdp_worker_rest(struct vdp_worker *worker, struct vdp_nic *nic);

#endif
