/* Pauses, changes of the map and loss of memory, while traffic runs. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"

#define RX_BUF(i) (RIG_BUFFERS + 0x1000ull * (i))
#define TX_BUF(i) (RIG_BUFFERS + 0x100000ull + 0x1000ull * (i))
#define SLOTS     32u

/* A driver in a thread of its own: keeps a window of frames on their way and checks each that comes back. */
struct traffic {
	struct rig *rig;
	uint32_t window; /* frames on their way, at most SLOTS */
	uint32_t stop;   /* atomic */
	uint32_t frames; /* atomic: received and right */
};

static void traffic_send(struct rig *rig, uint32_t n)
{
	uint16_t slot = (uint16_t)(n % SLOTS);

	rig_fill(rig->mem + TX_BUF(slot) + 12, 100, n);
	rig_buffer(rig, RIG_RX, slot, RX_BUF(slot), 0x1000);
	rig_buffer(rig, RIG_TX, slot, TX_BUF(slot), 112);
	rig_kick_if_wanted(rig, RIG_TX);
}

static void *traffic_main(void *arg)
{
	struct traffic *traffic = arg;
	struct rig *rig = traffic->rig;
	struct rig_ring *rx = rig->ring + RIG_RX;
	uint32_t sent = 0, received = 0;

	while (!__atomic_load_n(&traffic->stop, __ATOMIC_RELAXED) || received < sent) {
		if (sent - received < traffic->window && !__atomic_load_n(&traffic->stop, __ATOMIC_RELAXED))
			traffic_send(rig, sent++);
		while ((uint16_t)received != rig_used(rig, RIG_RX)) {
			uint16_t slot = (uint16_t)(received % rx->conf.size);

			CHECK_EQ(rx->used->ring[slot].id, received % SLOTS);
			CHECK_EQ(rx->used->ring[slot].length, 112);
			CHECK(rig_same(rig->mem + RX_BUF(received % SLOTS) + 12, 100, received));
			received++;
		}
		__atomic_store_n(&traffic->frames, received, __ATOMIC_RELAXED);
		sched_yield();
	}
	return NULL;
}

/* n frames more, or (on a slow machine) as many as come in ms. If none comes for 10 s, a wake-up was lost. */
static void more_traffic(struct traffic *traffic, uint32_t n, uint32_t ms)
{
	uint32_t begin = __atomic_load_n(&traffic->frames, __ATOMIC_RELAXED), seen = begin, quiet = 0;

	for (uint32_t i = 0; seen - begin < n && (i < ms || quiet > 0); i++) {
		uint32_t last = seen;

		rig_sleep_ms(1);
		seen = __atomic_load_n(&traffic->frames, __ATOMIC_RELAXED);
		quiet = seen == last ? quiet + 1 : 0;
		CHECK(quiet < 10000);
	}
}

