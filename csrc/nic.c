/* Control of the software NIC: what registers and front ends ask for. */
#include "nic.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <stdlib.h>

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

static bool nic_sizes_valid(const struct vdp_nic_conf *conf)
{
	if (conf->generate_size < 60 || conf->generate_size > 65535 || conf->generate_mix > VDP_NIC_MAX_SIZES)
		return false;
	for (uint32_t i = 0; i < conf->generate_mix; i++) {
		if (conf->generate_sizes[i] < 60 || conf->generate_sizes[i] > conf->generate_size)
			return false;
	}
	return true;
}

static bool nic_conf_valid(const struct vdp_nic_conf *conf)
{
	if (conf->pairs == 0 || conf->pairs > VDP_NIC_MAX_PAIRS || conf->port >= vdp_ports_count)
		return false;
	if (conf->port == VDP_PORT_PCAP && !conf->capture)
		return false;
	if ((conf->port == VDP_PORT_TAP || conf->port == VDP_PORT_PACKET) && !conf->port_fds)
		return false;
	return conf->port != VDP_PORT_GENERATE || nic_sizes_valid(conf);
}

static void nic_init_queue(struct vdp_nic *nic, uint32_t i)
{
	struct vdp_queue *queue = nic->queues + i;
	struct vdp_ring *ring = &queue->ring;

	queue->call_fd = queue->kick_fd = queue->doorbell_fd = -1;
	if (nic->conf.pages)
		*vdp_nic_page(nic, i) = VDP_PAGE_QUIET;
	ring->index = i;
	ring->mutant = nic->conf.mutant;
	ring->error = &nic->error;
	ring->flags = i % 2 ? 0 : VDP_DESC_WRITE;
	ring->perm = i % 2 ? VDP_DMA_READ : VDP_DMA_WRITE;
}

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

static void nic_choose_loops(struct vdp_nic *nic)
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

static void nic_free(struct vdp_nic *nic)
{
	for (uint32_t i = 0; i < vdp_nic_queues(nic); i++) {
		if (nic->queues[i].kick_fd >= 0)
			close(nic->queues[i].kick_fd);
		if (nic->queues[i].doorbell_fd >= 0)
			close(nic->queues[i].doorbell_fd);
	}
	pthread_mutex_destroy(&nic->lock);
	free(nic->inject);
	free(nic->pairs);
	free(nic);
}

static int nic_init_parts(struct vdp_nic *nic)
{
	pthread_mutex_init(&nic->lock, NULL);
	nic->config_call_fd = -1;
	vdp_nic_set_mtu(nic, 0);
	nic->active_pairs = nic->conf.pairs;
	nic->port = vdp_ports[nic->conf.port];
	nic->pairs = calloc(nic->conf.pairs, sizeof(*nic->pairs));
	for (uint32_t i = 0; i < vdp_nic_queues(nic); i++)
		nic_init_queue(nic, i);
	nic_choose_loops(nic);
	if (!nic->pairs)
		return -ENOMEM;
	for (uint32_t i = 0; i < nic->conf.pairs; i++) {
		nic->pairs[i].rx = nic->queues + 2 * i;
		nic->pairs[i].tx = nic->queues + 2 * i + 1;
	}
	return 0;
}

int vdp_nic_init(struct vdp_nic **ret, const struct vdp_nic_conf *conf)
{
	struct vdp_nic *nic;
	size_t size;
	int rc;

	if (!nic_conf_valid(conf))
		return -EINVAL;
	size = sizeof(*nic) + conf->pairs * 2 * sizeof(nic->queues[0]);
	nic = aligned_alloc(VDP_CACHE_LINE, size);
	if (!nic)
		return -ENOMEM;
	memset(nic, 0, size);
	nic->conf = *conf;
	if (nic->conf.pair_step == 0)
		nic->conf.pair_step = 1;
	rc = nic_init_parts(nic);
	if (rc == 0)
		rc = vdp_nic_start(nic);
	if (rc < 0) {
		nic_free(nic);
		return rc;
	}
	rc = nic->port->init ? nic->port->init(nic) : 0;
	if (rc < 0) {
		vdp_nic_fini(nic);
		return rc;
	}
	*ret = nic;
	return 0;
}

void vdp_nic_fini(struct vdp_nic *nic)
{
	if (!nic)
		return;
	vdp_nic_stop(nic);
	if (nic->port->fini)
		nic->port->fini(nic);
	nic_free(nic);
}

/* Find the rings again: features and the map say where they are. */
static void nic_attach(struct vdp_nic *nic)
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

void vdp_nic_refresh(struct vdp_nic *nic)
{
	nic_attach(nic);
}

void vdp_nic_set_dma(struct vdp_nic *nic, struct vdp_dma *dma)
{
	nic->dma = dma;
	nic_attach(nic);
}

void vdp_nic_set_features(struct vdp_nic *nic, uint64_t features, uint64_t high)
{
	nic->features = features;
	nic->high_features = nic->high_guest_offloads = high;
	nic->mergeable = features & NIC_F_MRG_RXBUF;
	nic->guest_offloads = features;
	nic_choose_loops(nic);
	nic_choose_look(nic);
	nic_attach(nic);
	if (nic->port->negotiated)
		nic->port->negotiated(nic);
}

