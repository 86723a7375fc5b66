/* Notifications both ways: exactly those that the driver asked for, across the wrap of the index. */
#include <errno.h>

#include "doorbell.h"
#include "rig.h"

#define RX (RIG_BUFFERS)
#define TX (RIG_BUFFERS + 0x100000ull)

static uint16_t *used_event(struct rig *rig, uint32_t queue)
{
	struct rig_ring *ring = rig->ring + queue;

	return &ring->avail->ring[ring->conf.size];
}

static uint16_t *avail_event(struct rig *rig, uint32_t queue)
{
	struct rig_ring *ring = rig->ring + queue;

	return (uint16_t *)&ring->used->ring[ring->conf.size];
}

/* While the NIC is paused offer n frames and as many buffers; then it serves them in one burst. */
static void burst(struct rig *rig, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		rig_buffer(rig, RIG_RX, i, RX + i * 0x1000u, 0x1000);
		rig_buffer(rig, RIG_TX, i, TX + i * 0x1000u, 72);
	}
	vdp_nic_resume(rig->nic);
	rig_wait_used(rig, RIG_RX, rig->ring[RIG_RX].next);
	rig_wait_used(rig, RIG_TX, rig->ring[RIG_TX].next);
	CHECK_EQ(vdp_nic_pause(rig->nic, 1000), 0);
}

/* With EVENT_IDX: called when a burst crosses the event, and only then. 65535 lies inside each run. */
static void test_event_idx(void)
{
	static const struct {
		uint16_t burst;
		int16_t event; /* relative to the used index before the burst */
		uint64_t calls;
	} steps[] = {{1, 0, 1}, {1, 1, 0}, {8, 0, 1}, {8, 7, 1}, {8, 8, 0}, {8, -1, 0}, {3, 2, 1}, {3, 1, 1},
	    {3, 32767, 0}};
	struct rig_conf conf = {.features = RIG_F_EVENT | RIG_F_MRG};
	uint64_t calls = 0;
	struct rig rig;

	for (uint16_t start = 65490; start != 3; start++) {
		conf.start = start;
		rig_open(&rig, &conf);
		calls = 0;
		for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
			uint16_t event = (uint16_t)(rig.ring[RIG_RX].next + steps[i].event);

			*used_event(&rig, RIG_RX) = event;
			*used_event(&rig, RIG_TX) = (uint16_t)(event + 0x4000); /* far away: no calls */
			burst(&rig, steps[i].burst);
			CHECK_EQ(rig_take(rig.ring[RIG_RX].call), steps[i].calls);
			calls += steps[i].calls;
		}
		CHECK_EQ(rig_take(rig.ring[RIG_TX].call), 0);
		CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->calls), calls);
		CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->calls_suppressed),
		    sizeof(steps) / sizeof(steps[0]) - calls);
		rig_close(&rig);
	}
}

static void test_flags(void)
{
	struct rig_conf conf = {.start = 65530};
	struct rig rig;

	rig_open(&rig, &conf);
	for (int i = 0; i < 10; i++) {
		bool quiet = i % 3 == 0;

		rig.ring[RIG_TX].avail->flags = quiet ? VDP_SPLIT_NO_INTERRUPT : 0;
		burst(&rig, 2);
		CHECK_EQ(rig_take(rig.ring[RIG_TX].call), !quiet);
		CHECK_EQ(rig_take(rig.ring[RIG_RX].call), 1);
	}
	rig_close(&rig);
}

/* Asleep, the NIC wants to be kicked; polling it does not. */
static void test_notify_flags(void)
{
	struct rig_conf conf = {0};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_resume(rig.nic);
	rig_wait_asleep(&rig);
	CHECK_EQ(__atomic_load_n(&rig.ring[RIG_TX].used->flags, __ATOMIC_RELAXED), 0);
	rig_close(&rig);

	conf.poll_us = UINT32_MAX;
	rig_open(&rig, &conf);
	rig.ring[RIG_TX].used->flags = 0;
	vdp_nic_resume(rig.nic);
	rig_buffer(&rig, RIG_TX, 0, TX, 72);
	rig_wait_used(&rig, RIG_TX, 1);
	rig_sleep_ms(5);
	CHECK_EQ(__atomic_load_n(&rig.ring[RIG_TX].used->flags, __ATOMIC_RELAXED), VDP_SPLIT_NO_NOTIFY);
	rig_close(&rig);
}

/* Asleep with EVENT_IDX: avail_event names the next frame, and a kick for it is enough. */
static void test_avail_event(void)
{
	struct rig_conf conf = {.features = RIG_F_EVENT, .start = 65535};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_resume(rig.nic);
	for (uint16_t i = 0; i < 5; i++) {
		rig_wait_asleep(&rig);
		CHECK_EQ(__atomic_load_n(avail_event(&rig, RIG_TX), __ATOMIC_RELAXED), (uint16_t)(65535 + i));
		rig_buffer(&rig, RIG_TX, i, TX, 72);
		rig_kick(&rig, RIG_TX);
		rig_wait_used(&rig, RIG_TX, (uint16_t)(65535 + i + 1));
	}
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_TX)->kicks), 5);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->kicks), 0);
	rig_close(&rig);
}

/* Kicks come by fd, by the NIC's own fd, and by call; none of them is ever read empty. */
static void test_kinds_of_kick(void)
{
	struct rig_conf conf = {.features = RIG_F_EVENT};
	struct vdp_doorbell bell = {.kind = VDP_DOORBELL_EVENTFD};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_resume(rig.nic);
	bell.fd = vdp_nic_doorbell_fd(rig.nic, RIG_TX);
	CHECK(bell.fd >= 0);
	CHECK_EQ(vdp_nic_doorbell_fd(rig.nic, RIG_TX), bell.fd);
	CHECK_EQ(vdp_nic_kick(rig.nic, 2), -EINVAL);
	for (uint16_t i = 0; i < 9; i++) {
		rig_wait_asleep(&rig);
		rig_buffer(&rig, RIG_TX, i, TX, 72);
		if (i % 3 == 0)
			rig_kick(&rig, RIG_TX);
		else if (i % 3 == 1)
			CHECK_EQ(vdp_doorbell_ring(&bell), 0);
		else
			CHECK_EQ(vdp_nic_kick(rig.nic, RIG_TX), 0);
		rig_wait_used(&rig, RIG_TX, (uint16_t)(i + 1));
	}
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_TX)->kicks), 9);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	CHECK_EQ(vdp_nic_set_kick(rig.nic, RIG_TX, -1), 0);
	CHECK_EQ(vdp_nic_set_kick(rig.nic, RIG_TX, 9999), -EBADF);
	CHECK_EQ(vdp_nic_set_kick(rig.nic, 2, -1), -EINVAL);
	rig_close(&rig);
}

int main(void)
{
	test_event_idx();
	test_flags();
	test_notify_flags();
	test_avail_event();
	test_kinds_of_kick();
	return 0;
}
