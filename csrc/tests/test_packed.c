/* The device's half of the packed ring, and IN_ORDER. */
#include "rig.h"

#define RX   (RIG_BUFFERS)
#define TX   (RIG_BUFFERS + 0x100000ull)
#define BITS (VDP_PACKED_AVAIL | VDP_PACKED_USED)

static void offer_rx(struct rig *rig, uint64_t offset, uint32_t length, uint16_t id)
{
	rig_packed(rig, RIG_RX, rig_iova(offset), length, VDP_PACKED_WRITE, id);
}

static void offer_tx(struct rig *rig, uint64_t offset, uint32_t length, uint16_t id)
{
	rig_fill(rig->mem + offset + 12, length, id);
	rig_packed(rig, RIG_TX, rig_iova(offset), length + 12, 0, id);
}

static void go(struct rig *rig)
{
	vdp_nic_resume(rig->nic);
	rig_kick(rig, RIG_TX);
}

static void check_rx(struct rig *rig, uint16_t id, uint64_t offset, uint32_t length, uint32_t seed)
{
	struct vdp_packed_desc used = rig_packed_used(rig, RIG_RX, 1);

	CHECK_EQ(used.id, id);
	CHECK_EQ(used.length, length + 12);
	CHECK_EQ(used.flags & ~BITS, VDP_PACKED_WRITE); /* Ref: 2.8.4: the length means something */
	CHECK_EQ(rig->mem[offset + 10], 1);
	CHECK(rig_same(rig->mem + offset + 12, length, seed));
}

/* Any size, several laps, in bursts that do not divide it; ids are the driver's own business. */
static void test_laps(uint16_t size, uint16_t burst, uint64_t features)
{
	struct rig_conf conf = {.features = RIG_F_PACKED | features, .size = size};
	uint32_t sent = 0;
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_resume(rig.nic);
	while (sent < 4u * size + 3) {
		for (uint16_t i = 0; i < burst; i++) {
			offer_rx(&rig, RX + i * 0x800u, 0x800, (uint16_t)(40000 + i));
			offer_tx(&rig, TX + i * 0x800u, 60 + sent % 200, (uint16_t)(sent + i));
		}
		rig_kick(&rig, RIG_TX);
		for (uint16_t i = 0; i < burst; i++) {
			struct vdp_packed_desc used;

			check_rx(&rig, (uint16_t)(40000 + i), RX + i * 0x800u, 60 + sent % 200,
			    (uint16_t)(sent + i));
			if (features & RIG_F_IN_ORDER)
				continue;
			used = rig_packed_used(&rig, RIG_TX, 1);
			CHECK_EQ(used.id, (uint16_t)(sent + i));
			CHECK_EQ(used.flags & ~BITS, 0);
		}
		sent += burst;
	}
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	CHECK_EQ(vdp_nic_queue_avail(rig.nic, RIG_RX), rig.ring[RIG_RX].next);
	CHECK_EQ(vdp_nic_queue_avail(rig.nic, RIG_TX), rig.ring[RIG_TX].next);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->packets), sent);
	rig_close(&rig);
}

