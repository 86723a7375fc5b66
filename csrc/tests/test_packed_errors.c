/* Packed rings: notifications, exactly those asked for; and what a hostile driver can write. */
#include "rig.h"

#define RX    (RIG_BUFFERS)
#define TX    (RIG_BUFFERS + 0x100000ull)
#define TABLE (RIG_BUFFERS + 0x200000ull)
#define SIZE  8u

static void send(struct rig *rig, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		rig_packed(rig, RIG_RX, rig_iova(RX + i * 0x1000u), 0x1000, VDP_PACKED_WRITE, i);
		rig_packed(rig, RIG_TX, rig_iova(TX + i * 0x1000u), 72, 0, i);
	}
}

/* While the NIC is paused offer n frames; then it serves them in one burst. */
static void burst(struct rig *rig, uint16_t n)
{
	send(rig, n);
	vdp_nic_resume(rig->nic);
	for (uint16_t i = 0; i < n; i++) {
		CHECK_EQ(rig_packed_used(rig, RIG_RX, 1).id, i);
		CHECK_EQ(rig_packed_used(rig, RIG_TX, 1).id, i);
	}
	CHECK_EQ(vdp_nic_pause(rig->nic, 1000), 0);
}

/* DESC: called when a burst passes the event's descriptor, from every place in the ring. */
static void test_desc_events(void)
{
	static const struct {
		uint16_t burst;
		int16_t event; /* descriptors after the first of the burst; -1: the one before */
		uint64_t calls;
	} steps[] = {{1, 0, 1}, {1, 1, 0}, {8, 0, 1}, {8, 7, 1}, {7, 7, 0}, {8, -1, 0}, {3, 2, 1}, {3, 3, 0}};
	struct rig_conf conf = {.features = RIG_F_PACKED | RIG_F_EVENT, .size = SIZE};
	struct rig rig;

	for (uint16_t start = 0; start < 2 * SIZE; start++) {
		conf.start = start < SIZE ? start : VDP_PACKED_WRAP | (start - SIZE);
		rig_open(&rig, &conf);
		for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
			uint16_t first = rig.ring[RIG_RX].next, event;

			event = steps[i].event >= 0
				    ? vdp_packed_advance(first, (uint32_t)steps[i].event, SIZE)
				    : vdp_packed_advance(first, SIZE - 1, SIZE) ^ VDP_PACKED_WRAP;
			*rig.ring[RIG_RX].driver = (struct vdp_packed_event){event, VDP_PACKED_EVENT_DESC};
			*rig.ring[RIG_TX].driver = (struct vdp_packed_event){event, VDP_PACKED_EVENT_DISABLE};
			burst(&rig, steps[i].burst);
			CHECK_EQ(rig_take(rig.ring[RIG_RX].call), steps[i].calls);
			CHECK_EQ(rig_take(rig.ring[RIG_TX].call), 0);
		}
		rig_close(&rig);
	}
}

static void test_flag_events(void)
{
	struct rig_conf conf = {.features = RIG_F_PACKED, .size = SIZE};
	struct rig rig;

	rig_open(&rig, &conf);
	for (uint16_t i = 0; i < 10; i++) {
		bool quiet = i % 3 == 0;

		/* Reserved bits mean nothing; 3 is no value, so better one call too many. */
		rig.ring[RIG_TX].driver->flags = quiet        ? 0xfffc | VDP_PACKED_EVENT_DISABLE
						 : i % 3 == 1 ? 0
							      : 3;
		burst(&rig, 2);
		CHECK_EQ(rig_take(rig.ring[RIG_TX].call), !quiet);
		CHECK_EQ(rig_take(rig.ring[RIG_RX].call), 1);
	}
	/* An event outside the ring: a lie, and a call. */
	*rig.ring[RIG_TX].driver = (struct vdp_packed_event){0x8000 | SIZE, VDP_PACKED_EVENT_DESC};
	burst(&rig, 1);
	CHECK_EQ(rig_take(rig.ring[RIG_TX].call), 1);
	rig_close(&rig);
}

static struct vdp_packed_event device_event(struct rig *rig, uint32_t queue)
{
	uint32_t word = __atomic_load_n((uint32_t *)rig->ring[queue].device, __ATOMIC_RELAXED);

