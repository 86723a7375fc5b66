/*
 * The echo path by itself, and its floors, all on one CPU and in its caches: cycles of bursts of 64 frames.
 * Usage: bench_echo split|packed[_inorder]|ring|memcpy FRAME_BYTES BURST BURSTS. Prints frames, polls and
 * cycles.
 *
 * memcpy: the same bytes, from buffer to buffer. ring: the least that a device does with two split rings,
 * without a check and without a copy.
 */
#include <pthread.h>
#include <sched.h>

#include "cpu.h"
#include "net_device.h"
#include "rig.h"

#define SLOTS 256u
/* At another place in their pages than what is sent: a load would wait for stores that look like its own. */
#define RX    (RIG_BUFFERS + 0x440ull)
#define TX    (RIG_BUFFERS + 0x100000ull)
#define PITCH 0x800ull

/* Beyond what the compiler can see: it must do the work. */
static void did(const void *memory)
{
	__asm__ volatile("" : : "r"(memory) : "memory");
}

static void offer(struct rig *rig, uint32_t queue, uint64_t at, uint32_t length, uint32_t burst)
{
	for (uint32_t i = 0; i < burst; i++) {
		uint16_t slot =
		    rig->packed ? vdp_packed_at(rig->ring[queue].next) : rig->ring[queue].next % SLOTS;
		uint16_t flags = queue % 2 ? 0 : VDP_DESC_WRITE;

		if (rig->packed)
			rig_packed(rig, queue, rig_iova(at + slot * PITCH), length, flags, slot);
		else
			rig_buffer(rig, queue, slot, at + slot * PITCH, length);
	}
}

static void wait_packed(struct rig *rig, uint32_t queue, uint32_t burst)
{
	for (uint32_t i = 0; i < burst; i++)
		rig_packed_used(rig, queue, 1);
}

static void burst_of_nic(struct rig *rig, uint32_t size, uint32_t burst)
{
	offer(rig, RIG_RX, RX, (uint32_t)PITCH, burst);
	offer(rig, RIG_TX, TX, size + VDP_NET_HDR, burst);
	vdp_nic_resume(rig->nic);
	if (rig->packed) {
		wait_packed(rig, RIG_RX, burst);
		if (rig->in_order)
			rig_packed_used(rig, RIG_TX, burst); /* tells of all of them */
		else
			wait_packed(rig, RIG_TX, burst);
	} else {
		rig_wait_used(rig, RIG_RX, rig->ring[RIG_RX].next);
		rig_wait_used(rig, RIG_TX, rig->ring[RIG_TX].next);
	}
	CHECK_EQ(vdp_nic_pause(rig->nic, 5000), 0);
}

/* What is available in one ring to used, as little as can be. */
static void ring_turn(struct rig_ring *ring)
{
	uint16_t from = ring->used->idx, to = __atomic_load_n(&ring->avail->idx, __ATOMIC_ACQUIRE);

	for (; from != to; from++) {
		uint16_t head = ring->avail->ring[from % SLOTS];
		const struct vdp_split_desc *desc = ring->desc + head;

		ring->used->ring[from % SLOTS].id = head;
		ring->used->ring[from % SLOTS].length = desc->length;
		did((const void *)desc->addr);
	}
	__atomic_store_n(&ring->used->idx, from, __ATOMIC_RELEASE);
}

static uint64_t burst_of_ring(struct rig *rig, uint32_t size, uint32_t burst)
{
	uint64_t begin;

	offer(rig, RIG_RX, RX, (uint32_t)PITCH, burst);
	offer(rig, RIG_TX, TX, size + VDP_NET_HDR, burst);
	begin = vdp_tsc();
	ring_turn(rig->ring + RIG_RX);
	ring_turn(rig->ring + RIG_TX);
	return vdp_tsc() - begin;
}

static uint64_t burst_of_memcpy(struct rig *rig, uint32_t size, uint32_t burst, uint32_t number)
{
	uint64_t begin = vdp_tsc();

	for (uint32_t i = 0; i < burst; i++) {
		uint64_t at = (number * burst + i) % SLOTS * PITCH + VDP_NET_HDR;

		memcpy(rig->mem + RX + at, rig->mem + TX + at, size);
		did(rig->mem);
	}
	return vdp_tsc() - begin;
}

/* As a driver that polls, such as DPDK's: a call is a system call, and this is about frames. */
static void want_no_calls(struct rig *rig)
{
	for (uint32_t queue = 0; queue < 2; queue++) {
		if (rig->packed)
			rig->ring[queue].driver->flags = VDP_PACKED_EVENT_DISABLE;
		else
			rig->ring[queue].avail->flags = VDP_SPLIT_NO_INTERRUPT;
	}
}

static void one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)sched_getcpu(), &set);
	CHECK_EQ(sched_setaffinity(0, sizeof(set), &set), 0); /* inherited by the worker */
}

int main(int argc, char **argv)
{
	CHECK_EQ(argc, 5);

	const char *what = argv[1];
	uint32_t size = (uint32_t)atoi(argv[2]), burst = (uint32_t)atoi(argv[3]),
		 bursts = (uint32_t)atoi(argv[4]);
	struct rig_conf conf = {.features = RIG_F_MRG, .size = SLOTS};
	const struct vdp_worker_stats *stats;
	uint64_t cycles = 0, polls = bursts;
	struct rig rig;

	one_cpu();
	if (!strncmp(what, "packed", 6))
		conf.features |= RIG_F_PACKED;
	if (strstr(what, "inorder"))
		conf.features |= RIG_F_IN_ORDER;
	rig_open(&rig, &conf);
	want_no_calls(&rig);
	stats = vdp_nic_worker_stats(rig.nic);
	for (uint32_t i = 0; i < bursts; i++) {
		if (!strcmp(what, "ring"))
			cycles += burst_of_ring(&rig, size, burst);
		else if (!strcmp(what, "memcpy"))
			cycles += burst_of_memcpy(&rig, size, burst, i);
		else
			burst_of_nic(&rig, size, burst);
	}
	if (stats->polls > 0) {
		cycles = stats->busy_cycles;
		polls = stats->polls;
	}
	printf("%u %llu %llu\n", burst * bursts, (unsigned long long)polls, (unsigned long long)cycles);
	rig_close(&rig);
	return 0;
}
