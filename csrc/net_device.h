/* Ethernet frames over virtqueues, as the device sees them. Ref: virtio 1.3, 5.1.6 */
#ifndef VDP_NET_DEVICE_H
#define VDP_NET_DEVICE_H

#include "queue.h"

#define VDP_NET_HDR   12u    /* struct virtio_net_hdr with VERSION_1 and nothing that makes it longer */
#define VDP_FRAME_MAX 65550u /* 65536 and an Ethernet header */
#define VDP_CHAIN_MAX (VDP_NET_HDR + VDP_FRAME_MAX)
#define VDP_BURST     64u

/* A frame that lies together, without virtio header. */
struct vdp_frame {
	const uint8_t *data;
	uint32_t length;
	uint16_t head; /* of the chain that it came in */
};

/*
 * Pieces of the one frame that is moved piece by piece. Pieces are never empty, so one for each byte is
 * enough whatever a guest does. The first piece of src is for the header.
 */
struct vdp_scratch {
	uint8_t header[VDP_NET_HDR];
	struct vdp_piece src[VDP_CHAIN_MAX + 1], dst[VDP_CHAIN_MAX];
};

/* The frames at the front of a transmit queue that are one plain descriptor each; not yet used. */
uint32_t vdp_net_peek(struct vdp_queue *tx, struct vdp_frame frames[VDP_BURST]);
/* Give the chains of n peeked frames back. */
void vdp_net_done(struct vdp_queue *tx, const struct vdp_frame *frames, uint32_t n);

/* The chain at the front, of any shape: its frame into scratch->src from [1] on. 1, 0 (none), -1 (error). */
int vdp_net_peek_chain(struct vdp_queue *tx, struct vdp_scratch *scratch, struct vdp_chain *chain);

/*
 * Put frames into receive buffers; those that find none are dropped and counted. Returns how many were
 * received: fewer than n also when the ring is in error.
 */
uint32_t vdp_net_deliver(struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch,
    const struct vdp_frame *frames, uint32_t n);
/* The same with the one frame in scratch->src from [1] on. */
uint32_t vdp_net_deliver_pieces(
    struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch, uint32_t length);

/* Make what was used in a poll known, and interrupt for it. Either may be NULL. */
void vdp_net_flush(struct vdp_queue *rx, struct vdp_queue *tx);

#endif
