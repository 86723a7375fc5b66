/* Frames from the wire, for the driver: filters, steering, MTU, and the offloads that it does not take. */
#include <linux/if_ether.h>

#include "mend.h"
#include "nic_impl.h"

#define VLAN_TAG   4u
#define UDP_HEADER 8u
#define TCP_OFFSET 12u /* of the byte that says how long the header is */

/* Can all of them be handed over as they are? */
static bool all_taken(const struct vdp_ring *rx, const struct vdp_frame *frames, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct vdp_net_hdr *header = &frames[i].header;

		if (VDP_LIKELY(!vdp_net_hdr_set(header)))
			continue;
		if ((vdp_net_hdr_offloads(header, false) | vdp_net_hdr_offloads(header, true)) &
		    ~rx->offloads)
			return false;
	}
	return true;
}

/* Longer than the MTU that the driver was told, with an Ethernet header and its tags? Ref: 5.1.4.1 */
static bool too_long(const struct vdp_nic *nic, const struct vdp_frame *frame)
{
	uint32_t tags = 0;

	if (VDP_LIKELY(frame->length <= nic->longest))
		return false;
	if (vdp_frame_segmented(nic->net, frame))
		return false;
	for (const uint8_t *type = frame->data + 12; tags < 2 * VLAN_TAG; tags += VLAN_TAG) {
		uint16_t is = (uint16_t)(type[tags] << 8 | type[tags + 1]);

		if (is != ETH_P_8021Q && is != ETH_P_8021AD)
			break;
	}
	return frame->length > nic->longest + tags;
}

static bool none_too_long(const struct vdp_nic *nic, const struct vdp_frame *frames, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (VDP_UNLIKELY(too_long(nic, frames + i)))
			return false;
	}
	return true;
}

static uint32_t deliver(struct vdp_nic *nic, struct vdp_queue *rx, const struct vdp_frame *frames, uint32_t n)
{
	nic->serving = rx->ring.index;
	return nic->net->deliver(rx, nic->mergeable, nic->scratch, frames, n);
}

static uint32_t deliver_one(struct vdp_nic *nic, struct vdp_queue *rx, const struct vdp_frame *frame)
{
	if (too_long(nic, frame)) {
		vdp_count(&rx->stats.too_long, 1);
		return 0;
	}
	return deliver(nic, rx, frame, 1);
}

/* In segments; each is a frame of its own to filters of the driver's counters, none of the header is left. */
static uint32_t deliver_segments(
    struct vdp_nic *nic, struct vdp_queue *rx, const struct vdp_frame *frame, const struct vdp_segments *cut)
{
	struct vdp_frame segment = {.data = nic->scratch->segment};
	uint32_t received = 0;

	segment.header.hash = frame->header.hash;
	segment.header.hash_report = frame->header.hash_report;
	for (uint32_t at = 0; at < cut->payload && nic->error.code == VDP_NIC_OK; at += cut->size) {
		segment.length = vdp_segments_cut(cut, at, nic->scratch->segment);
		received += deliver_one(nic, rx, &segment);
	}
	return received;
}

/* The driver does not take what the header asks for: do it. */
static uint32_t deliver_mended(
    struct vdp_nic *nic, struct vdp_queue *rx, struct vdp_frame *frame, const struct vdp_tunnel *tunnel)
{
	uint8_t *linear = nic->scratch->linear;
	struct vdp_segments cut;

	if (frame->data != linear)
		memcpy(linear, frame->data, frame->length);
	frame->data = linear;
	if (frame->header.gso_type == VDP_GSO_NONE) {
		vdp_mend_checksum(linear, frame->length, &frame->header);
		frame->header = (struct vdp_net_hdr){
		    .hash = frame->header.hash, .hash_report = frame->header.hash_report};
		vdp_count(&rx->stats.mended, 1);
		return deliver_one(nic, rx, frame);
	}
	if (frame->header.gso_type == VDP_GSO_UDP)
		vdp_mend_checksum(
		    linear, frame->length, &frame->header); /* of the whole: the pieces have none */
	if (!vdp_segments_init(
		&cut, linear, frame->length, &frame->header, tunnel, (uint32_t)rx->stats.mended + 1)) {
		vdp_count(&rx->stats.dropped, 1);
		return 0;
	}
	vdp_count(&rx->stats.mended, 1);
	return deliver_segments(nic, rx, frame, &cut);
}

