/* What the driver chose: features, offloads, filters, rules; and which loops serve it then. */
#include "nic_impl.h"

#define NIC_F_MRG_RXBUF     (1ull << 15)
#define NIC_F_INDIRECT_DESC (1ull << 28)
#define NIC_F_EVENT_IDX     (1ull << 29)
#define NIC_F_PACKED        (1ull << 34)
#define NIC_F_IN_ORDER      (1ull << 35)

#define NIC_F(bit)        (1ull << (bit))
#define NIC_F_HASH_REPORT NIC_F(57)
#define NIC_F_RSC_EXT     NIC_F(61)

/* From bit 64 on. */
#define NIC_H(bit)              (1ull << ((bit) - 64))
#define NIC_H_GUEST_TUNNEL      NIC_H(65)
#define NIC_H_GUEST_TUNNEL_CSUM NIC_H(66)
#define NIC_H_HOST_TUNNEL       NIC_H(67)
#define NIC_H_HOST_TUNNEL_CSUM  NIC_H(68)
#define NIC_H_OUT_NET_HEADER    NIC_H(69)

/* What is done with headers of offloads, by the features that the driver chose. */
static const struct {
	uint64_t host, guest;
	uint32_t offloads;
} nic_offloads[] = {
    {NIC_F(0), NIC_F(1), VDP_OFFLOAD_CSUM},
    {NIC_F(11), NIC_F(7), VDP_OFFLOAD_TSO4},
    {NIC_F(12), NIC_F(8), VDP_OFFLOAD_TSO6},
    {NIC_F(13), NIC_F(9), VDP_OFFLOAD_ECN},
    {NIC_F(14), NIC_F(10), VDP_OFFLOAD_UFO},
    {NIC_F(56), NIC_F(54), VDP_OFFLOAD_USO4},
    {NIC_F(56), NIC_F(55), VDP_OFFLOAD_USO6},
};

/* Ref: virtio 1.4, 5.1.6.3.1 */
static uint32_t nic_header(const struct vdp_nic *nic)
{
	if (nic->high_features & NIC_H_OUT_NET_HEADER)
		return VDP_NET_HDR_MAX;
	if (nic->high_features & (NIC_H_GUEST_TUNNEL | NIC_H_HOST_TUNNEL))
		return VDP_NET_HDR_TUNNEL;
	return nic->features & NIC_F_HASH_REPORT ? VDP_NET_HDR_HASH : VDP_NET_HDR;
}

void vdp_nic_choose_loops(struct vdp_nic *nic)
{
	bool packed = nic->features & NIC_F_PACKED;
	uint32_t host = 0, guest = 0, header = nic_header(nic);
	bool headers = header > VDP_NET_HDR; /* something is read from or written to them */

	for (size_t i = 0; i < sizeof(nic_offloads) / sizeof(nic_offloads[0]); i++) {
		host |= nic->features & nic_offloads[i].host ? nic_offloads[i].offloads : 0;
		guest |= nic->guest_offloads & nic_offloads[i].guest ? nic_offloads[i].offloads : 0;
		headers |= (nic->features & (nic_offloads[i].host | nic_offloads[i].guest)) != 0;
	}
	host |= nic->high_features & NIC_H_HOST_TUNNEL ? VDP_OFFLOAD_TUNNEL : 0;
	host |= nic->high_features & NIC_H_HOST_TUNNEL_CSUM ? VDP_OFFLOAD_TUNNEL_CSUM : 0;
	guest |= nic->high_guest_offloads & NIC_H_GUEST_TUNNEL ? VDP_OFFLOAD_TUNNEL : 0;
	guest |= nic->high_guest_offloads & NIC_H_GUEST_TUNNEL_CSUM ? VDP_OFFLOAD_TUNNEL_CSUM : 0;
	if (nic->conf.mutant == VDP_MUTANT_TUNNEL_UNASKED && header < VDP_NET_HDR_TUNNEL)
		guest |= VDP_OFFLOAD_TUNNEL | VDP_OFFLOAD_TUNNEL_CSUM;
	if (nic->conf.mutant)
		nic->net = packed ? &vdp_net_packed_mutant : &vdp_net_split_mutant;
	else if (headers)
		nic->net = packed ? &vdp_net_packed_headers : &vdp_net_split_headers;
	else
		nic->net = packed ? &vdp_net_packed : &vdp_net_split;
	for (uint32_t i = 0; i < vdp_nic_queues(nic); i++) {
		struct vdp_ring *ring = &nic->queues[i].ring;

		ring->header = ring->shortest = header;
		ring->longest = i % 2 ? header + VDP_FRAME_MAX : UINT32_MAX;
		ring->offloads = i % 2 ? host : guest;
	}
}

static void nic_choose_look(struct vdp_nic *nic)
{
	const struct vdp_filter *filter = &nic->filter;

	nic->steers = nic->port->steers && nic->active_pairs > 1;
	nic->coalesces = nic->features & NIC_F_RSC_EXT;
	nic->reports = nic->features & NIC_F_HASH_REPORT;
	nic->long_header = nic_header(nic) > VDP_NET_HDR_HASH;
	nic->look = filter->vlans || filter->addresses || nic->rules.count || nic->rss.steer ||
		    nic->rss.types || nic->steers || nic->coalesces || nic->long_header;
}

/* Find the rings again: features and the map say where they are. */
void vdp_nic_refresh(struct vdp_nic *nic)
{
	nic->dma_generation = nic->dma ? vdp_dma_generation(nic->dma) : 0;
	nic->log.cache = (struct vdp_dma_cache){0};
	for (uint32_t i = 0; i < vdp_nic_queues(nic); i++) {
		struct vdp_queue *queue = nic->queues + i;

		queue->ring.dma = nic->dma;
		queue->ring.batch = nic->features & NIC_F_IN_ORDER;
		queue->ring.event_idx = nic->features & NIC_F_EVENT_IDX;
		queue->ring.indirect_ok = nic->features & NIC_F_INDIRECT_DESC;
		queue->live = queue->enabled && nic->net->attach(&queue->ring, &queue->conf, false);
	}
}

void vdp_nic_set_features(struct vdp_nic *nic, uint64_t features, uint64_t high)
{
	nic->features = features;
	nic->high_features = nic->high_guest_offloads = high;
	nic->mergeable = features & NIC_F_MRG_RXBUF;
	nic->guest_offloads = features;
	vdp_nic_choose_loops(nic);
	nic_choose_look(nic);
	vdp_nic_refresh(nic);
	if (nic->port->negotiated)
		nic->port->negotiated(nic);
}

void vdp_nic_set_active_pairs(struct vdp_nic *nic, uint32_t pairs)
{
	nic->active_pairs = pairs < nic->conf.pairs ? pairs : nic->conf.pairs;
	nic_choose_look(nic);
}

void vdp_nic_set_filter(struct vdp_nic *nic, const struct vdp_filter *filter)
{
	nic->filter = *filter;
	nic_choose_look(nic);
}

void vdp_nic_set_rss(struct vdp_nic *nic, const struct vdp_rss *rss)
{
	nic->rss = *rss;
	nic_choose_look(nic);
}

void vdp_nic_set_flow_rules(struct vdp_nic *nic, const struct vdp_flow_rules *rules)
{
	nic->rules = *rules;
	nic_choose_look(nic);
}

void vdp_nic_set_guest_offloads(struct vdp_nic *nic, uint64_t features, uint64_t high)
{
	nic->guest_offloads = nic->features & features;
	nic->high_guest_offloads = nic->high_features & high;
	vdp_nic_choose_loops(nic);
	if (nic->port->negotiated)
		nic->port->negotiated(nic);
}
