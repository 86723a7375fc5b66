/*
 * Random rings, some sane, most not, changed while they are served. Whatever the driver does, the NIC touches
 * only what is mapped and how it is mapped, and it can always be paused and reset.
 */
#include <sys/mman.h>
#include <time.h>

#include "rig.h"

#define PAGE    0x1000ull
#define SIZE    32u
#define FRAMES  5000u /* three seconds' worth on a common machine */
#define SECONDS 50    /* at most, however slow the machine */

/* Between the mapped pages lie pages that nobody can touch: a stray access is a SIGSEGV. */
struct area {
	uint64_t iova;
	uint8_t *host;
	uint32_t perm;
};

enum { RINGS, FIRST, SECOND, READ_ONLY, WRITE_ONLY, AREAS };

struct world {
	struct vdp_nic *nic;
	struct vdp_dma *dma;
	struct area area[AREAS];
	uint8_t read_only[PAGE];
	uint64_t random;
	uint32_t codes; /* bit mask of errors that were provoked */
	uint64_t served;
	bool packed; /* this round's rings */
};

static uint32_t pick(struct world *world, uint32_t below)
{
	world->random ^= world->random << 13;
	world->random ^= world->random >> 7;
	world->random ^= world->random << 17;
	return (uint32_t)(world->random >> 20) % below;
}

