/* Several NICs on one worker: each wakes, stops and goes for itself. */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "rig.h"

#define RX    (RIG_BUFFERS)
#define TX    (RIG_BUFFERS + 0x100000ull)
#define NICS  40u
#define SLOTS 64u

static void open_on(struct rig *rig, struct vdp_worker *worker, uint32_t poll_us)
{
	struct rig_conf conf = {.worker = worker, .poll_us = poll_us};

	rig_open(rig, &conf);
	vdp_nic_resume(rig->nic);
}

static void send(struct rig *rig)
{
	uint16_t slot = rig->ring[RIG_TX].next % SLOTS;

	rig_buffer(rig, RIG_RX, slot, RX + slot * 0x1000u, 0x1000);
	rig_buffer(rig, RIG_TX, slot, TX + slot * 0x1000u, 100);
	rig_kick(rig, RIG_TX);
}

/* A frame goes out and comes back. */
static void echo(struct rig *rig)
{
	send(rig);
	rig_wait_used(rig, RIG_TX, rig->ring[RIG_TX].next);
	rig_wait_used(rig, RIG_RX, rig->ring[RIG_RX].next);
}

/* A kick wakes the NIC that it is for, and nobody else is polled. */
static void test_each_wakes_alone(void)
{
	const struct vdp_worker_stats *stats;
	struct vdp_worker *worker;
	struct rig rig[NICS];
	uint64_t polls;

	CHECK_EQ(vdp_worker_init(&worker, -1), 0);
	for (uint32_t i = 0; i < NICS; i++)
		open_on(rig + i, worker, 0);
	stats = vdp_nic_worker_stats(rig[0].nic);
	CHECK(stats == vdp_nic_worker_stats(rig[NICS - 1].nic));
	for (uint32_t i = 0; i < NICS; i++) {
		rig_wait_asleep(rig);
		polls = rig_stat(&stats->polls);
		echo(rig + i);
		rig_wait_asleep(rig);
		CHECK(rig_stat(&stats->polls) - polls <= 3);
		CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig[i].nic, RIG_TX)->kicks), 1);
	}
	CHECK_EQ(rig_stat(&stats->packets), NICS);
	for (uint32_t i = 0; i < NICS; i++)
		rig_close(rig + i);
	vdp_worker_fini(worker);
}

/* While one is polled without end, others that sleep are heard. */
static void test_busy_neighbour(void)
{
	struct vdp_worker *worker;
	struct rig busy, quiet;

	CHECK_EQ(vdp_worker_init(&worker, -1), 0);
	open_on(&busy, worker, UINT32_MAX);
	open_on(&quiet, worker, 0);
	for (int i = 0; i < 20; i++) {
		rig_sleep_ms(1);
		echo(&quiet);
		echo(&busy);
	}
	rig_close(&quiet);
	echo(&busy);
	rig_close(&busy);
	vdp_worker_fini(worker);
}

/* A neighbour with its own time: it is kept, asleep or not. */
static void test_timed_neighbour(uint32_t poll_us)
{
	struct rig_conf conf = {
	    .port = VDP_PORT_GENERATE, .generate_size = 60, .generate_pps = 1000, .size = SLOTS};
	struct vdp_worker *worker;
	struct rig timed, other;

	CHECK_EQ(vdp_worker_init(&worker, -1), 0);
	conf.worker = worker;
	rig_open(&timed, &conf);
	for (uint16_t i = 0; i < 50; i++)
		rig_buffer(&timed, RIG_RX, i, RX + i * 0x1000u, 0x1000);
	vdp_nic_resume(timed.nic);
	open_on(&other, worker, poll_us);
	echo(&other);
	rig_wait_used(&timed, RIG_RX, 50);
	echo(&other);
	rig_close(&other);
	rig_close(&timed);
	vdp_worker_fini(worker);
}

/* The error of one, or the loss of its memory, is not its neighbour's. */
static void test_errors_stay(bool truncate)
{
	struct vdp_worker *worker;
	struct rig bad, good;

	CHECK_EQ(vdp_worker_init(&worker, -1), 0);
	open_on(&bad, worker, 0);
	open_on(&good, worker, 0);
	echo(&bad);
	if (truncate) {
		CHECK_EQ(ftruncate(bad.memfd, 0), 0);
		rig_kick(&bad, RIG_TX);
		rig_expect(&bad, VDP_NIC_MEMORY_GONE, RIG_TX);
		CHECK_EQ(rig_take(bad.config_call), 1);
	} else {
		rig_desc(&bad, RIG_TX, 1, 0xdead0000ull, 100, 0, 0);
		rig_offer(&bad, RIG_TX, 1);
		rig_kick(&bad, RIG_TX);
		rig_expect(&bad, VDP_NIC_DMA_FAULT, RIG_TX);
	}
	for (int i = 0; i < 10; i++) {
		echo(&good);
		rig_kick(&bad, RIG_TX);
	}
	CHECK_EQ(rig_take(bad.config_call), truncate ? 0 : 1);
	rig_close(&bad);
	echo(&good);
	rig_close(&good);
	vdp_worker_fini(worker);
}

