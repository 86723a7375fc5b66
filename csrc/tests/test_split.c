/* The device's half of the split ring: shapes of buffers that are allowed. */
#include "rig.h"

#define RX (RIG_BUFFERS)
#define TX (RIG_BUFFERS + 0x100000ull)

/* A frame of one descriptor each way, as the end of other tests: the queues still work. */
static void send_plain(struct rig *rig, uint16_t at, uint64_t offset, uint32_t length)
{
	rig_fill(rig->mem + offset + 12, length, at);
	rig_buffer(rig, RIG_TX, at, offset, length + 12);
}

static void go(struct rig *rig)
{
	vdp_nic_resume(rig->nic);
	rig_kick(rig, RIG_TX);
}

/* Header and data apart, data in three, an empty descriptor between, on both sides. */
static void test_chains(void)
{
	struct rig_conf conf = {0};
	struct rig rig;

	rig_open(&rig, &conf);
	rig_desc(&rig, RIG_RX, 5, rig_iova(RX), 12, VDP_DESC_WRITE | VDP_DESC_NEXT, 9);
	rig_desc(&rig, RIG_RX, 9, rig_iova(RX + 0x1000), 0, VDP_DESC_WRITE | VDP_DESC_NEXT, 3);
	rig_desc(&rig, RIG_RX, 3, rig_iova(RX + 0x2000), 2000, VDP_DESC_WRITE, 77);
	rig_offer(&rig, RIG_RX, 5);
	rig_fill(rig.mem + TX, 1000, 1);
	rig_desc(&rig, RIG_TX, 0, rig_iova(RX + 0x8000), 7, VDP_DESC_NEXT, 1);
	rig_desc(&rig, RIG_TX, 1, rig_iova(RX + 0x9000), 5, VDP_DESC_NEXT, 2);
	rig_desc(&rig, RIG_TX, 2, rig_iova(TX), 1, VDP_DESC_NEXT, 3);
	rig_desc(&rig, RIG_TX, 3, rig_iova(TX + 5), 0, VDP_DESC_NEXT, 63);
	rig_desc(&rig, RIG_TX, 63, rig_iova(TX + 1), 999, 0, 0);
	rig_offer(&rig, RIG_TX, 0);
	go(&rig);
	rig_wait_used(&rig, RIG_RX, 1);
	rig_wait_used(&rig, RIG_TX, 1);
	CHECK_EQ(rig.ring[RIG_RX].used->ring[0].id, 5);
	CHECK_EQ(rig.ring[RIG_RX].used->ring[0].length, 1012);
	CHECK_EQ(rig.ring[RIG_TX].used->ring[0].id, 0);
	CHECK_EQ(rig.ring[RIG_TX].used->ring[0].length, 0);
	CHECK_EQ(rig.mem[RX + 10], 1);
	CHECK(rig_same(rig.mem + RX + 0x2000, 1000, 1));
	rig_close(&rig);
}

/* Ref: 2.7.5.3: a table alone, and one after other descriptors; its WRITE flag means nothing. */
static void test_indirect(void)
{
	struct rig_conf conf = {.features = RIG_F_INDIRECT};
	const struct vdp_queue_stats *stats;
	struct vdp_split_desc *table;
	struct rig rig;

	rig_open(&rig, &conf);
	table = (struct vdp_split_desc *)(rig.mem + RIG_BUFFERS + 0x200000);
	table[0] = (struct vdp_split_desc){rig_iova(RX), 12, VDP_DESC_WRITE | VDP_DESC_NEXT, 2};
	table[2] = (struct vdp_split_desc){rig_iova(RX + 0x1000), 500, VDP_DESC_WRITE, 9};
	rig_desc(&rig, RIG_RX, 1, rig_iova((uint64_t)((uint8_t *)table - rig.mem)), 48, VDP_DESC_INDIRECT, 0);
	rig_offer(&rig, RIG_RX, 1);
	table[8] = (struct vdp_split_desc){rig_iova(TX), 300, 0, 9};
	rig_fill(rig.mem + TX, 300, 3);
	rig_desc(&rig, RIG_TX, 0, rig_iova(TX + 0x1000), 12, VDP_DESC_NEXT, 4);
	rig_desc(&rig, RIG_TX, 4, rig_iova((uint64_t)((uint8_t *)(table + 8) - rig.mem)), 16,
	    VDP_DESC_INDIRECT | VDP_DESC_WRITE, 4);
	rig_offer(&rig, RIG_TX, 0);
	go(&rig);
	rig_wait_used(&rig, RIG_RX, 1);
	CHECK_EQ(rig.ring[RIG_RX].used->ring[0].id, 1);
	CHECK_EQ(rig.ring[RIG_RX].used->ring[0].length, 312);
	CHECK(rig_same(rig.mem + RX + 0x1000, 300, 3));
	rig_wait_used(&rig, RIG_TX, 1);
	stats = vdp_nic_queue_stats(rig.nic, RIG_TX);
	CHECK_EQ(rig_stat(&stats->indirect), 1);
	rig_close(&rig);
}

