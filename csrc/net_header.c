#include "net_header.h"

#define ETHERNET 14u
#define IPV4     20u
#define IPV6     40u
#define UDP      8u

struct vdp_net_hdr vdp_net_hdr_unpack_tunnel(const uint8_t *from)
{
	struct vdp_net_hdr header = vdp_net_hdr_unpack(from);
	bool tunnel = from[1] & VDP_GSO_TUNNEL;
	uint16_t word[2];

	header.flags |= from[0] & (tunnel ? VDP_HDR_TUNNEL_CSUM | VDP_HDR_DATA_VALID : VDP_HDR_TUNNEL_CSUM);
	if (!tunnel)
		return header;
	memcpy(word, from + VDP_NET_HDR_TUNNEL - sizeof(word), sizeof(word));
	header.tunnel = (struct vdp_tunnel){.outer_th = le16toh(word[0]), .inner_nh = le16toh(word[1])};
	return header;
}

uint32_t vdp_net_hdr_offloads(const struct vdp_net_hdr *header, bool ipv6)
{
	uint32_t need = header->flags & VDP_HDR_NEEDS_CSUM ? VDP_OFFLOAD_CSUM : 0;

	if (header->gso_type & VDP_GSO_TUNNEL) {
		need |= VDP_OFFLOAD_TUNNEL;
		need |= header->flags & VDP_HDR_TUNNEL_CSUM ? VDP_OFFLOAD_TUNNEL_CSUM : 0;
		ipv6 = header->gso_type & VDP_GSO_TUNNEL_V6;
	}
	switch (vdp_gso_kind(header->gso_type)) {
	case VDP_GSO_TCPV4:
		need |= VDP_OFFLOAD_TSO4;
		break;
	case VDP_GSO_TCPV6:
		need |= VDP_OFFLOAD_TSO6;
		break;
	case VDP_GSO_UDP:
		need |= VDP_OFFLOAD_UFO;
		break;
	case VDP_GSO_UDP_L4:
		need |= ipv6 ? VDP_OFFLOAD_USO6 : VDP_OFFLOAD_USO4;
		break;
	}
	return header->gso_type & VDP_GSO_ECN ? need | VDP_OFFLOAD_ECN : need;
}

/* Can there be a tunnel as it says, or none? Ref: virtio 1.4, 5.1.6.2.2 */
static bool tunnel_ok(const struct vdp_net_hdr *header)
{
	uint8_t tunnel = header->gso_type & VDP_GSO_TUNNEL, kind = vdp_gso_kind(header->gso_type);
	uint32_t outer = header->tunnel.outer_th, inner = header->tunnel.inner_nh;

	if (!tunnel)
		return !(header->flags & VDP_HDR_TUNNEL_CSUM);
	if (tunnel == VDP_GSO_TUNNEL || kind == VDP_GSO_NONE || kind == VDP_GSO_UDP)
		return false;
	if (header->flags & VDP_HDR_DATA_VALID)
		return false;
	return outer >= ETHERNET + IPV4 && inner >= outer + UDP &&
	       header->csum_start >= inner + (tunnel == VDP_GSO_TUNNEL_V6 ? IPV6 : IPV4);
}

static bool gso_ok(const struct vdp_net_hdr *header)
{
	if (!tunnel_ok(header))
		return false;
	switch (header->gso_type & ~VDP_GSO_TUNNEL) {
	case VDP_GSO_NONE:
		return true;
	case VDP_GSO_TCPV4:
	case VDP_GSO_TCPV6:
	case VDP_GSO_TCPV4 | VDP_GSO_ECN:
	case VDP_GSO_TCPV6 | VDP_GSO_ECN:
	case VDP_GSO_UDP_L4:
	case VDP_GSO_UDP:
		return header->gso_size > 0 && header->flags & VDP_HDR_NEEDS_CSUM;
	default:
		return false;
	}
}

static uint32_t end_of_sum(const struct vdp_net_hdr *header)
{
	return (uint32_t)header->csum_start + header->csum_offset + 2;
}

bool vdp_net_hdr_check(struct vdp_net_hdr *header, uint32_t length, uint32_t offloads)
{
	uint32_t end = end_of_sum(header);

	if (!gso_ok(header) || vdp_net_hdr_offloads(header, false) & ~offloads)
		return false;
	if (header->flags & VDP_HDR_NEEDS_CSUM) {
		if (end > length || end > UINT16_MAX)
			return false;
		if (header->hdr_len < end || header->hdr_len > length)
			header->hdr_len = (uint16_t)end;
	}
	return true;
}

void vdp_net_hdr_measure(struct vdp_net_hdr *header, const uint8_t *frame, uint32_t length)
{
	uint32_t start = header->csum_start, need = start + 8;

	if (header->gso_type == VDP_GSO_NONE)
		return;
	if (vdp_gso_kind(header->gso_type) != VDP_GSO_UDP_L4 && header->gso_type != VDP_GSO_UDP)
		need = start + 13 <= length ? start + (frame[start + 12] >> 4) * 4u : end_of_sum(header);
	if (header->hdr_len < need && need <= length && need <= UINT16_MAX)
		header->hdr_len = (uint16_t)need;
}
