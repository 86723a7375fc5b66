/*
 * Headers of frames as the data path reads and writes them: a part of net_loops.h, and like it there once
 * with NET_HEADERS 1 and once without.
 */
#include "net_device.h"

#define NET_HDR(ring) (NET_HEADERS ? (ring)->header : VDP_NET_HDR)

/* Of a frame that a driver sent; false: it makes no sense. */
static inline bool net_header_in(
    const struct vdp_ring *q, struct vdp_net_hdr *header, const uint8_t *from, uint32_t length)
{
	uint8_t copy[VDP_NET_HDR_TUNNEL]; /* the driver may change it while we look */

	__builtin_memcpy(copy, from, VDP_NET_HDR);
	if (VDP_LIKELY(!(copy[0] | copy[1]))) {
		*header = (struct vdp_net_hdr){0};
		return true;
	}
	if (VDP_UNLIKELY(q->offloads & VDP_OFFLOAD_TUNNEL)) {
		__builtin_memcpy(copy + VDP_NET_HDR, from + VDP_NET_HDR, VDP_NET_HDR_TUNNEL - VDP_NET_HDR);
		*header = vdp_net_hdr_unpack_tunnel(copy);
	} else {
		*header = vdp_net_hdr_unpack(copy);
	}
	return !vdp_net_hdr_set(header) || vdp_net_hdr_check(header, length, q->offloads);
}

/*
 * The first 12 bytes to the driver. Ref: 5.1.6.4.1: num_buffers is 1 unless a frame was merged; without
 * headers the rest is 0.
 */
static inline void net_header(uint8_t *header, const struct vdp_net_hdr *says, uint16_t buffers)
{
	uint64_t low, want_low = 0;
	uint32_t high, want = (uint32_t)buffers << 16;

	if (NET_HEADERS) {
		want_low = says->flags | (uint64_t)says->gso_type << 8 | (uint64_t)says->hdr_len << 16 |
			   (uint64_t)says->gso_size << 32 | (uint64_t)says->csum_start << 48;
		want |= says->csum_offset;
	}
	/* Mostly it says so already: then the line stays shared with the driver's processor. */
	__builtin_memcpy(&low, header, 8);
	__builtin_memcpy(&high, header + 8, 4);
	if (low == want_low && high == want)
		return;
	__builtin_memcpy(header, &want_low, 8);
	__builtin_memcpy(header + 8, &want, 4);
}

/* What HASH_REPORT adds. Ref: 5.1.6.4 */
static inline void net_header_hash(uint8_t *header, const struct vdp_net_hdr *says)
{
	uint64_t want = says->hash | (uint64_t)says->hash_report << 32;

	__builtin_memcpy(header + VDP_NET_HDR, &want, 8);
}

/* What tunnels and OUT_NET_HEADER add. Ref: virtio 1.4, 5.1.6 */
static inline void net_header_tail(const struct vdp_ring *q, uint8_t *header)
{
	if (VDP_UNLIKELY(NET_HDR(q) > VDP_NET_HDR_HASH))
		__builtin_memcpy(header + VDP_NET_HDR_HASH, q->tail, NET_HDR(q) - VDP_NET_HDR_HASH);
}

/* All of the header. */
static inline void net_header_out(
    const struct vdp_ring *q, uint8_t *header, const struct vdp_net_hdr *says, uint16_t buffers)
{
	net_header(header, says, buffers);
	if (NET_HDR(q) > VDP_NET_HDR) {
		net_header_hash(header, says);
		net_header_tail(q, header);
	}
}