/* Regions that follow each other in IOVA space but not in ours; table and buffers lie across. */
static void test_across_regions(void)
{
	struct rig_conf conf = {.features = RIG_F_INDIRECT, .unmapped = true};
	uint64_t seam = 0x200000000ull;
	uint8_t frame[0x800 - 12];
	struct vdp_split_desc entry;
	struct rig rig;

	rig_open(&rig, &conf);
	CHECK_EQ(vdp_dma_map(rig.dma, RIG_IOVA, 0x100000, rig.mem, 3), 0);
	CHECK_EQ(vdp_dma_map(rig.dma, seam - 0x1000, 0x1000, rig.mem + 0x300000, 3), 0);
	CHECK_EQ(vdp_dma_map(rig.dma, seam, 0x1000, rig.mem + 0x200000, 3), 0);
	CHECK_EQ(vdp_dma_map(rig.dma, seam + 0x1000, 0x1000, rig.mem + 0x280000, 3), 0);
	CHECK_EQ(vdp_dma_map(rig.dma, seam + 0x2000, 0x1000, rig.mem + 0x2c0000, 3), 0);
	vdp_nic_refresh(rig.nic);
	/* The table's one entry: 8 bytes on either side of a seam. The frame: 500 before the seam. */
	entry = (struct vdp_split_desc){seam - 0x200, 0x800, 0, 0};
	memcpy(rig.mem + 0x280ff8, &entry, 8);
	memcpy(rig.mem + 0x2c0000, (uint8_t *)&entry + 8, 8);
	rig_fill(frame, sizeof(frame), 5);
	memcpy(rig.mem + 0x300e0c, frame, 500);
	memcpy(rig.mem + 0x200000, frame + 500, sizeof(frame) - 500);
	rig_desc(&rig, RIG_TX, 0, seam + 0x1ff8, 16, VDP_DESC_INDIRECT, 0);
	rig_offer(&rig, RIG_TX, 0);
	/* The receive buffer: its header before the seam. */
	rig_desc(&rig, RIG_RX, 0, seam + 0xff4, 0x900, VDP_DESC_WRITE, 0);
	rig_offer(&rig, RIG_RX, 0);
	go(&rig);
	rig_wait_used(&rig, RIG_TX, 1);
	rig_wait_used(&rig, RIG_RX, 1);
	CHECK_EQ(rig.ring[RIG_RX].used->ring[0].length, 0x800);
	CHECK_EQ(rig.mem[0x200ffe], 1);
	CHECK(!memcmp(rig.mem + 0x280000, frame, sizeof(frame)));
	rig_close(&rig);
}