	return (struct vdp_packed_event){(uint16_t)word, (uint16_t)(word >> 16)};
}

/* Asleep it names the next descriptor, or says "any"; polling it wants no kicks. */
static void test_device_events(uint64_t features)
{
	struct rig_conf conf = {.features = RIG_F_PACKED | features, .size = 3, .start = 1};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_resume(rig.nic);
	for (int i = 0; i < 8; i++) {
		struct vdp_packed_event event;

		rig_wait_asleep(&rig);
		event = device_event(&rig, RIG_TX);
		CHECK_EQ(event.flags, features ? VDP_PACKED_EVENT_DESC : VDP_PACKED_EVENT_ENABLE);
		if (features)
			CHECK_EQ(event.position, rig.ring[RIG_TX].next);
		CHECK_EQ(device_event(&rig, RIG_RX).flags, VDP_PACKED_EVENT_DISABLE);
		send(&rig, 1);
		rig_kick(&rig, RIG_TX);
		rig_packed_used(&rig, RIG_TX, 1);
		rig_packed_used(&rig, RIG_RX, 1);
	}
	rig_close(&rig);

	conf.poll_us = UINT32_MAX;
	rig_open(&rig, &conf);
	vdp_nic_resume(rig.nic);
	send(&rig, 1);
	rig_packed_used(&rig, RIG_TX, 1);
	CHECK_EQ(device_event(&rig, RIG_TX).flags, VDP_PACKED_EVENT_DISABLE);
	rig_close(&rig);
}

struct error_case {
	const char *name;
	void (*set_up)(struct rig *rig);
	uint32_t code, queue;
};

static void tx(struct rig *rig, uint64_t iova, uint32_t length, uint32_t flags)
{
	rig_packed(rig, RIG_TX, iova, length, (uint16_t)flags, 1);
}

static void rx(struct rig *rig, uint64_t iova, uint32_t length, uint32_t flags)
{
	rig_packed(rig, RIG_RX, iova, length, (uint16_t)flags, 1);
}

static void tx_good(struct rig *rig)
{
	tx(rig, rig_iova(TX), 72, 0);
}

static void half_chain(struct rig *rig)
{
	tx(rig, rig_iova(TX), 100, VDP_PACKED_NEXT);
}

/* The second descriptor shows the wrap counter of the other lap. */
static void wrong_wrap(struct rig *rig)
{
	tx(rig, rig_iova(TX), 100, VDP_PACKED_NEXT);
	tx(rig, rig_iova(TX), 100, 0);
	rig->ring[RIG_TX].packed[1].flags ^= VDP_PACKED_AVAIL | VDP_PACKED_USED;
}

static void loop(struct rig *rig)
{
	for (uint32_t i = 0; i < SIZE; i++)
		tx(rig, rig_iova(TX), 1, VDP_PACKED_NEXT);
}

static void rx_half_chain(struct rig *rig)
{
	rx(rig, rig_iova(RX), 20, VDP_PACKED_WRITE | VDP_PACKED_NEXT);
	tx_good(rig);
}

static void table(struct rig *rig, uint64_t iova, uint32_t length, uint32_t flags, uint16_t inner)
{
	struct vdp_packed_desc *at = (struct vdp_packed_desc *)(rig->mem + TABLE);

	*at = (struct vdp_packed_desc){rig_iova(TX), 100, 0, inner};
	tx(rig, iova, length, VDP_PACKED_INDIRECT | flags);
}

static void nested(struct rig *rig)
{
	table(rig, rig_iova(TABLE), 16, 0, VDP_PACKED_INDIRECT);
}

static void table_next(struct rig *rig)
{
	table(rig, rig_iova(TABLE), 16, VDP_PACKED_NEXT, 0);
}

static void table_in_chain(struct rig *rig)
{
	tx(rig, rig_iova(TX), 20, VDP_PACKED_NEXT);
	table(rig, rig_iova(TABLE), 16, 0, 0);
}

static void no_table(struct rig *rig)
{
	table(rig, rig_iova(TABLE), 0, 0, 0);
}