/* While paused nothing moves, and nothing is lost; the map may change, also of regions nobody uses now. */
static void test_pause(uint32_t poll_us, uint64_t features)
{
	struct rig_conf conf = {.poll_us = poll_us, .features = features};
	struct traffic traffic = {.window = SLOTS};
	static uint8_t page[0x1000];
	time_t end = time(NULL) + 3; /* a slow machine does fewer rounds */
	struct vdp_nic_error error;
	pthread_t thread;
	struct rig rig;

	rig_open(&rig, &conf);
	traffic.rig = &rig;
	CHECK_EQ(vdp_nic_pause(rig.nic, 0), 0); /* nested: already at rest */
	vdp_nic_resume(rig.nic);
	CHECK_EQ(pthread_create(&thread, NULL, traffic_main, &traffic), 0);
	rig_sleep_ms(5);
	CHECK_EQ(rig_used(&rig, RIG_TX), 0);
	vdp_nic_resume(rig.nic);
	for (uint64_t i = 0; i < 100 && (i < 20 || time(NULL) < end); i++) {
		uint16_t used;

		more_traffic(&traffic, 20, UINT32_MAX);
		CHECK_EQ(vdp_nic_pause(rig.nic, 2000), 0);
		used = rig_used(&rig, RIG_TX);
		CHECK_EQ(vdp_nic_queue_avail(rig.nic, RIG_TX), used);
		if (i % 2)
			CHECK_EQ(vdp_dma_unmap(rig.dma, 0x1000 * i, 0x1000), 0);
		else
			CHECK_EQ(vdp_dma_map(rig.dma, 0x1000 * (i + 1), 0x1000, page, 1), 0);
		CHECK_EQ(rig_used(&rig, RIG_TX), used);
		vdp_nic_resume(rig.nic);
	}
	__atomic_store_n(&traffic.stop, 1, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	vdp_nic_error(rig.nic, &error);
	CHECK_EQ(error.code, VDP_NIC_OK);
	rig_close(&rig);
}

/* One frame at a time, kicked only if asked for: a wake-up lost between the last look and sleep ends it. */
static void test_ping(uint64_t features)
{
	struct rig_conf conf = {.features = features};
	struct traffic traffic = {.window = 1};
	pthread_t thread;
	struct rig rig;

	rig_open(&rig, &conf);
	traffic.rig = &rig;
	vdp_nic_resume(rig.nic);
	CHECK_EQ(pthread_create(&thread, NULL, traffic_main, &traffic), 0);
	more_traffic(&traffic, 20000, 2000);
	__atomic_store_n(&traffic.stop, 1, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	rig_close(&rig);
}

/* The same IOVA moves to other memory: even without vdp_nic_refresh the old is not touched any more. */
static void test_move(void)
{
	struct rig_conf conf = {0};
	uint8_t *twin;
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_resume(rig.nic);
	rig_buffer(&rig, RIG_TX, 0, TX_BUF(0), 100);
	rig_kick(&rig, RIG_TX);
	rig_wait_used(&rig, RIG_TX, 1);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	twin = mmap(NULL, RIG_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(twin != MAP_FAILED);
	memcpy(twin, rig.mem, RIG_BYTES);
	rig_buffer(&rig, RIG_TX, 1, TX_BUF(0), 100); /* in the old place: not seen */
	CHECK_EQ(vdp_dma_unmap(rig.dma, RIG_IOVA, RIG_BYTES), 0);
	CHECK_EQ(vdp_dma_map(rig.dma, RIG_IOVA, RIG_BYTES, twin, 3), 0);
	vdp_nic_resume(rig.nic);
	rig_kick(&rig, RIG_TX);
	rig_sleep_ms(5);
	CHECK_EQ(rig_used(&rig, RIG_TX), 1);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	CHECK_EQ(vdp_dma_unmap(rig.dma, RIG_IOVA, RIG_BYTES), 0);
	vdp_nic_resume(rig.nic);
	rig_expect(&rig, VDP_NIC_DMA_FAULT, RIG_TX);
	CHECK_EQ(munmap(twin, RIG_BYTES), 0);
	rig_close(&rig);
}

/*
 * The guest cuts its memory off, and with it its rings, or the page at tx or rx: its NIC stops, we do not.
 * After a reset and with new memory it serves again.
 */
static void test_truncated(uint64_t keep, uint64_t tx, uint64_t rx, uint32_t poll_us)
{
	struct rig_conf conf = {.poll_us = poll_us};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_resume(rig.nic);
	rig_buffer(&rig, RIG_RX, 0, rx, 0x1000);
	rig_buffer(&rig, RIG_TX, 0, tx, 100);
	rig_kick(&rig, RIG_TX);
	rig_wait_used(&rig, RIG_RX, 1);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	rig_buffer(&rig, RIG_RX, 1, rx, 0x1000);
	rig_buffer(&rig, RIG_TX, 1, tx, 100);
	CHECK_EQ(ftruncate(rig.memfd, (off_t)keep), 0);
	vdp_nic_resume(rig.nic);
	/* A copy touches both, and which of them was lost it does not say. */
	rig_expect(&rig, VDP_NIC_MEMORY_GONE, keep ? RIG_RX : RIG_TX);
	CHECK_EQ(rig_take(rig.config_call), 1);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	vdp_nic_reset(rig.nic);
	CHECK_EQ(ftruncate(rig.memfd, RIG_BYTES), 0);
	rig_enable(&rig, RIG_TX, 64, 0);
	vdp_nic_run(rig.nic, true);
	rig_buffer(&rig, RIG_TX, 0, TX_BUF(0), 100);
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_TX, 1);
	rig_close(&rig);
}

/* A call fd that the guest has made blocking, and full: the worker hangs in it, control does not. */
static void test_blocking_call(bool pause)
{
	struct rig_conf conf = {0};
	uint64_t full = UINT64_MAX - 1;
	struct rig rig;
	int call;

	rig_open(&rig, &conf);
	call = rig.ring[RIG_TX].call;
	CHECK_EQ(write(call, &full, sizeof(full)), sizeof(full));
	CHECK_EQ(fcntl(call, F_SETFL, 0), 0);
	rig_buffer(&rig, RIG_TX, 0, TX_BUF(0), 100);
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_TX, 1);
	rig_sleep_ms(5);
	if (pause)
		CHECK_EQ(vdp_nic_pause(rig.nic, 2000), 0);
	CHECK_EQ(fcntl(call, F_SETFL, O_NONBLOCK), 0);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_TX)->calls), 0);
	rig_close(&rig);
}

int main(void)
{
	test_pause(0, 0);
	test_pause(0, RIG_F_EVENT | RIG_F_MRG);
	test_pause(50, RIG_F_EVENT);
	test_pause(UINT32_MAX, RIG_F_MRG);
	test_ping(0);
	test_ping(RIG_F_EVENT);
	test_move();
	test_truncated(0, TX_BUF(0), RX_BUF(0), 0);
	test_truncated(0, TX_BUF(0), RX_BUF(0), UINT32_MAX);
	test_truncated(RIG_BYTES - 0x1000, RIG_BYTES - 0x1000, RX_BUF(0), 0);
	test_truncated(RIG_BYTES - 0x1000, TX_BUF(0), RIG_BYTES - 0x1000, 0);
	test_blocking_call(true);
	test_blocking_call(false);
	return 0;
}
