/* Ports, sleeping, pausing, and counters of the software NIC. */
#include <errno.h>
#include <time.h>

#include "rig.h"

#define RX_BUF(i) (RIG_BUFFERS + 0x1000ull * (i))
#define TX_BUF(i) (RIG_BUFFERS + 0x100000ull + 0x1000ull * (i))

static void send(struct rig *rig, uint16_t i, uint32_t length)
{
	uint8_t *at = rig->mem + TX_BUF(i);

	memset(at, 0xee, 12);
	rig_fill(at + 12, length, i);
	rig_buffer(rig, RIG_TX, i, TX_BUF(i), length + 12);
}

static void check_received(struct rig *rig, uint16_t slot, uint16_t buffer, uint16_t frame, uint32_t length)
{
	static const uint8_t header[12] = {[10] = 1};
	struct rig_ring *rx = rig->ring + RIG_RX;

	CHECK_EQ(rx->used->ring[slot].id, buffer);
	CHECK_EQ(rx->used->ring[slot].length, length + 12);
	CHECK(!memcmp(rig->mem + RX_BUF(buffer), header, 12));
	CHECK(rig_same(rig->mem + RX_BUF(buffer) + 12, length, frame));
}

/* Every length around the steps of the copy, and the longest frame that fits. */
static void test_echo(uint64_t features)
{
	static const uint32_t lengths[] = {1, 15, 16, 17, 31, 32, 33, 60, 64, 65, 255, 256, 257, 1518, 4084};
	uint16_t n = sizeof(lengths) / sizeof(lengths[0]);
	struct rig_conf conf = {.features = features};
	struct rig rig;

	rig_open(&rig, &conf);
	for (uint16_t i = 0; i < n; i++) {
		memset(rig.mem + RX_BUF(i), 0x55, 0x1000);
		rig_buffer(&rig, RIG_RX, i, RX_BUF(i), 0x1000);
		send(&rig, i, lengths[i]);
	}
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_TX, n);
	rig_wait_used(&rig, RIG_RX, n);
	for (uint16_t i = 0; i < n; i++)
		check_received(&rig, i, i, i, lengths[i]);
	rig_close(&rig);
}

/* Before DRIVER_OK nothing is consumed; a kick of that time is not forgotten. */
static void test_before_run(void)
{
	struct rig_conf conf = {0};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_run(rig.nic, false);
	send(&rig, 0, 60);
	vdp_nic_resume(rig.nic);
	rig_kick(&rig, RIG_TX);
	rig_sleep_ms(10);
	CHECK_EQ(rig_used(&rig, RIG_TX), 0);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	vdp_nic_run(rig.nic, true);
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_TX, 1);
	rig_close(&rig);
}

/* A queue that starts somewhere else goes on there, and used idx is not written before something is used. */
static void test_restart(void)
{
	struct rig_conf conf = {.start = 65000};
	struct rig rig;

	rig_open(&rig, &conf);
	rig.ring[RIG_RX].used->idx = 0x1234;
	vdp_nic_resume(rig.nic);
	send(&rig, 0, 60);
	rig_kick(&rig, RIG_TX);
	rig_wait_used(&rig, RIG_TX, 65001);
	CHECK_EQ(rig_used(&rig, RIG_RX), 0x1234);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->dropped), 1);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	CHECK_EQ(vdp_nic_queue_avail(rig.nic, RIG_TX), 65001);
	CHECK_EQ(vdp_nic_queue_avail(rig.nic, RIG_RX), 65000);
	vdp_nic_queue_disable(rig.nic, RIG_TX);
	CHECK_EQ(vdp_nic_queue_enable(rig.nic, RIG_RX, &rig.ring[RIG_RX].conf), -EBUSY);
	rig_enable(&rig, RIG_TX, 128, 7);
	send(&rig, 1, 60);
	rig_buffer(&rig, RIG_RX, 0, RX_BUF(0), 0x1000);
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_TX, 8);
	rig_wait_used(&rig, RIG_RX, 65001);
	check_received(&rig, 65000 % 64, 0, 1, 60);
	rig_close(&rig);
}