struct pauser {
	struct vdp_nic *nic;
	uint32_t stop, pauses; /* atomic */
};

static void *pauser_main(void *arg)
{
	struct pauser *pauser = arg;

	while (!__atomic_load_n(&pauser->stop, __ATOMIC_RELAXED)) {
		CHECK_EQ(vdp_nic_pause(pauser->nic, 5000), 0);
		__atomic_fetch_add(&pauser->pauses, 1, __ATOMIC_RELAXED);
		vdp_nic_resume(pauser->nic);
		sched_yield();
	}
	return NULL;
}

static bool paused_often(const struct pauser *pauser)
{
	return __atomic_load_n(&pauser->pauses, __ATOMIC_RELAXED) > 10;
}

/* Two control threads, each with its own NIC on the same worker, while both carry traffic. */
static void test_pauses_at_once(void)
{
	struct vdp_worker *worker;
	struct pauser pausers[2] = {0};
	pthread_t threads[2];
	struct rig rig[2];

	CHECK_EQ(vdp_worker_init(&worker, -1), 0);
	for (int i = 0; i < 2; i++) {
		open_on(rig + i, worker, i ? 20 : 0);
		pausers[i].nic = rig[i].nic;
		CHECK_EQ(pthread_create(threads + i, NULL, pauser_main, pausers + i), 0);
	}
	/* At least 300 frames; more where the control threads seldom get a processor. */
	for (int n = 0; n < 300 || (n < 30000 && !(paused_often(pausers) && paused_often(pausers + 1))); n++)
		echo(rig + n % 2);
	for (int i = 0; i < 2; i++) {
		__atomic_store_n(&pausers[i].stop, 1, __ATOMIC_RELAXED);
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
		CHECK(paused_often(pausers + i));
	}
	/* One's pause ends when it says so, not when the other's does. */
	CHECK_EQ(vdp_nic_pause(rig[0].nic, 5000), 0);
	CHECK_EQ(vdp_nic_pause(rig[1].nic, 5000), 0);
	vdp_nic_resume(rig[0].nic);
	send(rig);
	rig_sleep_ms(5);
	CHECK(rig_used(rig, RIG_TX) != rig->ring[RIG_TX].next);
	vdp_nic_resume(rig[1].nic);
	rig_wait_used(rig, RIG_TX, rig->ring[RIG_TX].next);
	rig_close(rig);
	rig_close(rig + 1);
	vdp_worker_fini(worker);
}

/* NICs come and go under their neighbour's traffic; a place that is free again is taken again. */
static void test_come_and_go(void)
{
	struct vdp_worker *worker;
	struct rig stays, guest[3];

	CHECK_EQ(vdp_worker_init(&worker, -1), 0);
	open_on(&stays, worker, 10);
	for (int n = 0; n < 20; n++) {
		for (int i = 0; i < 3; i++)
			open_on(guest + i, worker, 0);
		echo(&stays);
		echo(guest + n % 3);
		rig_close(guest + n % 3);
		echo(guest + (n + 1) % 3);
		echo(&stays);
		rig_close(guest + (n + 1) % 3);
		rig_close(guest + (n + 2) % 3);
	}
	echo(&stays);
	rig_close(&stays);
	vdp_worker_fini(worker);
}

/* A frame put on the wire reaches its NIC, asleep or not. */
static void test_inject(uint32_t poll_us)
{
	static const uint8_t frame[60];
	struct vdp_worker *worker;
	struct rig one, other;
	int rc;

	CHECK_EQ(vdp_worker_init(&worker, -1), 0);
	open_on(&one, worker, poll_us);
	open_on(&other, worker, 0);
	for (uint16_t i = 0; i < 5; i++) {
		rig_buffer(&one, RIG_RX, i, RX, 0x1000);
		while ((rc = vdp_nic_inject(one.nic, 0, frame, sizeof(frame))) == -EAGAIN)
			rig_sleep_ms(1); /* it gives the last one back after we have received it */
		CHECK_EQ(rc, 0);
		rig_wait_used(&one, RIG_RX, (uint16_t)(i + 1));
	}
	CHECK_EQ(rig_used(&other, RIG_RX), 0);
	rig_close(&one);
	rig_close(&other);
	vdp_worker_fini(worker);
}

static void test_bad_cpu(void)
{
	struct vdp_worker *worker;

	CHECK_EQ(vdp_worker_init(&worker, 4095), -EINVAL);
}

int main(void)
{
	test_each_wakes_alone();
	test_busy_neighbour();
	test_timed_neighbour(0);
	test_timed_neighbour(UINT32_MAX);
	test_errors_stay(false);
	test_errors_stay(true);
	test_pauses_at_once();
	test_come_and_go();
	test_inject(0);
	test_inject(UINT32_MAX);
	test_bad_cpu();
	return 0;
}