/* Sizes that cannot be; positions outside the ring; and the largest ring. */
static void test_sizes(void)
{
	struct rig_conf conf = {.features = RIG_F_PACKED};
	struct vdp_queue_conf queue;
	struct rig rig;

	rig_open(&rig, &conf);
	queue = rig.ring[RIG_TX].conf;
	vdp_nic_queue_disable(rig.nic, RIG_TX);
	queue.size = 0;
	CHECK(vdp_nic_queue_enable(rig.nic, RIG_TX, &queue) < 0);
	queue.size = 32769;
	CHECK(vdp_nic_queue_enable(rig.nic, RIG_TX, &queue) < 0);
	queue.size = 7;
	queue.last_avail = 0x8007;
	CHECK(vdp_nic_queue_enable(rig.nic, RIG_TX, &queue) < 0);
	/* The last descriptor of the largest ring, with the wrap counter at 0; then the first, with 1. */
	queue.size = 32768;
	queue.last_avail = 0x7fff;
	queue.desc = rig_iova(0x200000);
	memset(rig.mem + 0x200000, 0xff, 16u * 32768);
	CHECK_EQ(vdp_nic_queue_enable(rig.nic, RIG_TX, &queue), 0);
	rig.ring[RIG_TX].conf = queue;
	rig.ring[RIG_TX].packed = (struct vdp_packed_desc *)(rig.mem + 0x200000);
	rig.ring[RIG_TX].next = rig.ring[RIG_TX].back = 0x7fff;
	rig.ring[RIG_TX].packed[0].flags = 0;
	vdp_nic_resume(rig.nic);
	for (uint16_t i = 0; i < 2; i++) {
		offer_tx(&rig, TX, 100, i);
		rig_kick(&rig, RIG_TX);
		CHECK_EQ(rig_packed_used(&rig, RIG_TX, 1).id, i);
	}
	CHECK_EQ(rig.ring[RIG_TX].back, 0x8001);
	rig_close(&rig);
}

/* Chains across the end of the ring: the last id counts, one used descriptor, the rest is skipped. */
static void test_chains(void)
{
	struct rig_conf conf = {.features = RIG_F_PACKED, .size = 5, .start = 3};
	struct vdp_packed_desc used;
	struct rig rig;

	rig_open(&rig, &conf);
	rig_packed(&rig, RIG_RX, rig_iova(RX), 12, VDP_PACKED_WRITE | VDP_PACKED_NEXT, 1);
	rig_packed(&rig, RIG_RX, rig_iova(RX + 0x1000), 0, VDP_PACKED_WRITE | VDP_PACKED_NEXT, 2);
	rig_packed(&rig, RIG_RX, rig_iova(RX + 0x2000), 2000, VDP_PACKED_WRITE, 500);
	offer_rx(&rig, RX + 0x3000, 200, 9);
	rig_fill(rig.mem + TX, 1000, 1);
	rig_packed(&rig, RIG_TX, rig_iova(RX + 0x8000), 7, VDP_PACKED_NEXT, 3);
	rig_packed(&rig, RIG_TX, rig_iova(RX + 0x9000), 5, VDP_PACKED_NEXT, 3);
	rig_packed(&rig, RIG_TX, rig_iova(TX), 1, VDP_PACKED_NEXT, 3);
	rig_packed(&rig, RIG_TX, rig_iova(TX + 1), 999, 0, 65535);
	offer_tx(&rig, TX + 0x1000, 100, 4);
	go(&rig);
	used = rig_packed_used(&rig, RIG_RX, 3);
	CHECK_EQ(used.id, 500);
	CHECK_EQ(used.length, 1012);
	CHECK(rig_same(rig.mem + RX + 0x2000, 1000, 1));
	CHECK_EQ(rig.mem[RX + 10], 1);
	CHECK_EQ(rig_packed_used(&rig, RIG_TX, 4).id, 65535);
	check_rx(&rig, 9, RX + 0x3000, 100, 4);
	CHECK_EQ(rig_packed_used(&rig, RIG_TX, 1).id, 4);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	CHECK_EQ(vdp_nic_queue_avail(rig.nic, RIG_TX), rig.ring[RIG_TX].next);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_TX)->packets), 2);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->dropped), 0);
	rig_close(&rig);
}

