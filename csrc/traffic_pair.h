/* One queue pair of a traffic thread (private to traffic.c and traffic_pair.c). */
#ifndef VDP_TRAFFIC_PAIR_H
#define VDP_TRAFFIC_PAIR_H

#include "envelope.h"
#include "frame.h"
#include "ledger.h"
#include "traffic.h"

struct vdp_pair {
	struct vdp_traffic_ring rx, tx;
	const struct vdp_traffic_conf *conf;
	struct vdp_traffic_stats *stats;
	struct vdp_frame_shape *shapes; /* one per entry of conf->sizes */
	uint32_t shape_at;
	uint32_t flow;
	uint32_t header;     /* bytes */
	uint64_t buffers;    /* sent */
	uint64_t off_below;  /* numbers below it were written off, if they were not back */
	uint64_t stall_seen; /* distinct at the last look, and when that was */
	uint64_t stall_ms;

	uint32_t need, have; /* a frame over several receive buffers: buffers to come, bytes so far */
	bool oversize;
	uint8_t *scratch;
	uint8_t says[VDP_ENVELOPE_HEADER]; /* header of the frame being received */
	struct vdp_ledger ledger;
};

int vdp_pair_init(struct vdp_pair *pair, const struct vdp_traffic_conf *conf, uint32_t flow,
    struct vdp_traffic_stats *stats);
void vdp_pair_fini(struct vdp_pair *pair);

/* traffic_frames.c: what never changes, in all transmit buffers. */
void vdp_pair_prepare(struct vdp_pair *pair);
/* Number the frames of a transmit buffer, at most `most`; returns how many. *length: bytes to send. */
uint32_t vdp_pair_number(struct vdp_pair *pair, uint8_t *buffer, uint32_t most, uint32_t *length);

void vdp_pair_begin(struct vdp_pair *pair, uint64_t now_ms); /* give the device all receive buffers */
/* Each returns how many chains moved; none once the pair failed. */
uint32_t vdp_pair_receive(struct vdp_pair *pair);
uint32_t vdp_pair_send(struct vdp_pair *pair);
uint32_t vdp_pair_reclaim(struct vdp_pair *pair);

uint64_t vdp_pair_in_flight(const struct vdp_pair *pair);
bool vdp_pair_finished(const struct vdp_pair *pair); /* sent its count and has its answers, or failed */
bool vdp_pair_drained(const struct vdp_pair *pair);  /* nothing left to wait for after stop */
void vdp_pair_look_for_stall(struct vdp_pair *pair, uint64_t now_ms);

void vdp_pair_no_calls(struct vdp_pair *pair);
bool vdp_pair_want_calls(struct vdp_pair *pair); /* false: look again before sleeping */

#endif