static void test_refuses(void)
{
	struct rig_conf conf = {0};
	struct vdp_queue_conf queue = {.size = 64};
	struct vdp_nic_conf nic = {.pairs = 0, .cpu = -1, .event_fd = -1};
	struct vdp_nic *none;
	struct rig rig;

	CHECK_EQ(vdp_nic_init(&none, &nic), -EINVAL);
	nic.pairs = VDP_NIC_MAX_PAIRS + 1;
	CHECK_EQ(vdp_nic_init(&none, &nic), -EINVAL);
	nic = (struct vdp_nic_conf){.pairs = 1, .port = 99, .cpu = -1, .event_fd = -1};
	CHECK_EQ(vdp_nic_init(&none, &nic), -EINVAL);
	nic = (struct vdp_nic_conf){.pairs = 1,
	    .port = VDP_PORT_GENERATE,
	    .generate_size = 59,
	    .cpu = -1,

	    .event_fd = -1};
	CHECK_EQ(vdp_nic_init(&none, &nic), -EINVAL);
	nic = (struct vdp_nic_conf){.pairs = 1, .cpu = 4000, .event_fd = -1};
	CHECK_EQ(vdp_nic_init(&none, &nic), -EINVAL);
	rig_open(&rig, &conf);
	CHECK_EQ(vdp_nic_queue_enable(rig.nic, 2, &queue), -EINVAL);
	vdp_nic_queue_disable(rig.nic, RIG_TX);
	for (uint32_t size = 0; size < 65536; size += 37) {
		queue.size = (uint16_t)size;
		if (size == 0 || (size & (size - 1)))
			CHECK_EQ(vdp_nic_queue_enable(rig.nic, RIG_TX, &queue), -EINVAL);
	}
	CHECK(!vdp_nic_queue_stats(rig.nic, 2));
	rig_close(&rig);
}

static void test_discard(void)
{
	struct rig_conf conf = {.port = VDP_PORT_DISCARD};
	struct rig rig;

	rig_open(&rig, &conf);
	rig_buffer(&rig, RIG_RX, 0, RX_BUF(0), 0x1000);
	for (uint16_t i = 0; i < 50; i++)
		send(&rig, i, 100);
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_TX, 50);
	CHECK_EQ(rig_used(&rig, RIG_RX), 0);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_TX)->packets), 50);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_TX)->bytes), 5000);
	CHECK_EQ(rig_stat(&vdp_nic_worker_stats(rig.nic)->packets), 50);
	rig_close(&rig);
}

static void check_generated(const uint8_t *frame, uint64_t sequence)
{
	static const uint8_t start[14] = {0x52, 0x54, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 0, 0x88, 0xb5};

	CHECK(!memcmp(frame, start, sizeof(start)));
	CHECK_EQ(frame[21] | frame[20] << 8, sequence);
	CHECK_EQ(frame[59], 59);
}

/* As many frames as there are buffers; then the NIC sleeps until there are more, and none was lost. */
static void test_generate(uint64_t features, uint32_t size)
{
	struct rig_conf conf = {
	    .features = features, .port = VDP_PORT_GENERATE, .generate_size = size, .start = 65500};
	uint32_t length = features & RIG_F_MRG ? 1024 : 4096;
	uint16_t chains = (uint16_t)((size + 12 + length - 1) / length);
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_resume(rig.nic);
	for (uint16_t frame = 0; frame < 100; frame++) {
		for (uint16_t i = 0; i < chains; i++) {
			rig_sleep_ms(frame % 50 == 0);
			rig_buffer(&rig, RIG_RX, i, RX_BUF(i), length);
			rig_kick_if_wanted(&rig, RIG_RX);
		}
		rig_wait_used(&rig, RIG_RX, (uint16_t)(65500 + chains * (frame + 1)));
		check_generated(rig.mem + RX_BUF(0) + 12, frame);
		CHECK_EQ(rig.mem[RX_BUF(0) + 10], chains);
	}
	rig_close(&rig);
}

