/* What a hostile driver can put into a ring: each ends as its own error, and in no access to memory. */
#include "rig.h"

#define RX    (RIG_BUFFERS)
#define TX    (RIG_BUFFERS + 0x100000ull)
#define TABLE (RIG_BUFFERS + 0x200000ull)

struct error_case {
	const char *name;
	void (*set_up)(struct rig *rig);
	uint32_t code, queue;
	uint64_t features;
	bool unmapped;
};

static void send_good(struct rig *rig)
{
	rig_buffer(rig, RIG_TX, 20, TX, 72);
}

static void jump(struct rig *rig)
{
	rig->ring[RIG_TX].avail->idx = 65;
}

static void backwards(struct rig *rig)
{
	rig->ring[RIG_TX].avail->idx = 65535;
}

static void rx_jump(struct rig *rig)
{
	rig->ring[RIG_RX].avail->idx = 65;
	send_good(rig);
}

static void bad_head(struct rig *rig)
{
	rig_offer(rig, RIG_TX, 64);
}

static void bad_next(struct rig *rig)
{
	rig_desc(rig, RIG_TX, 0, rig_iova(TX), 100, VDP_DESC_NEXT, 64);
	rig_offer(rig, RIG_TX, 0);
}

static void loop(struct rig *rig)
{
	rig_desc(rig, RIG_TX, 0, rig_iova(TX), 1, VDP_DESC_NEXT, 1);
	rig_desc(rig, RIG_TX, 1, rig_iova(TX), 1, VDP_DESC_NEXT, 0);
	rig_offer(rig, RIG_TX, 0);
}

static void empty_loop(struct rig *rig)
{
	rig_desc(rig, RIG_RX, 3, rig_iova(RX), 0, VDP_DESC_NEXT | VDP_DESC_WRITE, 3);
	rig_offer(rig, RIG_RX, 3);
	send_good(rig);
}

static struct vdp_split_desc *table_of(struct rig *rig, uint32_t length, uint16_t flags)
{
	rig_desc(rig, RIG_TX, 0, rig_iova(TABLE), length, VDP_DESC_INDIRECT | flags, 1);
	rig_offer(rig, RIG_TX, 0);
	return (struct vdp_split_desc *)(rig->mem + TABLE);
}

static void not_negotiated(struct rig *rig)
{
	*table_of(rig, 16, 0) = (struct vdp_split_desc){rig_iova(TX), 100, 0, 0};
}

static void nested(struct rig *rig)
{
	*table_of(rig, 16, 0) = (struct vdp_split_desc){rig_iova(TABLE), 16, VDP_DESC_INDIRECT, 0};
}

static void with_next(struct rig *rig)
{
	*table_of(rig, 16, VDP_DESC_NEXT) = (struct vdp_split_desc){rig_iova(TX), 100, 0, 0};
}

static void no_table(struct rig *rig)
{
	table_of(rig, 0, 0);
}

static void odd_table(struct rig *rig)
{
	*table_of(rig, 24, 0) = (struct vdp_split_desc){rig_iova(TX), 100, 0, 0};
}

static void long_table(struct rig *rig)
{
	*table_of(rig, 65 * 16, 0) = (struct vdp_split_desc){rig_iova(TX), 100, 0, 0};
}

static void table_next(struct rig *rig)
{
	*table_of(rig, 32, 0) = (struct vdp_split_desc){rig_iova(TX), 100, VDP_DESC_NEXT, 2};
}

static void table_loop(struct rig *rig)
{
	*table_of(rig, 32, 0) = (struct vdp_split_desc){rig_iova(TX), 100, VDP_DESC_NEXT, 0};
}

static void table_unmapped(struct rig *rig)
{
	rig_desc(rig, RIG_TX, 0, 0x5000, 16, VDP_DESC_INDIRECT, 0);
	rig_offer(rig, RIG_TX, 0);
}

