/* The virtio header of a frame: what it says, and whether that can be true. Ref: virtio 1.3, 5.1.6 */
#ifndef VDP_NET_HEADER_H
#define VDP_NET_HEADER_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VDP_HDR_NEEDS_CSUM  1u
#define VDP_HDR_DATA_VALID  2u
#define VDP_HDR_RSC_INFO    4u
#define VDP_HDR_TUNNEL_CSUM 8u

#define VDP_GSO_NONE   0u
#define VDP_GSO_TCPV4  1u
#define VDP_GSO_UDP    3u
#define VDP_GSO_TCPV6  4u
#define VDP_GSO_UDP_L4 5u
#define VDP_GSO_ECN    0x80u
/* In a UDP tunnel, by the version of the inner IP header. */
#define VDP_GSO_TUNNEL_V4 0x20u
#define VDP_GSO_TUNNEL_V6 0x40u
#define VDP_GSO_TUNNEL    (VDP_GSO_TUNNEL_V4 | VDP_GSO_TUNNEL_V6)

#define VDP_NET_HDR_TUNNEL 24u /* bytes of a header that has room for struct vdp_tunnel */

/* What a driver may send (of a transmit queue) or takes (of a receive queue). */
enum vdp_offload {
	VDP_OFFLOAD_CSUM = 1,
	VDP_OFFLOAD_TSO4 = 2,
	VDP_OFFLOAD_TSO6 = 4,
	VDP_OFFLOAD_ECN = 8,
	VDP_OFFLOAD_UFO = 16,
	VDP_OFFLOAD_USO4 = 32,
	VDP_OFFLOAD_USO6 = 64,
	VDP_OFFLOAD_TUNNEL = 128,
	VDP_OFFLOAD_TUNNEL_CSUM = 256,
};

/* Where the outer UDP header is, and the inner IP header. */
struct vdp_tunnel {
	uint16_t outer_th, inner_nh;
};

/*
 * In the host's byte order, in private memory. All zero: nothing. Frames from a driver were checked against
 * their length; who makes one elsewhere checks it with vdp_net_hdr_check.
 */
struct vdp_net_hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
	uint16_t hash_report; /* to the driver only, with HASH_REPORT; set by vdp_receive */
	union {
		uint32_t hash;
		struct vdp_tunnel tunnel; /* with a tunnel in gso_type, until vdp_receive takes it out */
	};
};

/* What is to be done with segments: VDP_GSO_NONE to VDP_GSO_UDP_L4, in a tunnel or not. */
static inline uint8_t vdp_gso_kind(uint8_t gso_type)
{
	return gso_type & (uint8_t)~(VDP_GSO_ECN | VDP_GSO_TUNNEL);
}

/* Does it say anything of offloads? */
static inline bool vdp_net_hdr_set(const struct vdp_net_hdr *header)
{
	return header->flags | header->gso_type;
}

/*
 * From the bytes of struct virtio_net_hdr (at least 10), unchecked. A header that asks for nothing is all
 * zero, whatever else stands in it (5.1.6.2.2: other fields are not to be used then).
 */
static inline struct vdp_net_hdr vdp_net_hdr_unpack(const uint8_t *from)
{
	struct vdp_net_hdr header = {0};
	uint16_t word[4];

	header.flags = from[0] & VDP_HDR_NEEDS_CSUM; /* other bits are not the driver's to set: ignored */
	header.gso_type = from[1];
	if (!vdp_net_hdr_set(&header))
		return header;
	memcpy(word, from + 2, sizeof(word));
	header.hdr_len = le16toh(word[0]);
	header.gso_size = le16toh(word[1]);
	header.csum_start = le16toh(word[2]);
	header.csum_offset = le16toh(word[3]);
	return header;
}

/*
 * From at least VDP_NET_HDR_TUNNEL bytes of a driver that may send tunnels: with what belongs to one, and the
 * flags that must not be together with it.
 */
struct vdp_net_hdr vdp_net_hdr_unpack_tunnel(const uint8_t *from);

/* To the first 10 bytes of struct virtio_net_hdr. */
static inline void vdp_net_hdr_pack(const struct vdp_net_hdr *header, uint8_t *to)
{
	uint16_t word[4] = {htole16(header->hdr_len), htole16(header->gso_size), htole16(header->csum_start),
	    htole16(header->csum_offset)};

	to[0] = header->flags;
	to[1] = header->gso_type;
	memcpy(to + 2, word, sizeof(word));
}

/*
 * Can it be of a frame of so many bytes, from a driver that may use these offloads (enum vdp_offload)?
 * A hdr_len that cannot be is set to where the checksum ends: it is but a hint (5.1.6.2.2). A frame that
 * fails is dropped.
 */
bool vdp_net_hdr_check(struct vdp_net_hdr *header, uint32_t length, uint32_t offloads);

/* To a driver: of a frame to be segmented raises hdr_len to all its headers (5.1.6.4.1), checked before. */
void vdp_net_hdr_measure(struct vdp_net_hdr *header, const uint8_t *frame, uint32_t length);

/* The offloads that a receiver must take to be given this header as it is. UDP_L4: both, or either by frame.
 */
uint32_t vdp_net_hdr_offloads(const struct vdp_net_hdr *header, bool ipv6);

#endif