/* Any pair whose receive queue is there, when steering chose one whose queue is not. Ref: 5.1.6.5.6.1 */
static uint32_t another_pair(struct vdp_nic *nic)
{
	uint32_t i = 0;

	while (i < nic->active_pairs && !vdp_nic_usable(nic, nic->pairs[i].rx))
		i++;
	return i < nic->active_pairs ? i : nic->conf.pairs;
}

static uint32_t steered(
    struct vdp_nic *nic, const struct vdp_pair *pair, const struct vdp_flow *flow, const uint8_t *head)
{
	uint32_t own = (uint32_t)(pair - nic->pairs);
	uint32_t to = vdp_steer_find(&nic->steer, flow, head, nic->active_pairs, own);

	return VDP_LIKELY(vdp_nic_usable(nic, nic->pairs[to].rx)) ? to : another_pair(nic);
}

/* Where a frame that no rule was for goes. */
static uint32_t steer(struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_net_hdr *header,
    const struct vdp_flow *flow, const uint8_t *head)
{
	if (nic->rss.steer)
		return vdp_rss_pair(&nic->rss, header->hash, header->hash_report);
	if (nic->steers && nic->conf.mutant == VDP_MUTANT_ROUND_ROBIN)
		return (uint32_t)(pair->sequence++ % nic->active_pairs);
	if (nic->steers)
		return steered(nic, pair, flow, head);
	return (uint32_t)(pair - nic->pairs);
}

/* Filters come first, then rules. *to: only for DIRECT. Ref: virtio 1.4, 5.1.9.6 */
static enum vdp_flow_action filtered(
    const struct vdp_nic *nic, const struct vdp_flow *flow, const uint8_t *head, uint32_t *to)
{
	if (!vdp_filter_pass(&nic->filter, head, flow->vlan))
		return VDP_FLOW_DROP;
	if (!nic->rules.count)
		return VDP_FLOW_NO_MATCH;
	return vdp_flow_rules_find(&nic->rules, flow, head, to);
}

/* Filter and steer; returns the pair that the frame is for, or NULL. */
static struct vdp_pair *choose(struct vdp_nic *nic, struct vdp_pair *pair, struct vdp_net_hdr *header,
    const struct vdp_flow *flow, const uint8_t *head)
{
	uint32_t to = 0;
	enum vdp_flow_action action = filtered(nic, flow, head, &to);

	if (action == VDP_FLOW_DROP) {
		vdp_count(&pair->rx->stats.filtered, 1);
		return NULL;
	}
	if (nic->rss.types) {
		struct vdp_flow hashed = *flow;

		vdp_flow_inner(&hashed, head, VDP_FLOW_HEAD, nic->rss.tunnels);
		header->hash =
		    vdp_flow_hash(&hashed, head, nic->rss.types, nic->rss.key, &header->hash_report);
	}
	if (action == VDP_FLOW_NO_MATCH)
		to = steer(nic, pair, header, flow, head);
	if (to >= nic->conf.pairs || !vdp_nic_usable(nic, nic->pairs[to].rx)) {
		vdp_count(&pair->rx->stats.dropped, 1);
		return NULL;
	}
	return nic->pairs + to;
}

void vdp_receive_learn(
    struct vdp_nic *nic, const struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n)
{
	uint8_t head[VDP_FLOW_HEAD];
	struct vdp_flow flow;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t length = frames[i].length < VDP_FLOW_HEAD ? frames[i].length : VDP_FLOW_HEAD;

		memcpy(head, frames[i].data, length);
		vdp_flow_parse(&flow, head, length);
		vdp_steer_learn(&nic->steer, &flow, head, (uint32_t)(pair - nic->pairs));
	}
}

/*
 * RSC_EXT: instead of where the checksum belongs, the header of a frame to be segmented tells of how many
 * segments it was made. Nobody counts duplicate acknowledgements here. Ref: 5.1.6.4.1
 */
static void tell_coalesced(struct vdp_frame *frame, const uint8_t *head)
{
	struct vdp_net_hdr *header = &frame->header;
	uint32_t transport = header->csum_start, end = transport + UDP_HEADER;

	if (!header->gso_type)
		return;
	if (vdp_gso_kind(header->gso_type) != VDP_GSO_UDP_L4 && header->gso_type != VDP_GSO_UDP)
		end = transport + TCP_OFFSET < VDP_FLOW_HEAD
			  ? transport + (head[transport + TCP_OFFSET] >> 4) * 4u
			  : header->hdr_len;
	header->flags |= VDP_HDR_RSC_INFO;
	header->csum_start = 1;
	if (end < frame->length)
		header->csum_start = (uint16_t)((frame->length - end - 1) / header->gso_size + 1);
	header->csum_offset = 0;
}