static void test_mergeable(void)
{
	struct rig_conf conf = {.features = RIG_F_MRG | RIG_F_EVENT, .start = 65534};
	struct vdp_split_used *used;
	struct rig rig;

	rig_open(&rig, &conf);
	used = rig.ring[RIG_RX].used;
	/* 12 bytes for a first buffer: the header alone. Then a chain of two, then more than is needed. */
	rig_buffer(&rig, RIG_RX, 0, RX, 12);
	rig_desc(&rig, RIG_RX, 1, rig_iova(RX + 0x1000), 100, VDP_DESC_WRITE | VDP_DESC_NEXT, 2);
	rig_desc(&rig, RIG_RX, 2, rig_iova(RX + 0x2000), 28, VDP_DESC_WRITE, 0);
	rig_offer(&rig, RIG_RX, 1);
	rig_buffer(&rig, RIG_RX, 3, RX + 0x3000, 512);
	rig_buffer(&rig, RIG_RX, 4, RX + 0x4000, 112);
	send_plain(&rig, 1, TX, 300);
	send_plain(&rig, 2, TX + 0x1000, 100);
	send_plain(&rig, 3, TX + 0x2000, 100); /* no buffer left */
	go(&rig);
	rig_wait_used(&rig, RIG_TX, 1);
	rig_wait_used(&rig, RIG_RX, 2);
	CHECK_EQ(rig.mem[RX + 10], 3);
	CHECK_EQ(used->ring[62].length, 12);
	CHECK_EQ(used->ring[63].length, 128);
	CHECK_EQ(used->ring[0].length, 172);
	CHECK_EQ(used->ring[0].id, 3);
	rig_fill(rig.mem + TX, 300, 1);
	CHECK(!memcmp(rig.mem + RX + 0x1000, rig.mem + TX, 100));
	CHECK(!memcmp(rig.mem + RX + 0x2000, rig.mem + TX + 100, 28));
	CHECK(!memcmp(rig.mem + RX + 0x3000, rig.mem + TX + 128, 172));
	CHECK_EQ(rig.mem[RX + 0x4000 + 10], 1);
	CHECK_EQ(used->ring[1].length, 112);
	CHECK(rig_same(rig.mem + RX + 0x400c, 100, 2));
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->dropped), 1);
	rig_close(&rig);
}

/* Too few buffers, or a buffer too short without mergeable ones: dropped, nothing consumed, the next fits. */
static void test_no_room(uint64_t features, uint32_t length)
{
	struct rig_conf conf = {.features = features};
	struct rig rig;

	rig_open(&rig, &conf);
	rig_buffer(&rig, RIG_RX, 0, RX, 200);
	rig_buffer(&rig, RIG_RX, 1, RX + 0x1000, 200);
	send_plain(&rig, 0, TX, length);
	send_plain(&rig, 1, TX + 0x1000, 60);
	go(&rig);
	rig_wait_used(&rig, RIG_TX, 2);
	rig_wait_used(&rig, RIG_RX, 1);
	CHECK_EQ(rig.ring[RIG_RX].used->ring[0].id, 0);
	CHECK_EQ(rig.ring[RIG_RX].used->ring[0].length, 72);
	CHECK(rig_same(rig.mem + RX + 12, 60, 1));
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->dropped), 1);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_TX)->bytes), length + 60);
	rig_close(&rig);
}

/* The longest frame, in one descriptor for each byte of its end. */
static void test_longest(void)
{
	struct rig_conf conf = {.features = RIG_F_MRG, .size = 1024};
	uint32_t length = 65550;
	struct rig rig;

	rig_open(&rig, &conf);
	rig_fill(rig.mem + TX, length, 9);
	rig_desc(&rig, RIG_TX, 0, rig_iova(RIG_BUFFERS - 0x1000), 12, VDP_DESC_NEXT, 1);
	rig_desc(&rig, RIG_TX, 1, rig_iova(TX), length - 1022, VDP_DESC_NEXT, 2);
	for (uint16_t i = 2; i < 1024; i++)
		rig_desc(&rig, RIG_TX, i, rig_iova(TX + length - 1024 + i), 1, i < 1023 ? VDP_DESC_NEXT : 0,
		    (uint16_t)(i + 1));
	rig_offer(&rig, RIG_TX, 0);
	for (uint16_t i = 0; i < 66; i++)
		rig_buffer(&rig, RIG_RX, i, RX + i * 1024u, 1000);
	go(&rig);
	rig_wait_used(&rig, RIG_RX, 66);
	CHECK_EQ(rig.mem[RX + 10], 66);
	CHECK_EQ(rig.ring[RIG_RX].used->ring[65].length, 65562 - 65000);
	CHECK(!memcmp(rig.mem + RX + 65 * 1024, rig.mem + TX + 65000 - 12, 562));
	rig_close(&rig);
}

int main(void)
{
	test_chains();
	test_indirect();
	test_across_regions();
	test_mergeable();
	test_no_room(0, 189);         /* one byte too long for a buffer */
	test_no_room(RIG_F_MRG, 389); /* and for both */
	test_longest();
	return 0;
}
