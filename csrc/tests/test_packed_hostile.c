/* Packed rings: what a driver does that is odd but breaks no rule of the ring is served, or left alone. */
#include "rig.h"

#define RX    (RIG_BUFFERS)
#define TX    (RIG_BUFFERS + 0x100000ull)
#define TABLE (RIG_BUFFERS + 0x200000ull)
#define SIZE  8u

static void open_rig(struct rig *rig, uint64_t features)
{
	struct rig_conf conf = {.features = RIG_F_PACKED | RIG_F_INDIRECT | features, .size = SIZE};

	rig_open(rig, &conf);
}

static void check_well(struct rig *rig)
{
	struct vdp_nic_error error;

	vdp_nic_error(rig->nic, &error);
	CHECK_EQ(error.code, VDP_NIC_OK);
}

/* A receive buffer and a frame, each with an id, and how the frame's flags are turned. */
static void offer(struct rig *rig, uint16_t at, uint16_t id)
{
	rig_packed(rig, RIG_RX, rig_iova(RX + at * 0x1000u), 0x1000, VDP_PACKED_WRITE, id);
	rig_fill(rig->mem + TX + at * 0x1000u + 12, 60, at);
	rig_packed(rig, RIG_TX, rig_iova(TX + at * 0x1000u), 72, 0, id);
}

/* Ids are the driver's: they come back in their order, twice the same or beyond the size. */
static void test_ids(uint64_t features)
{
	static const uint16_t ids[SIZE] = {5, 5, 0xffff, SIZE, 0, 0, 7, 6};
	struct rig rig;

	open_rig(&rig, features);
	for (uint16_t i = 0; i < SIZE; i++)
		offer(&rig, i, ids[i]);
	vdp_nic_resume(rig.nic);
	for (uint16_t i = 0; i < SIZE; i++) {
		struct vdp_packed_desc used = rig_packed_used(&rig, RIG_RX, 1);

		CHECK_EQ(used.id, ids[i]);
		CHECK_EQ(used.length, 72);
		CHECK(rig_same(rig.mem + RX + i * 0x1000u + 12, 60, i));
		if (!features)
			CHECK_EQ(rig_packed_used(&rig, RIG_TX, 1).id, ids[i]);
	}
	if (features) /* one used descriptor for the batch, with the last one's id */
		CHECK_EQ(rig_packed_used(&rig, RIG_TX, SIZE).id, ids[SIZE - 1]);
	check_well(&rig);
	rig_close(&rig);
}

/* Only AVAIL and not USED, by the wrap counter, is an offer. The other three are left alone until it is. */
static void test_no_offer(uint16_t start)
{
	struct rig_conf conf = {
	    .features = RIG_F_PACKED, .size = SIZE, .start = start, .poll_us = UINT32_MAX};
	struct rig rig;

	for (uint16_t lie = 1; lie < 4; lie++) {
		uint16_t bits = (lie & 1 ? VDP_PACKED_AVAIL : 0) | (lie & 2 ? VDP_PACKED_USED : 0), *flags;

		rig_open(&rig, &conf);
		flags = &rig.ring[RIG_TX].packed[vdp_packed_at(rig.ring[RIG_TX].next)].flags;
		offer(&rig, 0, 1);
		*flags ^= bits;
		vdp_nic_resume(rig.nic);
		rig_sleep_ms(2);
		CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_TX)->packets), 0);
		__atomic_store_n(flags, *flags ^ bits, __ATOMIC_RELEASE);
		CHECK_EQ(rig_packed_used(&rig, RIG_TX, 1).id, 1);
		check_well(&rig);
		rig_close(&rig);
	}
}

/* IN_ORDER binds the driver (2.7.9, 2.8.7): one that goes backwards is served in the order of its offers. */
static void test_split_backwards(void)
{
	struct rig_conf conf = {.features = RIG_F_IN_ORDER, .size = SIZE};
	struct rig rig;

	rig_open(&rig, &conf);
	for (uint16_t i = 0; i < SIZE; i++) {
		uint16_t head = (uint16_t)(SIZE - 1 - i);

		rig_buffer(&rig, RIG_RX, head, RX + i * 0x1000u, 0x1000);
		rig_fill(rig.mem + TX + i * 0x1000u + 12, 60, i);
		rig_buffer(&rig, RIG_TX, head, TX + i * 0x1000u, 72);
	}
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_RX, SIZE);
	rig_wait_used(&rig, RIG_TX, SIZE);
	for (uint16_t i = 0; i < SIZE; i++) {
		CHECK_EQ(rig.ring[RIG_RX].used->ring[i].id, SIZE - 1 - i);
		CHECK(rig_same(rig.mem + RX + i * 0x1000u + 12, 60, i));
	}
	CHECK_EQ(rig.ring[RIG_TX].used->ring[0].id, 0); /* of the last */
	check_well(&rig);
	rig_close(&rig);
}

/* In a table NEXT, id and the wrap bits mean nothing (2.8.8): a chain in there cannot loop. */
static void test_table_noise(void)
{
	struct vdp_packed_desc *table;
	struct rig rig;

	open_rig(&rig, 0);
	table = (struct vdp_packed_desc *)(rig.mem + TABLE);
	rig_fill(rig.mem + TX + 12, 60, 9);
	table[0] = (struct vdp_packed_desc){rig_iova(TX), 12, 0xffff, VDP_PACKED_NEXT | VDP_PACKED_AVAIL};
	table[1] =
	    (struct vdp_packed_desc){rig_iova(TX + 12), 60, 0, VDP_PACKED_NEXT | VDP_PACKED_USED | 0x40};
	rig_packed(&rig, RIG_RX, rig_iova(RX), 0x1000, VDP_PACKED_WRITE, 1);
	rig_packed(&rig, RIG_TX, rig_iova(TABLE), 32, VDP_PACKED_INDIRECT, 2);
	vdp_nic_resume(rig.nic);
	CHECK_EQ(rig_packed_used(&rig, RIG_TX, 1).id, 2);
	CHECK_EQ(rig_packed_used(&rig, RIG_RX, 1).length, 72);
	CHECK(rig_same(rig.mem + RX + 12, 60, 9));
	check_well(&rig);
	rig_close(&rig);
}

/* Its own event area belongs to the device: what the driver writes there is written over, not believed. */
static void test_device_area(void)
{
	struct rig rig;

	open_rig(&rig, RIG_F_EVENT);
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t noise = 0x9e3779b9u * (i + 1);

		memcpy(rig.ring[RIG_TX].device, &noise, sizeof(noise));
		memcpy(rig.ring[RIG_TX].driver, &noise, sizeof(noise));
		offer(&rig, 0, (uint16_t)i);
		vdp_nic_resume(rig.nic);
		rig_kick(&rig, RIG_TX);
		CHECK_EQ(rig_packed_used(&rig, RIG_TX, 1).id, i);
		CHECK_EQ(rig_packed_used(&rig, RIG_RX, 1).id, i);
		CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	}
	check_well(&rig);
	rig_close(&rig);
}

int main(void)
{
	test_ids(0);
	test_ids(RIG_F_IN_ORDER);
	for (uint16_t start = 0; start < SIZE; start += SIZE - 1) {
		test_no_offer(start);
		test_no_offer(VDP_PACKED_WRAP | start);
	}
	test_split_backwards();
	test_table_noise();
	test_device_area();
	return 0;
}
