#include "net_header.h"

uint32_t vdp_net_hdr_offloads(const struct vdp_net_hdr *header, bool ipv6)
{
	uint32_t need = header->flags & VDP_HDR_NEEDS_CSUM ? VDP_OFFLOAD_CSUM : 0;

	switch (header->gso_type & ~VDP_GSO_ECN) {
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

static bool gso_ok(const struct vdp_net_hdr *header)
{
	switch (header->gso_type) {
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
	if ((header->gso_type & ~VDP_GSO_ECN) != VDP_GSO_UDP_L4 && header->gso_type != VDP_GSO_UDP)
		need = start + 13 <= length ? start + (frame[start + 12] >> 4) * 4u : end_of_sum(header);
	if (header->hdr_len < need && need <= length && need <= UINT16_MAX)
		header->hdr_len = (uint16_t)need;
}
