#include "rig.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define RIG_RING  0x10000ull /* bytes between rings */
#define RIG_AVAIL 0x8000ull
#define RIG_USED  0xa000ull

void rig_sleep_ms(uint32_t ms)
{
	struct timespec wait = {ms / 1000, (ms % 1000) * 1000000L};

	nanosleep(&wait, NULL);
}

void rig_enable(struct rig *rig, uint32_t queue, uint16_t size, uint16_t start)
{
	struct rig_ring *ring = rig->ring + queue;
	uint64_t base = queue * RIG_RING;

	ring->desc = (struct vdp_split_desc *)(rig->mem + base);
	ring->avail = (struct vdp_split_avail *)(rig->mem + base + RIG_AVAIL);
	ring->used = (struct vdp_split_used *)(rig->mem + base + RIG_USED);
	ring->conf = (struct vdp_queue_conf){
	    .desc = rig_iova(base),
	    .driver = rig_iova(base + RIG_AVAIL),
	    .device = rig_iova(base + RIG_USED),
	    .size = size,
	    .last_avail = start,
	};
	ring->packed = (struct vdp_packed_desc *)ring->desc;
	ring->driver = (struct vdp_packed_event *)ring->avail;
	ring->device = (struct vdp_packed_event *)ring->used;
	if (rig->packed) {
		start ^= VDP_PACKED_START;
		ring->conf.last_avail = start;
		memset(ring->packed, 0, 16u * size);
		for (uint16_t i = 0; i < size; i++) /* as if it had gone around so far */
			ring->packed[i].flags =
			    vdp_packed_used_flags(start ^ (i < vdp_packed_at(start) ? 0 : VDP_PACKED_WRAP));
		*ring->driver = (struct vdp_packed_event){0};
	} else {
		ring->avail->idx = ring->used->idx = start;
	}
	ring->next = ring->back = start;
	CHECK_EQ(vdp_nic_queue_enable(rig->nic, queue, &ring->conf), 0);
}

static void rig_open_memory(struct rig *rig, bool unmapped)
{
	rig->memfd = memfd_create("rig", MFD_CLOEXEC);
	CHECK(rig->memfd >= 0);
	CHECK_EQ(ftruncate(rig->memfd, RIG_BYTES), 0);
	rig->mem = mmap(NULL, RIG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rig->memfd, 0);
	CHECK(rig->mem != MAP_FAILED);
	CHECK_EQ(vdp_dma_init(&rig->dma), 0);
	if (!unmapped)
		CHECK_EQ(
		    vdp_dma_map(rig->dma, RIG_IOVA, RIG_BYTES, rig->mem, VDP_DMA_READ | VDP_DMA_WRITE), 0);
}

void rig_open(struct rig *rig, const struct rig_conf *conf)
{
	struct vdp_nic_conf nic = {
	    .pairs = conf->pairs ? conf->pairs : 1,
	    .port = conf->port,
	    .poll_us = conf->poll_us,
	    .cpu = -1,
	    .event_fd = -1,
	    .worker = conf->worker,
	    .generate_size = conf->generate_size,
	    .generate_pps = conf->generate_pps,
	    .mac = {0x52, 0x54, 0, 0, 0, 1},
	    .pages = conf->pages,
	    .page_stride = RIG_PAGE,
	    .pair_stride = 2 * RIG_PAGE,
	};

	memset(rig, 0, sizeof(*rig));
	rig->event_idx = conf->features & RIG_F_EVENT;
	rig->packed = conf->features & RIG_F_PACKED;
	rig->in_order = conf->features & RIG_F_IN_ORDER;
	rig_open_memory(rig, conf->unmapped);
	rig->config_call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	CHECK_EQ(vdp_nic_init(&rig->nic, &nic), 0);
	vdp_nic_set_dma(rig->nic, rig->dma);
	vdp_nic_set_features(rig->nic, conf->features | RIG_F_VERSION1, conf->high);
	vdp_nic_set_config_call(rig->nic, rig->config_call);
	for (uint32_t i = 0; i < nic.pairs * 2; i++) {
		rig_enable(rig, i, conf->size ? conf->size : 64, conf->start);
		rig->ring[i].call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		rig->ring[i].kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		vdp_nic_set_call(rig->nic, i, rig->ring[i].call);
		CHECK_EQ(vdp_nic_set_kick(rig->nic, i, rig->ring[i].kick), 0);
	}
	vdp_nic_run(rig->nic, true);
}

void rig_close(struct rig *rig)
{
	vdp_nic_fini(rig->nic);
	vdp_dma_fini(rig->dma);
	for (uint32_t i = 0; i < RIG_QUEUES; i++) {
		if (!rig->ring[i].desc)
			continue;
		close(rig->ring[i].call);
		close(rig->ring[i].kick);
	}
	close(rig->config_call);
	CHECK_EQ(munmap(rig->mem, RIG_BYTES), 0);
	close(rig->memfd);
}

void rig_desc(struct rig *rig, uint32_t queue, uint16_t at, uint64_t iova, uint32_t length, uint16_t flags,
    uint16_t next)
{
	rig->ring[queue].desc[at] =
	    (struct vdp_split_desc){.addr = iova, .length = length, .flags = flags, .next = next};
}