/* At a rate: neither much less nor more; and asleep between. */
static void test_generate_pps(void)
{
	struct rig_conf conf = {
	    .port = VDP_PORT_GENERATE, .generate_size = 60, .generate_pps = 500, .size = 256, .pairs = 2};
	struct timespec begin, end;
	long most;
	struct rig rig;

	rig_open(&rig, &conf);
	for (uint32_t queue = 0; queue < 4; queue += 2) {
		for (uint16_t i = 0; i < 250; i++)
			rig_buffer(&rig, queue, i, RX_BUF(i), 0x1000);
	}
	clock_gettime(CLOCK_MONOTONIC, &begin);
	vdp_nic_resume(rig.nic);
	rig_sleep_ms(200);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	most = (end.tv_sec - begin.tv_sec) * 500 + (end.tv_nsec - begin.tv_nsec) / 2000000 + 1;
	for (uint32_t queue = 0; queue < 4; queue += 2) {
		CHECK(rig_used(&rig, queue) >= 40); /* fewer than 100: a busy machine makes it late */
		CHECK(rig_used(&rig, queue) <= most);
	}
	CHECK(rig_stat(&vdp_nic_worker_stats(rig.nic)->sleeps) >= 40);
	rig_close(&rig);
}

/* Nothing to do, nothing done: the worker does not even wake up. */
static void test_idle(uint32_t port)
{
	struct rig_conf conf = {.port = port, .generate_size = 60, .poll_us = 100, .features = RIG_F_EVENT};
	const struct vdp_worker_stats *stats;
	struct timespec before, after;
	uint64_t polls;
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_resume(rig.nic);
	stats = vdp_nic_worker_stats(rig.nic);
	rig_wait_asleep(&rig);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	polls = rig_stat(&stats->polls);
	rig_sleep_ms(200);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	CHECK_EQ(rig_stat(&stats->polls), polls);
	CHECK((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec < 5000000);
	rig_close(&rig);
}

static void test_inject(void)
{
	struct rig_conf conf = {.features = RIG_F_MRG};
	uint8_t frame[1000];
	struct rig rig;

	rig_open(&rig, &conf);
	rig_fill(frame, sizeof(frame), 0);
	CHECK_EQ(vdp_nic_inject(rig.nic, 1, frame, 60), -EINVAL);
	CHECK_EQ(vdp_nic_inject(rig.nic, 0, frame, 13), -EINVAL);
	CHECK_EQ(vdp_nic_inject(rig.nic, 0, frame, sizeof(frame)), 0);
	CHECK_EQ(vdp_nic_inject(rig.nic, 0, frame, sizeof(frame)), -EAGAIN);
	rig_buffer(&rig, RIG_RX, 0, RX_BUF(0), 0x1000);
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_RX, 1);
	check_received(&rig, 0, 0, 0, sizeof(frame));
	CHECK_EQ(rig_take(rig.ring[RIG_RX].call), 1);
	while (vdp_nic_inject(rig.nic, 0, frame, 60) == -EAGAIN)
		rig_sleep_ms(1);
	for (int i = 0; i < 1000 && !rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->dropped); i++)
		rig_sleep_ms(1);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->dropped), 1);
	rig_close(&rig);
}

/* Only active pairs are served, each with its own buffers. */
static void test_pairs(void)
{
	struct rig_conf conf = {.pairs = 2};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_set_active_pairs(rig.nic, 1);
	for (uint16_t pair = 0; pair < 2; pair++) {
		rig_fill(rig.mem + TX_BUF(pair) + 12, 80, pair);
		rig_buffer(&rig, pair * 2 + 1, 0, TX_BUF(pair), 92);
		rig_buffer(&rig, pair * 2, 0, RX_BUF(pair), 0x1000);
	}
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, 0, 1);
	rig_kick(&rig, 3);
	rig_sleep_ms(5);
	CHECK_EQ(rig_used(&rig, 3), 0);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	vdp_nic_set_active_pairs(rig.nic, 2);
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, 2, 1);
	CHECK(rig_same(rig.mem + RX_BUF(0) + 12, 80, 0));
	CHECK(rig_same(rig.mem + RX_BUF(1) + 12, 80, 1));
	rig_close(&rig);
}

int main(void)
{
	test_echo(0);
	test_echo(RIG_F_MRG);
	test_echo(RIG_F_MRG | RIG_F_EVENT);
	test_before_run();
	test_restart();
	test_refuses();
	test_discard();
	test_generate(0, 60);
	test_generate(RIG_F_EVENT, 2048);
	test_generate(RIG_F_EVENT | RIG_F_MRG, 9000);
	test_generate(RIG_F_MRG, 60);
	test_generate_pps();
	test_idle(VDP_PORT_ECHO);
	test_idle(VDP_PORT_GENERATE);
	test_inject();
	test_pairs();
	return 0;
}
