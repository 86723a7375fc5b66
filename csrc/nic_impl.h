/* The inside of the software NIC: control (nic.c), service (nic_worker.c) and ports (nic_port.c). */
#ifndef VDP_NIC_IMPL_H
#define VDP_NIC_IMPL_H

#include <pthread.h>

#include "net_device.h"
#include "nic.h"
#include "worker_impl.h"

#define VDP_NIC_NO_QUEUE UINT32_MAX
#define VDP_PAGE_QUIET   UINT32_MAX /* in a doorbell page: not rung */

/* Receive and transmit queue of a pair, and what its port keeps. */
struct vdp_pair {
	struct vdp_queue *rx, *tx;
	uint64_t sequence; /* of the next generated frame */
	uint64_t next_ns;  /* when that is due; CLOCK_MONOTONIC, 0: not set */
	bool rx_starved;   /* wants receive buffers */
};

/* What is at the other end of the wire. */
struct vdp_port_ops {
	/* Serve the pair once, at most a burst; returns the frames moved. */
	uint32_t (*poll)(struct vdp_nic *nic, struct vdp_pair *pair);
	/* A frame in scratch->src[1] came as if transmitted; NULL: it is lost. */
	void (*inject)(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length);
	bool generates; /* has work of its own: see next_ns and rx_starved */
};

extern const struct vdp_port_ops *const vdp_ports[];
extern const uint32_t vdp_ports_count;

struct vdp_inject {
	uint32_t state; /* enum inject_state, atomic */
	uint32_t pair, length;
	uint8_t frame[VDP_FRAME_MAX];
};

enum vdp_inject_state { VDP_INJECT_FREE, VDP_INJECT_FILLING, VDP_INJECT_FULL };

/* In which of the worker's lists. */
enum vdp_nic_place { VDP_NIC_ASLEEP, VDP_NIC_POLLED, VDP_NIC_TIMED };

struct vdp_nic {
	/* The worker's, and control's while paused. */
	struct vdp_nic_conf conf;
	const struct vdp_port_ops *port;
	const struct vdp_net *net; /* by the layout of the rings */
	struct vdp_dma *dma;       /* borrowed */
	uint64_t dma_generation;
	uint64_t features;
	uint32_t active_pairs;
	struct vdp_dirty log;
	bool running;                /* DRIVER_OK */
	bool mergeable;              /* receive buffers */
	struct vdp_nic_error error;  /* as the worker found it */
	volatile uint32_t serving;   /* the queue whose memory is being touched, for SIGBUS */
	struct vdp_scratch *scratch; /* the worker's */
	uint8_t *generated;          /* generated_slots frames of generate_size bytes */
	uint32_t generated_slots;
	uint64_t idle_since_ns; /* 0: busy until now */
	/* Its place in the worker's lists (worker_impl.h), and when to look at it while it sleeps. */
	uint32_t slot, at;
	enum vdp_nic_place place;
	bool fresh;
	uint64_t due_ns, wake_ns; /* of its own work; of that or the doorbell pages. UINT64_MAX: by events */
	int config_call_fd;       /* borrowed, or -1 */

	/* Between them. */
	struct vdp_worker *worker;
	bool own_worker;
	pthread_mutex_t lock;          /* of reported, and of what is made when first asked for */
	struct vdp_nic_error reported; /* the error, for any thread */
	struct vdp_inject *inject;     /* atomic: NULL until the first one */

	/* Control's. */
	uint32_t pause_depth;
	struct vdp_pair *pairs;
	struct vdp_queue queues[] __attribute__((aligned(VDP_CACHE_LINE)));
};

/* nic_worker.c, for control: find a worker, which is paused then, and leave it. */
int vdp_nic_start(struct vdp_nic *nic);
void vdp_nic_stop(struct vdp_nic *nic);

/*
 * Have the worker poll the NIC at each signal of fd (it counts as a kick of that queue, unless that is
 * VDP_NIC_NO_QUEUE). Edge-triggered: it is never read, so nobody can make us block on it. Take it away before
 * it is closed: with a duplicate in other hands, close alone would leave it watched.
 */
int vdp_nic_watch(struct vdp_nic *nic, int fd, uint32_t queue);
void vdp_nic_unwatch(struct vdp_nic *nic, int fd);

/* nic_worker.c, for the worker; nic_serve.h is the rest. */
bool vdp_nic_idle(struct vdp_nic *nic);    /* nothing came; true: it may sleep until its wake_ns */
void vdp_nic_report(struct vdp_nic *nic);  /* its error, to whom it concerns */
void vdp_nic_welcome(struct vdp_nic *nic); /* before it is polled again */
bool vdp_nic_due(struct vdp_nic *nic, uint64_t now_ns); /* at wake_ns: is there something to do? */
void vdp_nic_memory_gone(struct vdp_nic *nic);          /* SIGBUS while it was served */

static inline bool vdp_nic_serves(const struct vdp_nic *nic)
{
	return nic->running && nic->error.code == VDP_NIC_OK;
}

static inline uint32_t *vdp_nic_page(const struct vdp_nic *nic, uint32_t queue)
{
	size_t pair = (size_t)(queue / 2) * nic->conf.pair_stride;

	return (uint32_t *)((uint8_t *)nic->conf.pages + pair + (size_t)(queue % 2) * nic->conf.page_stride);
}

/* May the queue be served? An enabled queue whose ring is gone is an error. */
static inline bool vdp_nic_usable(struct vdp_nic *nic, struct vdp_queue *queue)
{
	if (VDP_LIKELY(queue->live))
		return true;
	if (queue->enabled && nic->error.code == VDP_NIC_OK)
		nic->net->attach(&queue->ring, &queue->conf, true);
	return false;
}

#endif
