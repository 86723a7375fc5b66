/* What a frame's header asks the receiver to do, done in software: checksums and segments. */
#ifndef VDP_MEND_H
#define VDP_MEND_H

#include "net_header.h"

/* Complete the checksum that the (checked) header tells of; frame in private memory. */
void vdp_mend_checksum(uint8_t *frame, uint32_t length, const struct vdp_net_hdr *header);

/* How a frame is cut. */
struct vdp_segments {
	const uint8_t *frame;
	uint32_t headers; /* bytes that each segment begins with */
	uint32_t network, transport;
	uint32_t payload, size; /* in all, and of each segment */
	uint32_t id;            /* of fragments, where the frame has none */
	bool ipv6, tcp, fragments;
	/* Of a tunnel: its own headers, 0: there is none; is a checksum wanted of it? */
	uint32_t outer_network, outer_transport;
	bool outer_ipv6, outer_sum;
};

/*
 * Can the frame, with its (checked) header, be cut? False for what does not hold the protocols that the
 * header names, and for UFO in a tunnel. The frame is borrowed, in private memory. tunnel: where it is, when
 * the header tells of one. UFO's pieces are IP fragments: the checksum of the whole is to be complete; id
 * tells them from those of other frames.
 */
bool vdp_segments_init(struct vdp_segments *ret, const uint8_t *frame, uint32_t length,
    const struct vdp_net_hdr *header, const struct vdp_tunnel *tunnel, uint32_t id);
/* Write the piece whose payload begins at an offset, with all checksums; returns its length. */
uint32_t vdp_segments_cut(const struct vdp_segments *segments, uint32_t at, uint8_t *to);

#endif