void vdp_nic_run(struct vdp_nic *nic, bool on)
{
	nic->running = on;
	for (uint32_t i = 0; i < nic->conf.pairs; i++) {
		nic->pairs[i].next_ns = 0;
		nic->pairs[i].rx_starved = nic->pairs[i].tx_blocked = false;
	}
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
	nic_choose_loops(nic);
	if (nic->port->negotiated)
		nic->port->negotiated(nic);
}

void vdp_nic_set_mtu(struct vdp_nic *nic, uint32_t mtu)
{
	nic->longest = mtu ? mtu + ETH_HLEN : UINT32_MAX;
}

void vdp_nic_set_log(struct vdp_nic *nic, uint64_t base, uint64_t end)
{
	nic->log = (struct vdp_dirty){.base = base, .end = end};
	for (uint32_t i = 0; i < vdp_nic_queues(nic); i += 2)
		nic->queues[i].ring.log = end > base ? &nic->log : NULL;
}

void vdp_nic_reset(struct vdp_nic *nic)
{
	nic->running = false;
	for (uint32_t i = 0; i < vdp_nic_queues(nic); i++) {
		vdp_nic_queue_disable(nic, i);
		vdp_nic_set_kick(nic, i, -1);
		vdp_nic_set_call(nic, i, -1);
	}
	vdp_nic_set_config_call(nic, -1);
	vdp_nic_take_unheard(nic);
	vdp_nic_set_features(nic, 0, 0);
	vdp_nic_set_mtu(nic, 0);
	nic->filter = (struct vdp_filter){0};
	nic->rss = (struct vdp_rss){0};
	nic->rules.count = 0;
	memset(&nic->steer, 0, sizeof(nic->steer));
	vdp_nic_set_active_pairs(nic, nic->conf.pairs);
	for (uint32_t i = 0; i < nic->conf.pairs; i++)
		nic->pairs[i].sequence = 0;
	if (nic->inject)
		__atomic_store_n(&nic->inject->state, VDP_INJECT_FREE, __ATOMIC_RELEASE);
	nic->error = (struct vdp_nic_error){0};
	pthread_mutex_lock(&nic->lock);
	nic->reported = nic->error;
	pthread_mutex_unlock(&nic->lock);
}

int vdp_nic_queue_enable(struct vdp_nic *nic, uint32_t index, const struct vdp_queue_conf *conf)
{
	struct vdp_queue *queue = vdp_nic_queue(nic, index);

	if (!queue || !nic->net->size_ok(conf))
		return -EINVAL;
	if (queue->enabled)
		return -EBUSY;
	queue->conf = *conf;
	queue->enabled = true;
	queue->ring.size = conf->size;
	queue->ring.next = queue->ring.seen = queue->ring.published = conf->last_avail;
	queue->live = nic->net->attach(&queue->ring, &queue->conf, false);
	nic->pairs[index / 2].rx_starved = false;
	return 0;
}

void vdp_nic_queue_disable(struct vdp_nic *nic, uint32_t index)
{
	struct vdp_queue *queue = vdp_nic_queue(nic, index);

	if (!queue)
		return;
	queue->enabled = queue->live = false;
	queue->calm = (struct vdp_calm){0};
}

uint16_t vdp_nic_queue_avail(struct vdp_nic *nic, uint32_t index)
{
	struct vdp_queue *queue = vdp_nic_queue(nic, index);

	return queue ? queue->ring.next : 0;
}

static struct vdp_inject *nic_inject_buffer(struct vdp_nic *nic)
{
	pthread_mutex_lock(&nic->lock);
	if (!nic->inject)
		__atomic_store_n(&nic->inject, calloc(1, sizeof(*nic->inject)), __ATOMIC_RELEASE);
	pthread_mutex_unlock(&nic->lock);
	return nic->inject;
}

int vdp_nic_inject(struct vdp_nic *nic, uint32_t pair, const void *frame, uint32_t length)
{
	struct vdp_inject *inject;
	uint32_t state = VDP_INJECT_FREE;

	if (pair >= nic->conf.pairs || length < 14 || length > VDP_FRAME_MAX)
		return -EINVAL;
	inject = nic_inject_buffer(nic);
	if (!inject)
		return -ENOMEM;
	if (!__atomic_compare_exchange_n(
		&inject->state, &state, VDP_INJECT_FILLING, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return -EAGAIN;
	memcpy(inject->frame, frame, length);
	inject->pair = pair;
	inject->length = length;
	__atomic_store_n(&inject->state, VDP_INJECT_FULL, __ATOMIC_RELEASE);
	vdp_worker_call(nic->worker, VDP_WORKER_INJECT);
	return 0;
}

const struct vdp_queue_stats *vdp_nic_queue_stats(const struct vdp_nic *nic, uint32_t index)
{
	return index < vdp_nic_queues(nic) ? &nic->queues[index].stats : NULL;
}

const struct vdp_worker_stats *vdp_nic_worker_stats(const struct vdp_nic *nic)
{
	return &nic->worker->stats;
}

void vdp_nic_error(const struct vdp_nic *nic, struct vdp_nic_error *ret)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)&nic->lock;

	pthread_mutex_lock(lock);
	*ret = nic->reported;
	pthread_mutex_unlock(lock);
}

int vdp_nic_port_error(const struct vdp_nic *nic)
{
	return __atomic_load_n(&nic->port_error, __ATOMIC_ACQUIRE);
}
