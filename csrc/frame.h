/*
 * Test frames: each carries magic, flow, sequence number, size and a checksum over all of it.
 *
 *	0  destination, source, ethertype 0x88b6 (local experimental 2)
 *	14 checksum of everything from 22 to the end
 *	22 magic, flow          (32 bits each, host order)
 *	30 sequence number      (64 bits), repeated every 64 bytes, so that a frame torn from two is noticed
 *	38 size, then a fixed pattern
 *
 * The checksum is linear in the 64-bit words (sum of word times an odd constant of its place), so a frame
 * that differs in one word never passes, and the sender computes it from the sequence number alone.
 */
#ifndef VDP_FRAME_H
#define VDP_FRAME_H

#include <stdint.h>

#define VDP_FRAME_MIN           60u
#define VDP_FRAME_MAX           65535u
#define VDP_FRAME_ETHERTYPE     0x88b6u
#define VDP_GENERATED_ETHERTYPE 0x88b5u /* what the software NIC's generate port sends */

enum vdp_frame_verdict { VDP_FRAME_GOOD, VDP_FRAME_CORRUPT, VDP_FRAME_FOREIGN };

/* What the checksum of a flow's frames of one size is made of: base + sequence * gain. */
struct vdp_frame_shape {
	uint32_t size;
	uint64_t base, gain;
};

/* Write the parts that never change into a buffer of size bytes. */
void vdp_frame_prepare(uint8_t *frame, uint32_t size, uint32_t flow, const uint8_t *dst, const uint8_t *src);
/* scratch: a prepared buffer of at least size bytes, overwritten. */
void vdp_frame_shape_init(struct vdp_frame_shape *ret, uint8_t *scratch, uint32_t size);
/* Number a prepared frame. */
void vdp_frame_number(uint8_t *frame, const struct vdp_frame_shape *shape, uint64_t sequence);

/* enum vdp_frame_verdict; *flow and *sequence are set for good frames. */
int vdp_frame_check(const uint8_t *frame, uint32_t length, uint32_t *flow, uint64_t *sequence);
/* The same for frames of the generate port: ethertype, then a big-endian sequence number. */
int vdp_frame_check_generated(const uint8_t *frame, uint32_t length, uint64_t *sequence);

uint64_t vdp_frame_sum(const uint8_t *data, uint32_t length); /* of at least 8 bytes */

#endif
