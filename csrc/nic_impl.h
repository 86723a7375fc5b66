/* The inside of the software NIC: control (nic.c, nic_features.c), service (nic_worker.c), ports (port.h). */
#ifndef VDP_NIC_IMPL_H
#define VDP_NIC_IMPL_H

#include <pthread.h>

#include "net_device.h"
#include "nic.h"
#include "steer.h"
#include "worker_impl.h"

#define VDP_NIC_NO_QUEUE UINT32_MAX
#define VDP_PAGE_QUIET   UINT32_MAX /* in a doorbell page: not rung */

/* Receive and transmit queue of a pair, and what its port keeps. */
struct vdp_pair {
	struct vdp_queue *rx, *tx;
	uint64_t sequence; /* of the next generated frame */
	uint64_t next_ns;  /* when that is due; CLOCK_MONOTONIC, 0: not set */
	bool rx_starved;   /* wants receive buffers */
	bool tx_blocked;   /* the port takes no more right now: try again, do not sleep */
	void *port;        /* what the port keeps */
};

/* What is at the other end of the wire. */
struct vdp_port_ops {
	/*
	 * While the workers are paused; may be NULL. A port that reads fds has them watched: readable wakes
	 * the worker (once: read until EAGAIN). After a failed init comes fini.
	 */
	int (*init)(struct vdp_nic *nic);
	void (*fini)(struct vdp_nic *nic);
	/* Serve the pair once, at most a burst; returns the frames moved. */
	uint32_t (*poll)(struct vdp_nic *nic, struct vdp_pair *pair);
	/* A frame in scratch->src[1] came as if transmitted; NULL: it is lost. */
	void (*inject)(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length);

	/* Of ports that poll by vdp_port_exchange. Send frames out; returns how many were dealt with, sent or
	 * not. */
	uint32_t (*send)(
	    struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n);
	/* The same with one frame in scratch->src from [1] on. */
	bool (*send_pieces)(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t pieces, uint32_t length);
	/* Frames from outside to the driver; returns how many. */
	uint32_t (*receive)(struct vdp_nic *nic, struct vdp_pair *pair);

	/* Of ports that know more than fds tell; may be NULL. The worker goes to sleep, or not; is there
	 * work? */
	void (*asleep)(struct vdp_nic *nic, struct vdp_pair *pair, bool asleep);
	bool (*waiting)(struct vdp_nic *nic, struct vdp_pair *pair);
	/* Features are in force; may be NULL. */
	void (*negotiated)(struct vdp_nic *nic);
	bool generates; /* has work of its own: see next_ns and rx_starved */
	bool captures;  /* send is what captures frames */
	bool steers;    /* frames may come in any pair: each flow is given to the pair that sends in it */
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
	uint64_t features, high_features; /* bits 0 to 63, and from 64 on */
	uint32_t active_pairs;
	struct vdp_dirty log;
	bool running;   /* DRIVER_OK */
	bool mergeable; /* receive buffers */
	bool steers;    /* automatically, where the port does and there are pairs to choose from */
	bool calm;      /* there is a queue that coalesces notifications */
	bool look;      /* at each frame from the wire: filter, rules, rss or what headers tell ask for it */
	bool long_header; /* one with more than HASH_REPORT adds */
	bool reports;     /* HASH_REPORT */
	bool coalesces;   /* headers tell of coalesced segments: RSC_EXT */
	uint32_t longest; /* frame without a VLAN tag that may be received; UINT32_MAX: any */
	uint64_t guest_offloads, high_guest_offloads; /* NET_GUEST_* that the driver takes */
	struct vdp_filter filter;
	struct vdp_rss rss;
	struct vdp_steer steer;
	struct vdp_nic_error error;  /* as the worker found it */
	volatile uint32_t serving;   /* the queue whose memory is being touched, for SIGBUS */
	struct vdp_scratch *scratch; /* the worker's */
	uint64_t idle_since_ns;      /* 0: busy until now */
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
	int port_error;                /* atomic: errno that the port is down with, or 0 */
	struct vdp_inject *inject;     /* atomic: NULL until the first one */

	/* The worker's again: large, and looked at for few NICs. */
	struct vdp_flow_rules rules;

	/* Control's. */
	uint32_t pause_depth;
	struct vdp_pair *pairs;
	struct vdp_queue queues[] __attribute__((aligned(VDP_CACHE_LINE)));
};

/* nic_worker.c, for control: find a worker, which is paused then, and leave it. */
int vdp_nic_start(struct vdp_nic *nic);
void vdp_nic_stop(struct vdp_nic *nic);

/* nic_features.c, for control: the loops for the features in force. */
void vdp_nic_choose_loops(struct vdp_nic *nic);

/* nic_calm.c, for the worker: send the notifications that are due, and when the next one is (UINT64_MAX:
 * none) */
void vdp_nic_pay(struct vdp_nic *nic);
uint64_t vdp_nic_next_due(const struct vdp_nic *nic);

/*
 * Have the worker poll the NIC at each signal of fd (it counts as a kick of that queue, unless that is
 * VDP_NIC_NO_QUEUE). Edge-triggered: it is never read, so nobody can make us block on it. Take it away before
 * it is closed: with a duplicate in other hands, close alone would leave it watched.
 */
int vdp_nic_watch(struct vdp_nic *nic, int fd, uint32_t queue);
/*
 * receive.c: frames from the wire, for the driver. All ports come through here.
 *
 * The pair is the one whose receive queue they go to, unless the driver set up another steering. Frames that
 * the driver's filters stop, or for which there is no buffer, are dropped and counted. What their headers ask
 * for and the driver does not take, is done here. Of a table without headers (nic->net->headers) the headers
 * are not looked at. Returns how many were received; the pair's receive queue is to be flushed by the caller
 * (others, that steering chose, were).
 */
uint32_t vdp_receive(struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n);
/* A pair sends these: automatic steering, where nic->steers, gives it what comes back. Ref: 5.1.6.5.6 */
void vdp_receive_learn(
    struct vdp_nic *nic, const struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n);
/* The same with the one frame in scratch->src from [1] on, and its header in scratch->frame. */
uint32_t vdp_receive_pieces(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length);

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

static inline uint32_t vdp_nic_queues(const struct vdp_nic *nic)
{
	return nic->conf.pairs * 2;
}

/* NULL when there is no such queue. */
static inline struct vdp_queue *vdp_nic_queue(struct vdp_nic *nic, uint32_t queue)
{
	return queue < vdp_nic_queues(nic) ? nic->queues + queue : NULL;
}

#endif