static void odd_table(struct rig *rig)
{
	table(rig, rig_iova(TABLE), 24, 0, 0);
}

static void long_table(struct rig *rig)
{
	table(rig, rig_iova(TABLE), 16 * (SIZE + 1), 0, 0);
}

static void table_unmapped(struct rig *rig)
{
	table(rig, 0x5000, 16, 0, 0);
}

static void table_wraps(struct rig *rig)
{
	table(rig, 0xfffffffffffffff8ull, 16, 0, 0);
}

static void writable_tx(struct rig *rig)
{
	tx(rig, rig_iova(TX), 100, VDP_PACKED_WRITE);
}

static void readable_rx(struct rig *rig)
{
	rx(rig, rig_iova(RX), 100, 0);
	tx_good(rig);
}

static void readable_tail(struct rig *rig)
{
	rx(rig, rig_iova(RX), 100, VDP_PACKED_WRITE | VDP_PACKED_NEXT);
	rx(rig, rig_iova(RX), 100, 0);
	tx_good(rig);
}

static void short_tx(struct rig *rig)
{
	tx(rig, rig_iova(TX), 11, 0);
}

static void long_tx(struct rig *rig)
{
	tx(rig, rig_iova(TX), 65563, 0);
}

static void sum_rx(struct rig *rig)
{
	rx(rig, rig_iova(RX), 0xffffffff, VDP_PACKED_WRITE | VDP_PACKED_NEXT);
	rx(rig, rig_iova(RX), 1, VDP_PACKED_WRITE);
	tx_good(rig);
}

static void short_rx(struct rig *rig)
{
	rx(rig, rig_iova(RX), 11, VDP_PACKED_WRITE);
	tx_good(rig);
}

static void wraps_tx(struct rig *rig)
{
	tx(rig, 0xffffffffffffffe0ull, 100, 0);
}

static void unmapped_tx(struct rig *rig)
{
	tx(rig, rig_iova(RIG_BYTES) - 50, 100, 0);
}

static void unmapped_rx(struct rig *rig)
{
	rx(rig, 0x100, 100, VDP_PACKED_WRITE);
	tx_good(rig);
}

/* The device writes descriptors: a ring that may only be read is none. */
static void read_only_ring(struct rig *rig)
{
	uint64_t at = 0x10000,
		 rest = at + 0x1000; /* descriptors of the transmit queue, alone in their page */

	CHECK_EQ(vdp_dma_unmap(rig->dma, RIG_IOVA, RIG_BYTES), 0);
	CHECK_EQ(vdp_dma_map(rig->dma, RIG_IOVA, at, rig->mem, 3), 0);
	CHECK_EQ(vdp_dma_map(rig->dma, rig_iova(at), 0x1000, rig->mem + at, VDP_DMA_READ), 0);
	CHECK_EQ(vdp_dma_map(rig->dma, rig_iova(rest), RIG_BYTES - rest, rig->mem + rest, 3), 0);
	vdp_nic_refresh(rig->nic);
}

static void odd_ring(struct rig *rig, uint64_t off_desc, uint64_t off_driver, uint64_t off_device)
{
	struct vdp_queue_conf conf = rig->ring[RIG_TX].conf;

	conf.desc += off_desc;
	conf.driver += off_driver;
	conf.device += off_device;
	vdp_nic_queue_disable(rig->nic, RIG_TX);
	CHECK_EQ(vdp_nic_queue_enable(rig->nic, RIG_TX, &conf), 0);
}

static void odd_desc(struct rig *rig)
{
	odd_ring(rig, 8, 0, 0);
}

static void odd_driver(struct rig *rig)
{
	odd_ring(rig, 0, 2, 0);
}

static void odd_device(struct rig *rig)
{
	odd_ring(rig, 0, 0, 2);
}