/* Where a tunnel is, for the end of the header or for who cuts it: then there is room for a hash. */
static struct vdp_tunnel take_tunnel(struct vdp_net_hdr *header)
{
	struct vdp_tunnel tunnel = {0};

	if (header->gso_type & VDP_GSO_TUNNEL) {
		tunnel = header->tunnel;
		header->hash = 0;
	}
	return tunnel;
}

/* The end of a longer header. Ref: virtio 1.4, 5.1.6 */
static void put_tail(struct vdp_nic *nic, struct vdp_ring *q, struct vdp_net_hdr *header,
    const struct vdp_tunnel *tunnel, const struct vdp_flow *flow)
{
	if (!nic->reports)
		header->hash = header->hash_report = 0; /* the place is there, the feature is not */
	memset(q->tail, 0, sizeof(q->tail));
	q->tail[0] = htole16(tunnel->outer_th);
	q->tail[1] = htole16(tunnel->inner_nh);
	q->tail[2] = htole16((uint16_t)flow->network);
}

static uint32_t receive_one(struct vdp_nic *nic, struct vdp_pair *pair, struct vdp_frame frame)
{
	uint8_t head[VDP_FLOW_HEAD] = {0};
	uint32_t n = frame.length < VDP_FLOW_HEAD ? frame.length : VDP_FLOW_HEAD, need, received;
	struct vdp_tunnel tunnel;
	struct vdp_pair *to;
	struct vdp_flow flow;

	memcpy(head, frame.data, n); /* once: a driver may change its frame while we look */
	vdp_flow_parse(&flow, head, n);
	if (!nic->net->headers)
		frame.header = (struct vdp_net_hdr){0};
	tunnel = take_tunnel(&frame.header);
	to = choose(nic, pair, &frame.header, &flow, head);
	if (!to)
		return 0;
	need = vdp_net_hdr_offloads(&frame.header, flow.ipv6);
	if (nic->long_header)
		put_tail(nic, &to->rx->ring, &frame.header,
		    need & ~to->rx->ring.offloads ? &(struct vdp_tunnel){0} : &tunnel, &flow);
	if (need & ~to->rx->ring.offloads)
		received = deliver_mended(nic, to->rx, &frame, &tunnel);
	else {
		if (nic->coalesces)
			tell_coalesced(&frame, head);
		received = deliver_one(nic, to->rx, &frame);
	}
	if (nic->rules.count && nic->conf.mutant == VDP_MUTANT_ACTS_TWICE)
		received += deliver_one(nic, to->rx, &frame);
	if (to != pair && received)
		nic->net->flush(to->rx, NULL);
	return received;
}

static uint32_t receive_each(
    struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n)
{
	uint32_t received = 0;

	for (uint32_t i = 0; i < n && nic->error.code == VDP_NIC_OK; i++)
		received += receive_one(nic, pair, frames[i]);
	return received;
}

uint32_t vdp_receive(struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n)
{
	if (VDP_UNLIKELY(nic->look))
		return receive_each(nic, pair, frames, n);
	if (nic->net->headers && VDP_UNLIKELY(!all_taken(&pair->rx->ring, frames, n)))
		return receive_each(nic, pair, frames, n);
	if (VDP_UNLIKELY(!pair->rx->live)) {
		vdp_count(&pair->rx->stats.dropped, n);
		return 0;
	}
	if (nic->longest != UINT32_MAX && VDP_UNLIKELY(!none_too_long(nic, frames, n)))
		return receive_each(nic, pair, frames, n);
	return deliver(nic, pair->rx, frames, n);
}

uint32_t vdp_receive_pieces(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length)
{
	struct vdp_frame frame = {.length = length, .header = nic->scratch->frame};
	struct vdp_piece linear = {.addr = nic->scratch->linear, .length = VDP_FRAME_MAX};

	/* One that may be too long is looked at where its bytes lie together. */
	if (!nic->look && (length <= nic->longest || vdp_frame_segmented(nic->net, &frame)) &&
	    (!nic->net->headers || all_taken(&pair->rx->ring, &frame, 1))) {
		nic->serving = pair->rx->ring.index;
		return nic->net->deliver_pieces(pair->rx, nic->mergeable, nic->scratch, length);
	}
	vdp_copy_pieces(&linear, nic->scratch->src + 1, length);
	frame.data = nic->scratch->linear;
	return receive_one(nic, pair, frame);
}
