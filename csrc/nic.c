/* Control of the software NIC: what registers and front ends ask for. */
#include "nic.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <stdlib.h>

#include "nic_impl.h"

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
	vdp_nic_choose_loops(nic);
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

void vdp_nic_set_dma(struct vdp_nic *nic, struct vdp_dma *dma)
{
	nic->dma = dma;
	vdp_nic_refresh(nic);
}

void vdp_nic_run(struct vdp_nic *nic, bool on)
{
	nic->running = on;
	for (uint32_t i = 0; i < nic->conf.pairs; i++) {
		nic->pairs[i].next_ns = 0;
		nic->pairs[i].rx_starved = nic->pairs[i].tx_blocked = false;
	}
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
