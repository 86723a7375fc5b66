/* Ethernet frames over virtqueues, as the device sees them. Ref: virtio 1.3, 5.1.6 */
#ifndef VDP_NET_DEVICE_H
#define VDP_NET_DEVICE_H

#include "net_header.h"
#include "queue.h"

#define VDP_NET_HDR      12u    /* struct virtio_net_hdr with VERSION_1 and nothing that makes it longer */
#define VDP_NET_HDR_HASH 20u    /* with HASH_REPORT */
#define VDP_NET_HDR_MAX  32u    /* with OUT_NET_HEADER */
#define VDP_FRAME_MAX    65550u /* 65536 and an Ethernet header */
#define VDP_CHAIN_MAX    (VDP_NET_HDR_MAX + VDP_FRAME_MAX)
#define VDP_BURST        64u

/* A frame that lies together, without virtio header. */
struct vdp_frame {
	const uint8_t *data;
	uint32_t length;
	uint16_t id; /* of the buffer that it came in */
	/*
	 * What the header said or is to say. From and to a table without headers (struct vdp_net) it is not
	 * even set: see vdp_frame_header.
	 */
	struct vdp_net_hdr header;
};

/* A receive buffer about to be used. */
struct vdp_taken {
	uint32_t length;
	uint16_t at, id;
};

/*
 * Pieces of the one frame that is moved piece by piece. Pieces are never empty, so one for each byte is
 * enough whatever a guest does. The first piece of src is for the header.
 */
struct vdp_scratch {
	struct vdp_net_hdr frame; /* its header; of a table without headers all zero, and ignored */
	uint8_t header[VDP_NET_HDR_MAX];
	uint8_t linear[VDP_FRAME_MAX];  /* a frame to be looked at, or worked on */
	uint8_t segment[VDP_FRAME_MAX]; /* cut from it */
	struct vdp_piece src[VDP_CHAIN_MAX + 1], dst[VDP_CHAIN_MAX];
	struct vdp_taken taken[VDP_CHAIN_MAX / VDP_NET_HDR + 1];
};

/* The data path over one layout of the ring: which one is known when features are, not for each frame. */
struct vdp_net {
	/*
	 * Do frames carry virtio headers? Only where a feature was negotiated that puts something into them:
	 * other rings are served by loops that do not look.
	 */
	bool headers;
	bool (*size_ok)(const struct vdp_queue_conf *conf);
	/*
	 * Find the ring's parts through the IOMMU. Returns false when one is unmapped or unaligned; with
	 * report set that is also recorded, as a fault and as the error.
	 */
	bool (*attach)(struct vdp_ring *q, const struct vdp_queue_conf *conf, bool report);
	/* Did the driver offer buffers that we have not seen yet? */
	bool (*moved)(const struct vdp_ring *q);
	/*
	 * Ask for a notification of buffers beyond those seen, or for none. After "on" a full fence must
	 * come, and another look with moved. Ref: 2.7.10, 2.8.14
	 */
	void (*notify)(struct vdp_ring *q, bool on);
	/* How many buffers wait, if there are less than want. */
	uint16_t (*available)(struct vdp_ring *q, uint16_t want);

	/*
	 * The frames at the front of a transmit queue that are one plain descriptor each; not yet used. to:
	 * where they are going to be delivered, or NULL; its ring is fetched meanwhile.
	 */
	uint32_t (*peek)(
	    struct vdp_queue *tx, const struct vdp_queue *to, struct vdp_frame frames[VDP_BURST]);
	/* Give the chains of n peeked frames back. */
	void (*done)(struct vdp_queue *tx, const struct vdp_frame *frames, uint32_t n);
	/*
	 * The chain at the front, of any shape: its frame into scratch->src from [1] on, its header into
	 * scratch->frame, its length without header into chain->frame. 1, 0 (none), -1 (error), or
	 * VDP_NET_DROPPED: its header made no sense, and it was counted and given back.
	 */
	int (*peek_chain)(struct vdp_queue *tx, struct vdp_scratch *scratch, struct vdp_chain *chain);
	void (*done_chain)(struct vdp_queue *tx, const struct vdp_chain *chain);
	/*
	 * Put frames into receive buffers; those that find none are dropped and counted. Returns how many
	 * were received: fewer than n also when the ring is in error.
	 */
	uint32_t (*deliver)(struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch,
	    const struct vdp_frame *frames, uint32_t n);
	/* The same with the one frame in scratch->src from [1] on, and its header in scratch->frame. */
	uint32_t (*deliver_pieces)(
	    struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch, uint32_t length);
	/* Publish what was used, and notify. Either may be NULL. */
	void (*flush)(struct vdp_queue *rx, struct vdp_queue *tx);
	/* After a full fence: does the driver want to be notified of what was used since then? All is
	 * published. */
	bool (*wants_call)(struct vdp_ring *q, uint16_t since);
};

#define VDP_NET_DROPPED 2

extern const struct vdp_net vdp_net_split, vdp_net_packed;
extern const struct vdp_net vdp_net_split_headers, vdp_net_packed_headers;
extern const struct vdp_net vdp_net_split_mutant, vdp_net_packed_mutant;

/* What the frame's header says; NULL: nothing, it is a plain frame. */
static inline const struct vdp_net_hdr *vdp_frame_header(
    const struct vdp_net *net, const struct vdp_frame *frame)
{
	return net->headers && vdp_net_hdr_set(&frame->header) ? &frame->header : NULL;
}

/* Is it to be cut, by us or whoever takes it? */
static inline bool vdp_frame_segmented(const struct vdp_net *net, const struct vdp_frame *frame)
{
	return net->headers && frame->header.gso_type & ~VDP_GSO_ECN;
}

#endif