void rig_offer(struct rig *rig, uint32_t queue, uint16_t head)
{
	struct rig_ring *ring = rig->ring + queue;

	ring->avail->ring[ring->next % ring->conf.size] = head;
	ring->next++;
	__atomic_store_n(&ring->avail->idx, ring->next, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void rig_kick(struct rig *rig, uint32_t queue)
{
	uint64_t one = 1;

	CHECK_EQ(write(rig->ring[queue].kick, &one, sizeof(one)), sizeof(one));
}

void rig_kick_if_wanted(struct rig *rig, uint32_t queue)
{
	struct rig_ring *ring = rig->ring + queue;
	uint16_t event = __atomic_load_n((uint16_t *)&ring->used->ring[ring->conf.size], __ATOMIC_RELAXED);
	uint16_t flags = __atomic_load_n(&ring->used->flags, __ATOMIC_RELAXED);

	if (rig->event_idx ? vdp_split_crossed(event, ring->next, (uint16_t)(ring->next - 1))
			   : !(flags & VDP_SPLIT_NO_NOTIFY))
		rig_kick(rig, queue);
}

void rig_buffer(struct rig *rig, uint32_t queue, uint16_t at, uint64_t offset, uint32_t length)
{
	rig_desc(rig, queue, at, rig_iova(offset), length, queue % 2 ? 0 : VDP_DESC_WRITE, 0);
	rig_offer(rig, queue, at);
}

void rig_packed(struct rig *rig, uint32_t queue, uint64_t iova, uint32_t length, uint16_t flags, uint16_t id)
{
	struct rig_ring *ring = rig->ring + queue;
	struct vdp_packed_desc *desc = ring->packed + vdp_packed_at(ring->next);

	desc->addr = iova;
	desc->length = length;
	desc->id = id;
	__atomic_store_n(&desc->flags, flags | vdp_packed_avail_flags(ring->next), __ATOMIC_RELEASE);
	ring->next = vdp_packed_advance(ring->next, 1, ring->conf.size);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

bool rig_packed_is_used(struct rig *rig, uint32_t queue)
{
	struct rig_ring *ring = rig->ring + queue;
	uint16_t flags = __atomic_load_n(&ring->packed[vdp_packed_at(ring->back)].flags, __ATOMIC_ACQUIRE);

	return vdp_packed_is_used(flags, ring->back);
}

struct vdp_packed_desc rig_packed_used(struct rig *rig, uint32_t queue, uint32_t slots)
{
	struct rig_ring *ring = rig->ring + queue;
	struct vdp_packed_desc *desc = ring->packed + vdp_packed_at(ring->back);

	for (uint32_t i = 0; i < 50000 && !rig_packed_is_used(rig, queue); i++) {
		struct timespec wait = {0, 100000};

		nanosleep(&wait, NULL);
	}
	if (!rig_packed_is_used(rig, queue)) {
		struct vdp_nic_error error;

		vdp_nic_error(rig->nic, &error);
		fprintf(stderr, "queue %u, position 0x%x, the NIC has error %u on %u, detail 0x%llx\n", queue,
		    ring->back, error.code, error.queue, (unsigned long long)error.detail);
	}
	CHECK(rig_packed_is_used(rig, queue));
	ring->back = vdp_packed_advance(ring->back, slots, ring->conf.size);
	return *desc;
}

uint16_t rig_used(struct rig *rig, uint32_t queue)
{
	return __atomic_load_n(&rig->ring[queue].used->idx, __ATOMIC_ACQUIRE);
}

void rig_wait_used(struct rig *rig, uint32_t queue, uint16_t idx)
{
	for (uint32_t i = 0; i < 50000 && rig_used(rig, queue) != idx; i++) {
		struct timespec wait = {0, 100000};

		nanosleep(&wait, NULL);
	}
	if (rig_used(rig, queue) != idx) {
		struct vdp_nic_error error;

		vdp_nic_error(rig->nic, &error);
		fprintf(stderr, "queue %u, the NIC has error %u on %u, detail 0x%llx\n", queue, error.code,
		    error.queue, (unsigned long long)error.detail);
	}
	CHECK_EQ(rig_used(rig, queue), idx);
}

static bool rig_is_asleep(const struct vdp_worker_stats *stats)
{
	/* In this order: the sleep that is seen first has not ended at the second look. */
	uint64_t sleeps = __atomic_load_n(&stats->sleeps, __ATOMIC_ACQUIRE);

	return sleeps > __atomic_load_n(&stats->wakes, __ATOMIC_ACQUIRE);
}

void rig_wait_asleep(const struct rig *rig)
{
	const struct vdp_worker_stats *stats = vdp_nic_worker_stats(rig->nic);

	for (uint32_t i = 0; i < 50000 && !rig_is_asleep(stats); i++) {
		struct timespec wait = {0, 100000};

		nanosleep(&wait, NULL);
	}
	CHECK(rig_is_asleep(stats));
}

void rig_wait_error(struct rig *rig, struct vdp_nic_error *error)
{
	for (uint32_t i = 0; i < 5000; i++) {
		vdp_nic_error(rig->nic, error);
		if (error->code != VDP_NIC_OK)
			return;
		rig_sleep_ms(1);
	}
	CHECK(!"an error in 5 s");
}

void rig_expect(struct rig *rig, uint32_t code, uint32_t queue)
{
	struct vdp_nic_error error;

	rig_wait_error(rig, &error);
	CHECK_EQ(error.code, code);
	CHECK_EQ(error.queue, queue);
}

uint64_t rig_take(int fd)
{
	uint64_t n = 0;

	if (read(fd, &n, sizeof(n)) < 0)
		CHECK_EQ(errno, EAGAIN);
	return n;
}

uint64_t rig_stat(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void rig_fill(uint8_t *at, uint32_t length, uint32_t seed)
{
	for (uint32_t i = 0; i < length; i++)
		at[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

bool rig_same(const uint8_t *at, uint32_t length, uint32_t seed)
{
	for (uint32_t i = 0; i < length; i++) {
		if (at[i] != (uint8_t)(seed * 31 + i * 7 + (i >> 8)))
			return false;
	}
	return true;
}

uint32_t rig_sum(const uint8_t *data, uint32_t length, uint32_t sum)
{
	for (uint32_t i = 0; i < length; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}