static void table_wraps(struct rig *rig)
{
	rig_desc(rig, RIG_TX, 0, 0xfffffffffffffff8ull, 16, VDP_DESC_INDIRECT, 0);
	rig_offer(rig, RIG_TX, 0);
}

static void writable_tx(struct rig *rig)
{
	rig_desc(rig, RIG_TX, 0, rig_iova(TX), 100, VDP_DESC_WRITE, 0);
	rig_offer(rig, RIG_TX, 0);
}

static void readable_tail(struct rig *rig)
{
	rig_desc(rig, RIG_RX, 0, rig_iova(RX), 100, VDP_DESC_WRITE | VDP_DESC_NEXT, 1);
	rig_desc(rig, RIG_RX, 1, rig_iova(RX), 100, 0, 0);
	rig_offer(rig, RIG_RX, 0);
	send_good(rig);
}

static void readable_rx(struct rig *rig)
{
	rig_desc(rig, RIG_RX, 0, rig_iova(RX), 100, 0, 0);
	rig_offer(rig, RIG_RX, 0);
	send_good(rig);
}

static void short_tx(struct rig *rig)
{
	rig_buffer(rig, RIG_TX, 0, TX, 11);
}

static void empty_tx(struct rig *rig)
{
	rig_buffer(rig, RIG_TX, 0, TX, 0);
}

static void long_tx(struct rig *rig)
{
	rig_buffer(rig, RIG_TX, 0, TX, 65563);
}

static void sum_tx(struct rig *rig)
{
	rig_desc(rig, RIG_TX, 0, rig_iova(TX), 0x80000000, VDP_DESC_NEXT, 1);
	rig_desc(rig, RIG_TX, 1, rig_iova(TX), 0x80000100, 0, 0);
	rig_offer(rig, RIG_TX, 0);
}

static void sum_rx(struct rig *rig)
{
	rig_desc(rig, RIG_RX, 0, rig_iova(RX), 0xffffffff, VDP_DESC_WRITE | VDP_DESC_NEXT, 1);
	rig_desc(rig, RIG_RX, 1, rig_iova(RX), 1, VDP_DESC_WRITE, 0);
	rig_offer(rig, RIG_RX, 0);
	send_good(rig);
}

static void short_rx(struct rig *rig)
{
	rig_buffer(rig, RIG_RX, 0, RX, 11);
	send_good(rig);
}

static void wraps_tx(struct rig *rig)
{
	rig_desc(rig, RIG_TX, 0, 0xffffffffffffffe0ull, 100, 0, 0);
	rig_offer(rig, RIG_TX, 0);
}

static void unmapped_tx(struct rig *rig)
{
	rig_desc(rig, RIG_TX, 0, rig_iova(RIG_BYTES) - 50, 100, 0, 0);
	rig_offer(rig, RIG_TX, 0);
}

static void unmapped_rx(struct rig *rig)
{
	rig_desc(rig, RIG_RX, 0, 0x100, 100, VDP_DESC_WRITE, 0);
	rig_offer(rig, RIG_RX, 0);
	send_good(rig);
}

/* All but the last page; that is the receive buffers, and may only be read. */
static void read_only_rx(struct rig *rig)
{
	uint64_t last = RIG_BYTES - 0x1000;

	CHECK_EQ(vdp_dma_map(rig->dma, RIG_IOVA, last, rig->mem, 3), 0);
	CHECK_EQ(vdp_dma_map(rig->dma, rig_iova(last), 0x1000, rig->mem + last, VDP_DMA_READ), 0);
	vdp_nic_refresh(rig->nic);
	rig_buffer(rig, RIG_RX, 0, last, 100);
	send_good(rig);
}