static void world_map(struct world *world)
{
	uint8_t *base = mmap(NULL, 32 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(base != MAP_FAILED);
	CHECK_EQ(vdp_dma_init(&world->dma), 0);
	for (uint32_t i = 0; i < AREAS; i++) {
		struct area *area = world->area + i;

		/* FIRST and SECOND follow each other for the device, and READ_ONLY follows them. */
		area->iova = i == RINGS ? 0x10000 : 0x20000 + i * PAGE;
		area->host = base + (2 * i + 1) * PAGE;
		area->perm = i == READ_ONLY ? VDP_DMA_READ : i == WRITE_ONLY ? VDP_DMA_WRITE : 3;
		CHECK_EQ(mprotect(area->host, PAGE, PROT_READ | PROT_WRITE), 0);
		for (uint32_t j = 0; j < PAGE; j++)
			area->host[j] = (uint8_t)pick(world, 256);
		CHECK_EQ(vdp_dma_map(world->dma, area->iova, PAGE, area->host, area->perm), 0);
	}
	memcpy(world->read_only, world->area[READ_ONLY].host, PAGE);
}

static uint64_t random_address(struct world *world, bool write)
{
	uint32_t kind = pick(world, 40);
	const struct area *area = world->area + (write ? FIRST + pick(world, 2) : FIRST + pick(world, 3));

	if (kind == 0)
		return (uint64_t)pick(world, UINT32_MAX) << pick(world, 33);
	if (kind == 1)
		area = world->area + pick(world, AREAS);
	if (kind < 6)
		return area->iova + PAGE - pick(world, 64);
	return area->iova + pick(world, PAGE - 1600);
}

static uint32_t random_length(struct world *world)
{
	static const uint32_t lengths[] = {
	    0, 1, 11, 12, 13, 16, 24, 32, 48, 512, 1024, 65562, 0x80000000, 0xffffffff};
	uint32_t kind = pick(world, 30);

	return kind < 2 ? lengths[pick(world, sizeof(lengths) / sizeof(lengths[0]))] : 12 + pick(world, 1500);
}

static struct vdp_split_desc random_desc(struct world *world, bool write)
{
	struct vdp_split_desc desc = {.length = random_length(world), .flags = write ? VDP_DESC_WRITE : 0};
	uint32_t kind = pick(world, 60);

	desc.addr = random_address(world, write);
	desc.next = (uint16_t)pick(world, kind == 0 ? 65536 : SIZE);
	if (kind < 12)
		desc.flags |= VDP_DESC_NEXT;
	else if (kind < 16)
		desc.flags ^= (uint16_t)(1u << pick(world, 3));
	if (kind == 17)
		desc.flags = (uint16_t)pick(world, 65536);
	if (desc.flags & VDP_DESC_INDIRECT && kind < 15)
		desc.length = 16 * pick(world, SIZE + 2);
	return desc;
}

/* A packed descriptor has its flags where a split one has next; mostly they offer it on the first lap. */
static void put_desc(struct world *world, struct vdp_split_desc *at, bool write)
{
	struct vdp_split_desc desc = random_desc(world, write);

	if (world->packed) {
		uint16_t flags = desc.flags & 7;

		if (pick(world, 30))
			flags |= pick(world, 8) ? VDP_PACKED_AVAIL : VDP_PACKED_USED;
		desc.flags = desc.next;
		desc.next = flags;
	}
	*at = desc;
}

static struct vdp_queue_conf ring_conf(uint32_t queue, uint16_t start)
{
	uint64_t base = 0x10000 + queue * PAGE / 2;

	return (struct vdp_queue_conf){.desc = base,
	    .driver = base + 16 * SIZE,
	    .device = base + 18 * SIZE + 32,
	    .size = SIZE,
	    .last_avail = start};
}

/* What a round can be seen to have served: it starts at a position in the first lap, or anywhere. */
static uint16_t first_of(struct world *world)
{
	return (uint16_t)(world->packed ? VDP_PACKED_START | pick(world, SIZE) : pick(world, 65536));
}

/* Everything of a queue anew, or (while it is served) one thing. */
static void scribble(struct world *world, uint32_t queue, uint16_t start, bool all)
{
	uint8_t *base = world->area[RINGS].host + queue * PAGE / 2;
	struct vdp_split_desc *desc = (struct vdp_split_desc *)base;
	volatile uint16_t *avail = (volatile uint16_t *)(base + 16 * SIZE);

	for (uint32_t i = 0; i < (all ? SIZE : 1); i++) {
		put_desc(world, desc + pick(world, SIZE), queue == RIG_RX);
		/* Some pages hold descriptors as well, for tables. */
		put_desc(world, (struct vdp_split_desc *)world->area[FIRST].host + pick(world, 256),
		    queue == RIG_RX);
		avail[2 + pick(world, SIZE)] = (uint16_t)pick(world, pick(world, 20) ? SIZE : 65536);
	}
	if (all)
		avail[1] = (uint16_t)(start + pick(world, pick(world, 20) ? SIZE + 1 : 65536));
	else
		avail[1] = (uint16_t)(avail[1] + pick(world, 3));
	avail[0] = (uint16_t)pick(world, 2);
	avail[2 + SIZE] = (uint16_t)pick(world, 65536);
}

static void one_round(struct world *world, uint64_t seed)
{
	uint64_t served = rig_stat(&vdp_nic_queue_stats(world->nic, RIG_RX)->packets);
	struct vdp_nic_error error;
	uint16_t start;

	world->random = seed * 0x9e3779b97f4a7c15ull + 1;
	world->packed = pick(world, 2);
	start = first_of(world);
	vdp_nic_reset(world->nic);
	vdp_nic_set_features(world->nic,
	    (uint64_t)pick(world, 8) * RIG_F_INDIRECT | (pick(world, 2) ? RIG_F_MRG : 0) |
		(world->packed ? RIG_F_PACKED : 0) | (pick(world, 2) ? RIG_F_IN_ORDER : 0),
	    pick(world, 4) ? 0 : pick(world, 64)); /* tunnels, longer headers */
	for (uint32_t queue = 0; queue < 2; queue++) {
		struct vdp_queue_conf conf = ring_conf(queue, start);

		scribble(world, queue, start, true);
		CHECK_EQ(vdp_nic_queue_enable(world->nic, queue, &conf), 0);
	}
	vdp_nic_run(world->nic, true);
	vdp_nic_resume(world->nic);
	for (uint32_t i = pick(world, 200); i > 0; i--) {
		scribble(world, pick(world, 2), start, false);
		if (pick(world, 8) == 0)
			vdp_nic_kick(world->nic, pick(world, 2));
	}
	if (vdp_nic_pause(world->nic, 5000) != 0 ||
	    memcmp(world->read_only, world->area[READ_ONLY].host, PAGE) != 0) {
		fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
		CHECK(!"paused, and read-only memory as it was");
	}
	vdp_nic_error(world->nic, &error);
	world->codes |= 1u << error.code;
	world->served += rig_stat(&vdp_nic_queue_stats(world->nic, RIG_RX)->packets) - served;
}

/* The rounds were worth it: each kind of error came up, and frames went through. */
static bool worth_it(const struct world *world)
{
	return world->codes == (((1u << VDP_NIC_MEMORY_GONE) - 1) | 1u << VDP_NIC_BAD_WRAP) &&
	       world->served >= FRAMES;
}

int main(void)
{
	struct vdp_nic_conf conf = {.pairs = 1, .port = VDP_PORT_ECHO, .cpu = -1, .event_fd = -1};
	static struct world world = {.random = 88172645463325252ull};
	time_t end = time(NULL) + SECONDS;
	uint64_t seed = 0;

	world_map(&world);
	CHECK_EQ(vdp_nic_init(&world.nic, &conf), 0);
	vdp_nic_set_dma(world.nic, world.dma);
	while (!worth_it(&world) && time(NULL) < end)
		one_round(&world, seed++);
	vdp_nic_fini(world.nic);
	vdp_dma_fini(world.dma);
	fprintf(stderr, "%llu rounds, %llu frames received, errors 0x%x\n", (unsigned long long)seed,
	    (unsigned long long)world.served, world.codes);
	CHECK(worth_it(&world));
	return 0;
}
