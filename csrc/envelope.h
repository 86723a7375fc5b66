/*
 * Test frames (frame.h) inside TCP over IPv4, with a virtio header that asks for offloads.
 *
 * One envelope holds one test frame, or several of one size that a segmentation would part. Whoever receives
 * it finds either the header that was sent, or the work done: a right checksum, one test frame in each.
 */
#ifndef VDP_ENVELOPE_H
#define VDP_ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#define VDP_ENVELOPE        54u /* Ethernet, IPv4, TCP */
#define VDP_ENVELOPE_HEADER 12u /* struct virtio_net_hdr, before it */

/* Write what never changes. */
void vdp_envelope_prepare(uint8_t *frame, uint32_t flow, const uint8_t *dst, const uint8_t *src);
/* Lengths, the sum of the pseudo header, and the virtio header. gso_size 0: the checksum only. */
void vdp_envelope_close(uint8_t *header, uint8_t *frame, uint32_t payload, uint32_t gso_size);

struct vdp_opened {
	uint32_t payload, size; /* bytes in all, and of each test frame */
	bool asked;             /* the header still asks */
};

/* False: damaged, or neither header nor work. header and frame are private or at least not trusted. */
bool vdp_envelope_open(struct vdp_opened *ret, const uint8_t *header, const uint8_t *frame, uint32_t length);

#endif
