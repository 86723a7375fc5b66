/* The inside of the software NIC: control (nic.c), the worker (nic_worker.c) and ports (port.h). */
#ifndef VDP_NIC_IMPL_H
#define VDP_NIC_IMPL_H

#include <pthread.h>

#include "net_device.h"
#include "nic.h"
#include "steer.h"

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
};

extern const struct vdp_port_ops *const vdp_ports[];
extern const uint32_t vdp_ports_count;

struct vdp_inject {
	uint32_t state; /* enum inject_state, atomic */
	uint32_t pair, length;
	uint8_t frame[VDP_FRAME_MAX];
};

enum vdp_inject_state { VDP_INJECT_FREE, VDP_INJECT_FILLING, VDP_INJECT_FULL };

struct vdp_capture;

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
	bool running;            /* DRIVER_OK */
	bool mergeable;          /* receive buffers */
	bool look;               /* at each frame from the wire: filter or rss asks for it */
	uint64_t guest_offloads; /* NET_GUEST_* that the driver takes */
	struct vdp_filter filter;
	struct vdp_rss rss;
	struct vdp_steer steer;
	struct vdp_nic_error error; /* as the worker found it */
	volatile uint32_t serving;  /* the queue whose memory is being touched, for SIGBUS */
	struct vdp_scratch *scratch;
	struct vdp_capture *capture; /* or NULL */
	uint64_t idle_since_ns;      /* 0: busy until now */
	struct vdp_worker_stats stats __attribute__((aligned(VDP_CACHE_LINE)));

	/* Between them. */
	pthread_t thread;
	int epoll_fd, wake_fd;
	uint32_t stop, want_pause; /* atomic */
	pthread_mutex_t lock;      /* of all below */
	pthread_cond_t changed;    /* of parked and want_pause */
	bool parked;
	struct vdp_nic_error reported;
	int config_call_fd; /* borrowed, or -1 */
	int port_error;     /* atomic: errno that the port is down with, or 0 */
	struct vdp_inject *inject;

	/* Control's. */
	uint32_t pause_depth;
	struct vdp_pair *pairs;
	struct vdp_queue queues[] __attribute__((aligned(VDP_CACHE_LINE)));
};

/* nic_worker.c */
int vdp_nic_start(struct vdp_nic *nic);
void vdp_nic_stop(struct vdp_nic *nic);
void vdp_nic_wake(struct vdp_nic *nic);
/* Wake the worker at each signal of fd. Edge-triggered: it is never read, so nobody can make us block on it.
 */
int vdp_nic_watch(struct vdp_nic *nic, int fd, uint32_t queue);
/* By hand: with a duplicate in other hands, close alone would leave it in the set. */
void vdp_nic_unwatch(struct vdp_nic *nic, int fd);

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
/* The same with the one frame in scratch->src from [1] on, and its header in scratch->frame. */
uint32_t vdp_receive_pieces(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length);

static inline uint32_t *vdp_nic_page(const struct vdp_nic *nic, uint32_t queue)
{
	return (uint32_t *)((uint8_t *)nic->conf.pages + (size_t)queue * nic->conf.page_stride);
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