static void write_only_tx(struct rig *rig)
{
	uint64_t last = RIG_BYTES - 0x1000;

	CHECK_EQ(vdp_dma_map(rig->dma, RIG_IOVA, last, rig->mem, 3), 0);
	CHECK_EQ(vdp_dma_map(rig->dma, rig_iova(last), 0x1000, rig->mem + last, VDP_DMA_WRITE), 0);
	vdp_nic_refresh(rig->nic);
	rig_buffer(rig, RIG_TX, 0, last, 100);
}

static void read_only_ring(struct rig *rig)
{
	CHECK_EQ(vdp_dma_map(rig->dma, RIG_IOVA, RIG_BYTES, rig->mem, VDP_DMA_READ), 0);
	vdp_nic_refresh(rig->nic);
}

static void ring_gone(struct rig *rig)
{
	(void)rig;
}

static void odd_ring(struct rig *rig)
{
	struct vdp_queue_conf conf = rig->ring[RIG_TX].conf;

	conf.driver++;
	vdp_nic_queue_disable(rig->nic, RIG_TX);
	CHECK_EQ(vdp_nic_queue_enable(rig->nic, RIG_TX, &conf), 0);
}

static const struct error_case cases[] = {
    {"jump", jump, VDP_NIC_AVAIL_JUMP, RIG_TX, 0, false},
    {"backwards", backwards, VDP_NIC_AVAIL_JUMP, RIG_TX, 0, false},
    {"rx jump", rx_jump, VDP_NIC_AVAIL_JUMP, RIG_RX, 0, false},
    {"head", bad_head, VDP_NIC_BAD_HEAD, RIG_TX, 0, false},
    {"next", bad_next, VDP_NIC_BAD_HEAD, RIG_TX, 0, false},
    {"loop", loop, VDP_NIC_LOOP, RIG_TX, 0, false},
    {"empty loop", empty_loop, VDP_NIC_LOOP, RIG_RX, 0, false},
    {"indirect without feature", not_negotiated, VDP_NIC_BAD_INDIRECT, RIG_TX, 0, false},
    {"nested", nested, VDP_NIC_BAD_INDIRECT, RIG_TX, RIG_F_INDIRECT, false},
    {"indirect and next", with_next, VDP_NIC_BAD_INDIRECT, RIG_TX, RIG_F_INDIRECT, false},
    {"no table", no_table, VDP_NIC_BAD_INDIRECT, RIG_TX, RIG_F_INDIRECT, false},
    {"odd table", odd_table, VDP_NIC_BAD_INDIRECT, RIG_TX, RIG_F_INDIRECT, false},
    {"long table", long_table, VDP_NIC_BAD_INDIRECT, RIG_TX, RIG_F_INDIRECT, false},
    {"next in a table", table_next, VDP_NIC_BAD_HEAD, RIG_TX, RIG_F_INDIRECT, false},
    {"loop in a table", table_loop, VDP_NIC_LOOP, RIG_TX, RIG_F_INDIRECT, false},
    {"table unmapped", table_unmapped, VDP_NIC_DMA_FAULT, RIG_TX, RIG_F_INDIRECT, false},
    {"table wraps", table_wraps, VDP_NIC_BAD_INDIRECT, RIG_TX, RIG_F_INDIRECT, false},
    {"writable in transmit", writable_tx, VDP_NIC_BAD_ORDER, RIG_TX, 0, false},
    {"readable after writable", readable_tail, VDP_NIC_BAD_ORDER, RIG_RX, 0, false},
    {"readable in receive", readable_rx, VDP_NIC_BAD_ORDER, RIG_RX, 0, false},
    {"short transmit", short_tx, VDP_NIC_BAD_LENGTH, RIG_TX, 0, false},
    {"empty transmit", empty_tx, VDP_NIC_BAD_LENGTH, RIG_TX, 0, false},
    {"long transmit", long_tx, VDP_NIC_BAD_LENGTH, RIG_TX, 0, false},
    {"sum wraps, transmit", sum_tx, VDP_NIC_BAD_LENGTH, RIG_TX, 0, false},
    {"sum wraps, receive", sum_rx, VDP_NIC_BAD_LENGTH, RIG_RX, 0, false},
    {"short receive", short_rx, VDP_NIC_BAD_LENGTH, RIG_RX, 0, false},
    {"address wraps", wraps_tx, VDP_NIC_BAD_LENGTH, RIG_TX, 0, false},
    {"unmapped transmit", unmapped_tx, VDP_NIC_DMA_FAULT, RIG_TX, 0, false},
    {"unmapped receive", unmapped_rx, VDP_NIC_DMA_FAULT, RIG_RX, 0, false},
    {"read-only receive", read_only_rx, VDP_NIC_DMA_FAULT, RIG_RX, 0, true},
    {"write-only transmit", write_only_tx, VDP_NIC_DMA_FAULT, RIG_TX, 0, true},
    {"read-only ring", read_only_ring, VDP_NIC_DMA_FAULT, RIG_TX, 0, true},
    {"ring not mapped", ring_gone, VDP_NIC_DMA_FAULT, RIG_TX, 0, true},
    {"ring not aligned", odd_ring, VDP_NIC_BAD_RING, RIG_TX, 0, false},
};