/* Ref: 2.8.8: a table ends where its length says; NEXT in it means nothing; the id is the outer one. */
static void test_indirect(void)
{
	struct rig_conf conf = {.features = RIG_F_PACKED | RIG_F_INDIRECT, .size = 3};
	struct vdp_packed_desc *table, used;
	uint64_t at = RIG_BUFFERS + 0x200000;
	struct rig rig;

	rig_open(&rig, &conf);
	table = (struct vdp_packed_desc *)(rig.mem + at);
	table[0] = (struct vdp_packed_desc){rig_iova(RX), 12, 77, VDP_PACKED_WRITE};
	table[1] =
	    (struct vdp_packed_desc){rig_iova(RX + 0x1000), 500, 78, VDP_PACKED_WRITE | VDP_PACKED_NEXT};
	rig_packed(&rig, RIG_RX, rig_iova(at), 32, VDP_PACKED_INDIRECT, 5);
	table[8] = (struct vdp_packed_desc){rig_iova(TX), 12, 0, VDP_PACKED_NEXT};
	table[9] = (struct vdp_packed_desc){rig_iova(TX + 0x100), 100, 0, VDP_PACKED_NEXT};
	table[10] = (struct vdp_packed_desc){rig_iova(TX + 0x200), 200, 0, 0};
	rig_fill(rig.mem + TX + 0x100, 100, 3);
	rig_fill(rig.mem + TX + 0x200, 200, 4);
	rig_packed(&rig, RIG_TX, rig_iova(at + 128), 48, VDP_PACKED_INDIRECT | VDP_PACKED_WRITE, 6);
	go(&rig);
	used = rig_packed_used(&rig, RIG_RX, 1);
	CHECK_EQ(used.id, 5);
	CHECK_EQ(used.length, 312);
	CHECK(rig_same(rig.mem + RX + 0x1000, 100, 3));
	CHECK(rig_same(rig.mem + RX + 0x1000 + 100, 200, 4));
	CHECK_EQ(rig_packed_used(&rig, RIG_TX, 1).id, 6);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_TX)->indirect), 1);
	rig_close(&rig);
}

/* One frame over three buffers, one of them a chain, across the end of the ring. */
static void test_mergeable(uint64_t features)
{
	struct rig_conf conf = {.features = RIG_F_PACKED | RIG_F_MRG | features, .size = 6, .start = 3};
	struct vdp_packed_desc used;
	struct rig rig;

	rig_open(&rig, &conf);
	offer_rx(&rig, RX, 12, 11);
	rig_packed(&rig, RIG_RX, rig_iova(RX + 0x1000), 100, VDP_PACKED_WRITE | VDP_PACKED_NEXT, 0);
	rig_packed(&rig, RIG_RX, rig_iova(RX + 0x2000), 28, VDP_PACKED_WRITE, 12);
	offer_rx(&rig, RX + 0x3000, 512, 13);
	offer_tx(&rig, TX, 300, 1);
	go(&rig);
	used = rig_packed_used(&rig, RIG_RX, 1);
	CHECK_EQ(used.id, 11);
	CHECK_EQ(used.length, 12);
	CHECK_EQ(rig.mem[RX + 10], 3);
	used = rig_packed_used(&rig, RIG_RX, 2);
	CHECK_EQ(used.id, 12);
	CHECK_EQ(used.length, 128);
	used = rig_packed_used(&rig, RIG_RX, 1);
	CHECK_EQ(used.id, 13);
	CHECK_EQ(used.length, 172);
	CHECK(!memcmp(rig.mem + RX + 0x1000, rig.mem + TX + 12, 100));
	CHECK(!memcmp(rig.mem + RX + 0x2000, rig.mem + TX + 112, 28));
	CHECK(!memcmp(rig.mem + RX + 0x3000, rig.mem + TX + 140, 172));
	rig_close(&rig);
}

/* A frame that finds no room is dropped, and the descriptors it might have had are as they were. */
static void test_no_room(uint64_t features, uint32_t length)
{
	struct rig_conf conf = {.features = RIG_F_PACKED | features, .size = 7, .start = 6};
	struct vdp_packed_desc before[7];
	struct rig rig;

	rig_open(&rig, &conf);
	offer_rx(&rig, RX, 200, 1);
	offer_rx(&rig, RX + 0x1000, 200, 2);
	offer_tx(&rig, TX, length, 1);
	memcpy(before, rig.ring[RIG_RX].packed, sizeof(before));
	go(&rig);
	CHECK_EQ(rig_packed_used(&rig, RIG_TX, 1).id, 1);
	CHECK(!memcmp(before, rig.ring[RIG_RX].packed, sizeof(before)));
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->dropped), 1);
	offer_tx(&rig, TX + 0x1000, 60, 2);
	rig_kick(&rig, RIG_TX);
	check_rx(&rig, 1, RX, 60, 2);
	rig_close(&rig);
}

