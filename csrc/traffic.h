/*
 * Traffic: a thread that drives queue pairs as a guest would and accounts for every frame (frame.h).
 *
 * It fills the receive rings, sends numbered frames and checks what comes back. Buffers lie in guest memory,
 * one per descriptor, so that a descriptor is written once and then only reused.
 */
#ifndef VDP_TRAFFIC_H
#define VDP_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "doorbell.h"
#include "driver.h"

#define VDP_TRAFFIC_MAX_PAIRS    128u
#define VDP_TRAFFIC_MAX_SEGMENTS 16u
#define VDP_TRAFFIC_MAX_BURST    256u
#define VDP_TRAFFIC_HEADER       12u /* struct virtio_net_hdr with VERSION_1 (virtio 1.3, 5.1.6) */
#define VDP_TRAFFIC_HEADER_HASH  20u /* and with HASH_REPORT */

enum vdp_traffic_mode {
	VDP_TRAFFIC_ECHO,     /* send, and expect each frame back on the same pair */
	VDP_TRAFFIC_RECEIVE,  /* check the numbers of a generate port's frames */
	VDP_TRAFFIC_TRANSMIT, /* send only */
};

/* What the device is asked to do with each frame: then they travel in envelopes (envelope.h). */
enum vdp_traffic_offload {
	VDP_TRAFFIC_PLAIN,
	VDP_TRAFFIC_CSUM, /* complete the checksum */
	VDP_TRAFFIC_TSO,  /* and cut several frames apart */
};

struct vdp_traffic_ring {
	struct vdp_driver *driver; /* borrowed; NULL when the mode does not need it */
	struct vdp_doorbell bell;
	int32_t call;      /* eventfd, O_NONBLOCK, borrowed */
	uint8_t *buffers;  /* one per descriptor, stride bytes apart */
	uint64_t gpa;      /* of the first buffer */
	uint32_t stride;   /* the device may write all of a receive buffer */
	uint32_t segments; /* descriptors per buffer; from 2 on the first one holds the header */
};

struct vdp_traffic_pair {
	struct vdp_traffic_ring rx, tx;
};

struct vdp_traffic_conf {
	uint32_t mode; /* enum vdp_traffic_mode */
	uint32_t pairs;
	const struct vdp_traffic_pair *pair; /* copied */
	const uint32_t *sizes;               /* of frames, bytes without header; taken in turn; copied */
	uint32_t size_count;
	uint32_t window;   /* frames in flight per pair at most */
	uint32_t burst;    /* frames taken or sent at a time, up to 256 */
	uint64_t count;    /* frames per pair, 0: until stopped */
	uint32_t poll_us;  /* poll this long without a frame, then sleep; UINT32_MAX: never sleep */
	uint32_t stall_ms; /* frames without an answer for so long no longer fill the window */
	uint32_t drain_ms; /* how long to wait for answers when stopped */
	int32_t cpu;       /* pin the thread, or -1 */
	bool mergeable;    /* NET_MRG_RXBUF */
	uint32_t header;   /* bytes, 12 (or 0) or 20 */
	uint32_t offload;  /* enum vdp_traffic_offload */
	uint32_t together; /* with TSO: how many frames in one envelope; they are of one size then */
	uint8_t dst[6], src[6];
};

/* Single writer: the thread. All uint64_t; Python reads it by these names. */
struct vdp_traffic_stats {
	uint64_t sent, sent_bytes;
	uint64_t transmitted;              /* transmit buffers the device gave back */
	uint64_t received, received_bytes; /* good frames, repetitions included */
	uint64_t distinct;
	uint64_t duplicated;
	uint64_t reordered; /* after a frame with a higher number */
	uint64_t corrupt;
	uint64_t foreign;     /* not ours, or another pair's */
	uint64_t missing;     /* gaps in the numbers received */
	uint64_t written_off; /* sent and not back after stall_ms; may still come */
	uint64_t kicks, calls;
	uint64_t fault; /* enum vdp_driver_fault_code: the pair stopped */
	uint64_t fault_detail;
	uint64_t offloaded; /* frames that came back with the header that asks for the offload */
	uint64_t hashed;    /* buffers whose header reports a hash */
};

struct vdp_traffic;

int vdp_traffic_init(struct vdp_traffic **ret, const struct vdp_traffic_conf *conf); /* starts the thread */
void vdp_traffic_stop(struct vdp_traffic *traffic); /* drains and joins; counters stay readable */
void vdp_traffic_fini(struct vdp_traffic *traffic);

const struct vdp_traffic_stats *vdp_traffic_stats(const struct vdp_traffic *traffic, uint32_t pair);
uint64_t vdp_traffic_sleeps(const struct vdp_traffic *traffic);
/* Readable once every pair sent its count and has its answers, or has failed. Owned by the traffic. */
int vdp_traffic_done_fd(const struct vdp_traffic *traffic);

#endif