static void run_case(const struct error_case *test, uint64_t features)
{
	struct rig_conf conf = {.features = test->features | features, .unmapped = test->unmapped};
	const struct vdp_queue_stats *stats;
	struct vdp_dma_fault faults[VDP_DMA_MAX_FAULTS];
	struct rig rig;

	fprintf(stderr, "%s\n", test->name);
	rig_open(&rig, &conf);
	test->set_up(&rig);
	vdp_nic_resume(rig.nic);
	rig_expect(&rig, test->code, test->queue);
	CHECK_EQ(
	    vdp_dma_take_faults(rig.dma, faults, VDP_DMA_MAX_FAULTS) > 0, test->code == VDP_NIC_DMA_FAULT);
	stats = vdp_nic_queue_stats(rig.nic, test->queue);
	CHECK_EQ(rig_stat(&stats->errors), 1);
	/* It stays so: nothing more is used, and the driver is told once. */
	rig_buffer(&rig, RIG_TX, 30, TX, 100);
	rig_kick(&rig, RIG_TX);
	rig_sleep_ms(2);
	CHECK_EQ(rig_used(&rig, RIG_RX), 0);
	CHECK_EQ(rig_used(&rig, RIG_TX), 0);
	CHECK_EQ(rig_take(rig.config_call), 1);
	rig_close(&rig);
}

/* The fault says what was tried; a reset mends all. */
static void test_fault_and_reset(void)
{
	struct rig_conf conf = {0};
	struct vdp_dma_fault fault;
	struct vdp_nic_error error;
	struct rig rig;

	rig_open(&rig, &conf);
	unmapped_tx(&rig);
	vdp_nic_resume(rig.nic);
	rig_expect(&rig, VDP_NIC_DMA_FAULT, RIG_TX);
	CHECK_EQ(vdp_dma_take_faults(rig.dma, &fault, 1), 1);
	CHECK_EQ(fault.iova, rig_iova(RIG_BYTES));
	CHECK_EQ(fault.length, 50);
	CHECK_EQ(fault.perm, VDP_DMA_READ);
	vdp_nic_error(rig.nic, &error);
	CHECK_EQ(error.detail, rig_iova(RIG_BYTES));
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	vdp_nic_reset(rig.nic);
	vdp_nic_error(rig.nic, &error);
	CHECK_EQ(error.code, VDP_NIC_OK);
	rig_enable(&rig, RIG_RX, 64, 0);
	rig_enable(&rig, RIG_TX, 64, 0);
	vdp_nic_run(rig.nic, true);
	send_good(&rig);
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_TX, 1);
	rig_close(&rig);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run_case(cases + i, 0);
		run_case(cases + i, RIG_F_MRG | RIG_F_EVENT);
	}
	test_fault_and_reset();
	return 0;
}