static const struct error_case cases[] = {
    {"half a chain", half_chain, VDP_NIC_BAD_WRAP, RIG_TX},
    {"half a receive chain", rx_half_chain, VDP_NIC_BAD_WRAP, RIG_RX},
    {"wrong wrap counter", wrong_wrap, VDP_NIC_BAD_WRAP, RIG_TX},
    {"loop", loop, VDP_NIC_LOOP, RIG_TX},
    {"nested", nested, VDP_NIC_BAD_INDIRECT, RIG_TX},
    {"indirect and next", table_next, VDP_NIC_BAD_INDIRECT, RIG_TX},
    {"table in a chain", table_in_chain, VDP_NIC_BAD_INDIRECT, RIG_TX},
    {"no table", no_table, VDP_NIC_BAD_INDIRECT, RIG_TX},
    {"odd table", odd_table, VDP_NIC_BAD_INDIRECT, RIG_TX},
    {"long table", long_table, VDP_NIC_BAD_INDIRECT, RIG_TX},
    {"table unmapped", table_unmapped, VDP_NIC_DMA_FAULT, RIG_TX},
    {"table wraps", table_wraps, VDP_NIC_BAD_INDIRECT, RIG_TX},
    {"writable in transmit", writable_tx, VDP_NIC_BAD_ORDER, RIG_TX},
    {"readable in receive", readable_rx, VDP_NIC_BAD_ORDER, RIG_RX},
    {"readable after writable", readable_tail, VDP_NIC_BAD_ORDER, RIG_RX},
    {"short transmit", short_tx, VDP_NIC_BAD_LENGTH, RIG_TX},
    {"long transmit", long_tx, VDP_NIC_BAD_LENGTH, RIG_TX},
    {"sum wraps", sum_rx, VDP_NIC_BAD_LENGTH, RIG_RX},
    {"short receive", short_rx, VDP_NIC_BAD_LENGTH, RIG_RX},
    {"address wraps", wraps_tx, VDP_NIC_BAD_LENGTH, RIG_TX},
    {"unmapped transmit", unmapped_tx, VDP_NIC_DMA_FAULT, RIG_TX},
    {"unmapped receive", unmapped_rx, VDP_NIC_DMA_FAULT, RIG_RX},
    {"read-only ring", read_only_ring, VDP_NIC_DMA_FAULT, RIG_TX},
    {"descriptors not aligned", odd_desc, VDP_NIC_BAD_RING, RIG_TX},
    {"driver area not aligned", odd_driver, VDP_NIC_BAD_RING, RIG_TX},
    {"device area not aligned", odd_device, VDP_NIC_BAD_RING, RIG_TX},
};

static void run_case(const struct error_case *test, uint64_t features)
{
	struct rig_conf conf = {.features = RIG_F_PACKED | RIG_F_INDIRECT | features, .size = SIZE};
	struct vdp_dma_fault faults[VDP_DMA_MAX_FAULTS];
	struct rig rig;

	fprintf(stderr, "%s\n", test->name);
	rig_open(&rig, &conf);
	test->set_up(&rig);
	vdp_nic_resume(rig.nic);
	rig_expect(&rig, test->code, test->queue);
	CHECK_EQ(
	    vdp_dma_take_faults(rig.dma, faults, VDP_DMA_MAX_FAULTS) > 0, test->code == VDP_NIC_DMA_FAULT);
	/* Nothing was used, and the driver is told once. */
	rig_kick(&rig, RIG_TX);
	rig_sleep_ms(2);
	CHECK(!rig_packed_is_used(&rig, RIG_RX));
	CHECK(!rig_packed_is_used(&rig, RIG_TX));
	CHECK_EQ(rig_take(rig.config_call), 1);
	rig_close(&rig);
}

/* Without the feature a table is an error, whatever it holds. */
static void test_not_negotiated(void)
{
	struct rig_conf conf = {.features = RIG_F_PACKED, .size = SIZE};
	struct rig rig;

	rig_open(&rig, &conf);
	table(&rig, rig_iova(TABLE), 16, 0, 0);
	vdp_nic_resume(rig.nic);
	rig_expect(&rig, VDP_NIC_BAD_INDIRECT, RIG_TX);
	rig_close(&rig);
}

int main(void)
{
	test_desc_events();
	test_flag_events();
	test_device_events(0);
	test_device_events(RIG_F_EVENT);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run_case(cases + i, 0);
		run_case(cases + i, RIG_F_MRG | RIG_F_EVENT | RIG_F_IN_ORDER);
	}
	test_not_negotiated();
	return 0;
}
