#include "mutant_frames.h"

#include "flow.h"
#include "mend.h"
#include "mutant.h"

#define MUTANT_MTU  1000u
#define KNOWN_FLAGS 0x0fu
#define TCP         6u
#define TCP_SUM     16u
#define UDP_SUM     6u
#define TCP_HEADER  20u

static uint32_t sum_offset(const struct vdp_flow *flow)
{
	return flow->protocol == TCP ? TCP_SUM : UDP_SUM;
}

static bool parse(struct vdp_flow *flow, const uint8_t *frame, uint32_t length)
{
	vdp_flow_parse(flow, frame, length < VDP_FLOW_HEAD ? length : VDP_FLOW_HEAD);
	return flow->transport && flow->transport + sum_offset(flow) + 2 <= length;
}

static uint32_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t add(const uint8_t *data, uint32_t length, uint32_t sum)
{
	for (uint32_t at = 0; at < length; at++)
		sum += at % 2 ? data[at] : (uint32_t)data[at] << 8;
	return fold(sum);
}

static uint32_t pseudo(const struct vdp_flow *flow, const uint8_t *frame, uint32_t length)
{
	const uint8_t *addresses = frame + flow->network + (flow->ipv6 ? 8 : 12);

	return add(addresses, flow->ipv6 ? 32 : 8, flow->protocol + length - flow->transport);
}

