/* Doorbell pages: stores that wake nobody, and a worker that looks. */
#include <errno.h>
#include <time.h>

#include "rig.h"

static uint8_t pages[RIG_QUEUES * RIG_PAGE] __attribute__((aligned(RIG_PAGE)));

static void ring_page(uint32_t queue)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*(volatile uint16_t *)(pages + queue * RIG_PAGE) = (uint16_t)queue;
}

static uint64_t page_kicks(const struct rig *rig, uint32_t queue)
{
	return rig_stat(&vdp_nic_queue_stats(rig->nic, queue)->page_kicks);
}

/* A store for each frame; without one nothing moves. */
static void test_ring(uint64_t features)
{
	struct rig_conf conf = {.features = features, .port = VDP_PORT_DISCARD, .pages = pages};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_resume(rig.nic);
	for (uint16_t i = 0; i < 20; i++) {
		rig_wait_asleep(&rig);
		rig_buffer(&rig, RIG_TX, i, RIG_BUFFERS, 100);
		rig_sleep_ms(2);
		CHECK_EQ(rig_used(&rig, RIG_TX), i);
		ring_page(RIG_TX);
		rig_wait_used(&rig, RIG_TX, (uint16_t)(i + 1));
	}
	CHECK_EQ(page_kicks(&rig, RIG_TX), 20);
	CHECK_EQ(page_kicks(&rig, RIG_RX), 0);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_TX)->kicks), 0);
	rig_close(&rig);
}

/* A pair that is not active is not listened to; its store is found once it is. */
static void test_active_pairs(void)
{
	struct rig_conf conf = {.port = VDP_PORT_DISCARD, .pairs = 2, .pages = pages};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_set_active_pairs(rig.nic, 1);
	vdp_nic_resume(rig.nic);
	ring_page(3);
	rig_sleep_ms(5);
	CHECK_EQ(page_kicks(&rig, 3), 0);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	vdp_nic_set_active_pairs(rig.nic, 2);
	vdp_nic_resume(rig.nic);
	for (int i = 0; i < 1000 && page_kicks(&rig, 3) == 0; i++)
		rig_sleep_ms(1);
	CHECK_EQ(page_kicks(&rig, 3), 1);
	rig_close(&rig);
}

/* While it looks, the worker can be paused at once, and a timed port keeps its time. */
static void test_pause(void)
{
	struct rig_conf conf = {.port = VDP_PORT_GENERATE,
	    .generate_size = 60,
	    .generate_pps = 1000,
	    .size = 256,
	    .pages = pages};
	struct rig rig;

	rig_open(&rig, &conf);
	for (uint16_t i = 0; i < 50; i++)
		rig_buffer(&rig, RIG_RX, i, RIG_BUFFERS + 0x1000ull * i, 0x1000);
	vdp_nic_resume(rig.nic);
	for (int i = 0; i < 100; i++) {
		CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
		vdp_nic_resume(rig.nic);
	}
	rig_wait_used(&rig, RIG_RX, 50);
	rig_close(&rig);
}

/* A store of before the start is a kick too many, not one too few. */
static void test_before_run(void)
{
	struct rig_conf conf = {.port = VDP_PORT_DISCARD, .pages = pages};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_run(rig.nic, false);
	vdp_nic_resume(rig.nic);
	ring_page(RIG_TX);
	rig_sleep_ms(5);
	CHECK_EQ(page_kicks(&rig, RIG_TX), 0);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	vdp_nic_run(rig.nic, true);
	vdp_nic_resume(rig.nic);
	for (int i = 0; i < 1000 && page_kicks(&rig, RIG_TX) == 0; i++)
		rig_sleep_ms(1);
	CHECK_EQ(page_kicks(&rig, RIG_TX), 1);
	rig_close(&rig);
}

int main(void)
{
	test_ring(0);
	test_ring(RIG_F_EVENT);
	test_active_pairs();
	test_pause();
	test_before_run();
	return 0;
}
