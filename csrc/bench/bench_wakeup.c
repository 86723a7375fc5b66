/*
 * From a kick to the call that answers it, the worker asleep; and from one eventfd to another through a
 * thread that does nothing else. Usage: bench_wakeup ROUNDS TIMES CPU CPU. A line for each round: the medians
 * of both, ns.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cpu.h"
#include "rig.h"

#define RX (RIG_BUFFERS)
#define TX (RIG_BUFFERS + 0x100000ull)

struct pong {
	int ping, pong;
	int cpu;
};

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	CHECK_EQ(pthread_setaffinity_np(pthread_self(), sizeof(set), &set), 0);
}

/* The other side does this too: an eventfd is told of, and then another. */
static void *pong_main(void *arg)
{
	struct pong *pong = arg;
	uint64_t n;

	pin(pong->cpu);
	while (read(pong->ping, &n, sizeof(n)) == sizeof(n) && n < UINT32_MAX) {
		n = 1;
		CHECK_EQ(write(pong->pong, &n, sizeof(n)), sizeof(n));
	}
	return NULL;
}

static uint64_t signal_and_wait(int kick, int call)
{
	struct pollfd set = {.fd = call, .events = POLLIN};
	uint64_t one = 1, begin = vdp_now_ns(CLOCK_MONOTONIC), end;

	CHECK_EQ(write(kick, &one, sizeof(one)), sizeof(one));
	CHECK_EQ(poll(&set, 1, 5000), 1);
	end = vdp_now_ns(CLOCK_MONOTONIC);
	CHECK_EQ(read(call, &one, sizeof(one)), sizeof(one));
	return end - begin;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(uint64_t *ns, uint32_t times)
{
	qsort(ns, times, sizeof(*ns), compare);
	return ns[times / 2];
}

/* Long enough for the other side to be asleep again. */
static void settle(void)
{
	struct timespec wait = {0, 30000};

	nanosleep(&wait, NULL);
}

static uint64_t measure_nic(struct rig *rig, uint64_t *ns, uint32_t times)
{
	struct rig_ring *rx = rig->ring + RIG_RX, *tx = rig->ring + RIG_TX;

	for (uint32_t i = 0; i < times; i++) {
		settle();
		rig_buffer(rig, RIG_RX, rx->next % 64, RX, 0x1000);
		rig_buffer(rig, RIG_TX, tx->next % 64, TX, 72);
		ns[i] = signal_and_wait(tx->kick, rx->call);
		CHECK_EQ(rig_used(rig, RIG_RX), rx->next);
	}
	return median(ns, times);
}

static uint64_t measure_pong(const struct pong *pong, uint64_t *ns, uint32_t times)
{
	for (uint32_t i = 0; i < times; i++) {
		settle();
		ns[i] = signal_and_wait(pong->ping, pong->pong);
	}
	return median(ns, times);
}

int main(int argc, char **argv)
{
	CHECK_EQ(argc, 5);

	uint32_t rounds = (uint32_t)atoi(argv[1]), times = (uint32_t)atoi(argv[2]);
	struct pong pong = {.ping = eventfd(0, EFD_CLOEXEC), .cpu = atoi(argv[4])};
	uint64_t *ns = calloc(times, sizeof(*ns)), end = UINT32_MAX;
	struct rig_conf conf = {0};
	struct vdp_worker *worker;
	pthread_t thread;
	struct rig rig;

	pong.pong = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pin(atoi(argv[3]));
	CHECK_EQ(pthread_create(&thread, NULL, pong_main, &pong), 0);
	CHECK_EQ(vdp_worker_init(&worker, pong.cpu), 0);
	conf.worker = worker;
	rig_open(&rig, &conf);
	rig.ring[RIG_TX].avail->flags =
	    VDP_SPLIT_NO_INTERRUPT; /* one call for a kick: the received frame's */
	vdp_nic_resume(rig.nic);
	for (uint32_t i = 0; ns && i < rounds; i++) {
		uint64_t nic = measure_nic(&rig, ns, times);

		printf("%llu %llu\n", (unsigned long long)nic,
		    (unsigned long long)measure_pong(&pong, ns, times));
	}
	CHECK_EQ(write(pong.ping, &end, sizeof(end)), sizeof(end));
	CHECK_EQ(pthread_join(thread, NULL), 0);
	rig_close(&rig);
	vdp_worker_fini(worker);
	free(ns);
	return 0;
}