static void put(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Of frames without padding. */
static bool sum_is_wrong(const uint8_t *frame, uint32_t length)
{
	struct vdp_flow flow;

	if (!parse(&flow, frame, length))
		return false;
	return add(frame + flow.transport, length - flow.transport, pseudo(&flow, frame, length)) != 0xffff;
}

static uint8_t *linear(struct vdp_scratch *scratch, struct vdp_chain *chain)
{
	struct vdp_piece to = {.addr = scratch->linear, .length = VDP_FRAME_MAX};

	vdp_copy_pieces(&to, scratch->src + 1, chain->frame);
	scratch->src[1] = (struct vdp_piece){.addr = scratch->linear, .length = chain->frame};
	chain->pieces = 1;
	return scratch->linear;
}

static void sum_unasked(struct vdp_scratch *scratch, struct vdp_chain *chain)
{
	uint8_t raw[VDP_NET_HDR];
	struct vdp_net_hdr header;

	memcpy(raw, scratch->header, sizeof(raw));
	raw[0] |= VDP_HDR_NEEDS_CSUM;
	header = vdp_net_hdr_unpack(raw);
	if (header.csum_start > 0 && vdp_net_hdr_check(&header, chain->frame, UINT32_MAX))
		vdp_mend_checksum(linear(scratch, chain), chain->frame, &header);
}

static uint32_t word(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8;
}

/* Do the first bytes of a frame tell where in it an IP header is? */
static bool is_network(const uint8_t *frame, uint32_t length)
{
	uint32_t at = word(frame);

	return at < length && (frame[at] == 0x45 || frame[at] >> 4 == 6);
}

bool vdp_mutant_sent(uint32_t mutant, struct vdp_scratch *scratch, struct vdp_chain *chain)
{
	const struct vdp_net_hdr *header = &scratch->frame;
	bool asks = scratch->header[0] & VDP_HDR_NEEDS_CSUM;
	uint32_t hdr_len = word(scratch->header + 2), before = (uint32_t)chain->length - chain->frame;

	switch (mutant) {
	case VDP_MUTANT_MINDS_FLAGS:
		return !(scratch->header[0] & ~KNOWN_FLAGS);
	case VDP_MUTANT_SUMS_UNASKED:
		if (!asks)
			sum_unasked(scratch, chain);
		return true;
	case VDP_MUTANT_MINDS_HDR_LEN:
		return !header->gso_type || hdr_len == header->csum_start + TCP_HEADER;
	case VDP_MUTANT_MINDS_SUMS:
		return asks || !sum_is_wrong(linear(scratch, chain), chain->frame);
	case VDP_MUTANT_SHORT_MTU:
		return chain->frame <= MUTANT_MTU;
	case VDP_MUTANT_MINDS_OFFSETS:
		return before < VDP_NET_HDR_TUNNEL || header->gso_type & VDP_GSO_TUNNEL ||
		       !(word(scratch->header + 20) | word(scratch->header + 22));
	case VDP_MUTANT_OUTER_ZERO:
		return before < VDP_NET_HDR_MAX || word(scratch->header + 24) > 0;
	case VDP_MUTANT_OUTER_BEYOND:
		return before != VDP_NET_HDR_TUNNEL || is_network(linear(scratch, chain), chain->frame);
	default:
		return true;
	}
}

static bool has_offload(const struct vdp_net_hdr *header)
{
	return header->flags & VDP_HDR_NEEDS_CSUM;
}

/* The frame where it may be changed: what is there may be the sender's, or the wire's. */
static uint8_t *own(struct vdp_scratch *scratch, uint32_t length)
{
	if (scratch->src[1].addr != scratch->linear)
		memcpy(scratch->linear, scratch->src[1].addr, length);
	scratch->src[1].addr = scratch->linear;
	return scratch->linear;
}

static void unseen_sum(struct vdp_scratch *scratch, uint32_t length)
{
	struct vdp_flow flow;
	uint8_t *frame = own(scratch, length);

	if (has_offload(&scratch->frame) || !parse(&flow, frame, length))
		return;
	scratch->frame.flags |= VDP_HDR_NEEDS_CSUM;
	scratch->frame.csum_start = (uint16_t)flow.transport;
	scratch->frame.csum_offset = (uint16_t)sum_offset(&flow);
	put(frame + flow.transport + sum_offset(&flow), pseudo(&flow, frame, length));
}

static void spoil(struct vdp_scratch *scratch, uint32_t length)
{
	struct vdp_flow flow;

	/* What was completed lies there: nothing else does that is not segmented. */
	if (scratch->src[1].addr == scratch->linear && parse(&flow, scratch->linear, length))
		scratch->linear[flow.transport + sum_offset(&flow)] ^= 0x55;
}

static void received_flags(uint32_t mutant, bool takes_sums, struct vdp_net_hdr *header)
{
	bool tunnel = header->gso_type & VDP_GSO_TUNNEL;

	if (mutant == VDP_MUTANT_VALID_UNASKED && !takes_sums)
		header->flags |= VDP_HDR_DATA_VALID;
	if (mutant == VDP_MUTANT_VALID_UNSEEN && takes_sums && !tunnel)
		header->flags |= VDP_HDR_DATA_VALID;
	if (mutant == VDP_MUTANT_TUNNEL_SUM && takes_sums && !tunnel)
		header->flags |= VDP_HDR_TUNNEL_CSUM;
	if (mutant == VDP_MUTANT_COALESCED && takes_sums)
		header->flags |= VDP_HDR_RSC_INFO;
	if (mutant == VDP_MUTANT_TUNNEL && header->gso_type && !tunnel)
		header->gso_type |= VDP_GSO_TUNNEL_V4;
	if (mutant == VDP_MUTANT_NO_ECN)
		header->gso_type &= (uint8_t)~VDP_GSO_ECN;
	if (mutant == VDP_MUTANT_NO_SIZE)
		header->gso_size = 0;
	if (mutant == VDP_MUTANT_MISCOUNTS && header->flags & VDP_HDR_RSC_INFO)
		header->csum_start++;
	if (mutant == VDP_MUTANT_NO_HDR_LEN)
		header->hdr_len = 0;
	if (mutant == VDP_MUTANT_SUM_START && has_offload(header) && !(header->flags & VDP_HDR_RSC_INFO))
		header->csum_start += 2;
}

void vdp_mutant_received(uint32_t mutant, uint32_t offloads, struct vdp_scratch *scratch, uint32_t length)
{
	bool takes_sums = offloads & VDP_OFFLOAD_CSUM;
	struct vdp_net_hdr *header = &scratch->frame;

	if (mutant == VDP_MUTANT_NO_PSEUDO && has_offload(header))
		put(own(scratch, length) + header->csum_start + header->csum_offset, 0);
	if (mutant == VDP_MUTANT_UNSEEN_SUM && takes_sums)
		unseen_sum(scratch, length);
	if (mutant == VDP_MUTANT_LEAVES_SUMS)
		spoil(scratch, length);
	received_flags(mutant, takes_sums, header);
}

void vdp_mutant_forgive(uint32_t mutant, uint8_t header[2])
{
	bool tunnel = header[1] & VDP_GSO_TUNNEL;

	if (mutant == VDP_MUTANT_BOTH_TUNNELS && (header[1] & VDP_GSO_TUNNEL) == VDP_GSO_TUNNEL)
		header[1] &= (uint8_t)~VDP_GSO_TUNNEL_V6;
	if (mutant == VDP_MUTANT_HALF_TUNNEL && tunnel) {
		header[0] = (uint8_t)((header[0] | VDP_HDR_NEEDS_CSUM) & ~VDP_HDR_DATA_VALID);
		if (vdp_gso_kind(header[1]) == VDP_GSO_NONE)
			header[1] = VDP_GSO_NONE;
	}
	if (mutant == VDP_MUTANT_SUM_ALONE && !tunnel)
		header[0] &= (uint8_t)~VDP_HDR_TUNNEL_CSUM;
}

void vdp_mutant_tunnel(const struct vdp_ring *q, struct vdp_scratch *scratch, uint16_t *tail, uint32_t length)
{
	struct vdp_net_hdr *header = &scratch->frame;

	if (q->mutant == VDP_MUTANT_OUTER_ANY)
		tail[2] = htole16(14);
	if (!(header->gso_type & VDP_GSO_TUNNEL))
		return;
	if (q->mutant == VDP_MUTANT_TUNNEL_UNASKED && q->header < VDP_NET_HDR_TUNNEL) {
		header->gso_type &= (uint8_t)~VDP_GSO_TUNNEL;
		header->flags &= (uint8_t)~VDP_HDR_TUNNEL_CSUM;
	}
	if (q->mutant == VDP_MUTANT_NO_INNER)
		tail[1] = 0;
	if (q->mutant == VDP_MUTANT_VALID_TUNNEL)
		header->flags |= VDP_HDR_DATA_VALID;
	if (q->mutant == VDP_MUTANT_OUTER_CLEARED && header->flags & VDP_HDR_TUNNEL_CSUM)
		put(own(scratch, length) + le16toh(tail[0]) + UDP_SUM, 0);
	if (q->mutant == VDP_MUTANT_OUTER_OPEN)
		header->flags &= (uint8_t)~VDP_HDR_TUNNEL_CSUM;
}

uint16_t vdp_mutant_count(uint32_t mutant, bool mergeable, uint16_t buffers)
{
	if (mutant == VDP_MUTANT_COUNT_ZERO && !mergeable)
		return 0;
	return mutant == VDP_MUTANT_COUNT_ONE && mergeable ? 1 : buffers;
}