/* Ref: 2.8.7: one used descriptor where the batch began, with the last id; the length of a receive buffer
 * must be told, so those are used one by one. */
static void test_in_order(uint16_t start)
{
	struct rig_conf conf = {
	    .features = RIG_F_PACKED | RIG_F_IN_ORDER | RIG_F_MRG, .size = 8, .start = start};
	struct vdp_packed_desc before[8];
	struct rig_ring *tx;
	struct rig rig;

	rig_open(&rig, &conf);
	tx = rig.ring + RIG_TX;
	for (uint16_t i = 0; i < 5; i++) {
		offer_rx(&rig, RX + i * 0x1000u, 0x1000, (uint16_t)(20 + i));
		offer_tx(&rig, TX + i * 0x1000u, 100, (uint16_t)(30 + i));
	}
	memcpy(before, tx->packed, sizeof(before));
	go(&rig);
	for (uint16_t i = 0; i < 5; i++)
		check_rx(&rig, (uint16_t)(20 + i), RX + i * 0x1000u, 100, 30 + i);
	CHECK_EQ(rig_packed_used(&rig, RIG_TX, 5).id, 34); /* also where the ring ended meanwhile */
	for (uint16_t i = 1; i < 5; i++)
		CHECK(!memcmp(before + (start + i) % 8, tx->packed + (start + i) % 8, 16));
	/* The next batch is a chain: its used descriptor is where it began. */
	rig_packed(&rig, RIG_TX, rig_iova(TX), 12, VDP_PACKED_NEXT, 1);
	rig_packed(&rig, RIG_TX, rig_iova(TX + 12), 60, 0, 2);
	rig_kick(&rig, RIG_TX);
	CHECK_EQ(rig_packed_used(&rig, RIG_TX, 2).id, 2);
	rig_close(&rig);
}

/* Ref: 2.7.9: the same in a split ring */
static void test_split_in_order(void)
{
	struct rig_conf conf = {.features = RIG_F_IN_ORDER, .size = 8, .start = 65533};
	struct vdp_split_used *used;
	struct rig rig;

	rig_open(&rig, &conf);
	used = rig.ring[RIG_TX].used;
	memset(used->ring, 0xff, 8 * sizeof(used->ring[0]));
	for (uint16_t i = 0; i < 5; i++) {
		rig_buffer(&rig, RIG_RX, i, RX + i * 0x1000u, 0x1000);
		rig_buffer(&rig, RIG_TX, i, TX + i * 0x1000u, 112);
	}
	go(&rig);
	rig_wait_used(&rig, RIG_TX, 2);
	rig_wait_used(&rig, RIG_RX, 2);
	CHECK_EQ(used->ring[65533 % 8].id, 4);
	CHECK_EQ(used->ring[65534 % 8].id, 0xffffffff);
	CHECK_EQ(used->ring[1].id, 0xffffffff);
	for (uint16_t i = 0; i < 5; i++) {
		CHECK_EQ(rig.ring[RIG_RX].used->ring[(65533 + i) % 8].id, i);
		CHECK_EQ(rig.ring[RIG_RX].used->ring[(65533 + i) % 8].length, 112);
	}
	rig_close(&rig);
}

int main(void)
{
	static const uint16_t sizes[] = {1, 2, 3, 5, 64, 100, 1000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint16_t size = sizes[i];

		test_laps(size, 1, 0);
		test_laps(size, size < 99 ? size : 99, RIG_F_MRG);
		test_laps(size, size < 70 ? size : 70, RIG_F_IN_ORDER | RIG_F_EVENT);
	}
	test_sizes();
	test_chains();
	test_indirect();
	test_mergeable(0);
	test_mergeable(RIG_F_IN_ORDER);
	test_no_room(0, 189);         /* one byte too long for a buffer */
	test_no_room(RIG_F_MRG, 389); /* and for both */
	for (uint16_t start = 0; start < 8; start++)
		test_in_order(start);
	test_split_in_order();
	return 0;
}
