/* The dirty log: a bit for each page that packets are written to, and for no other. */
#include "rig.h"

#define LOG_IOVA  0x40000000ull
#define LOG_BYTES 0x4000u /* 2^17 pages: the rig's memory and more */
#define PAGE      0x1000u
#define RX_BUF(i) (RIG_BUFFERS + 0x4000ull * (i) + 0x800)
#define TX_BUF    (RIG_BUFFERS + 0x200000ull)

static uint8_t bitmap[LOG_BYTES] __attribute__((aligned(4096)));

static void open_logged(struct rig *rig, uint64_t features)
{
	struct rig_conf conf = {.features = features};

	memset(bitmap, 0, sizeof(bitmap));
	rig_open(rig, &conf);
	CHECK_EQ(vdp_dma_map(rig->dma, LOG_IOVA, LOG_BYTES, bitmap, VDP_DMA_WRITE), 0);
	vdp_nic_set_log(rig->nic, LOG_IOVA, LOG_IOVA + LOG_BYTES);
}

static void echo(struct rig *rig, uint16_t i, uint32_t length)
{
	rig_fill(rig->mem + TX_BUF + 12, length, i);
	rig_buffer(rig, RIG_TX, i, TX_BUF, length + 12);
}

static uint32_t dirty(uint64_t offset)
{
	uint64_t page = rig_iova(offset) / PAGE;

	return bitmap[page / 8] >> page % 8 & 1;
}

static uint32_t count(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < LOG_BYTES; i++)
		n += (uint32_t)__builtin_popcount(bitmap[i]);
	return n;
}

/* Plain buffers: the pages of the frame, not those of the whole buffer. Unaligned: 0x800 into a page. */
static void test_plain(void)
{
	static const uint32_t lengths[] = {60, 0x800 - 12, 0x801 - 12, 0x1801 - 12};
	struct rig rig;

	open_logged(&rig, 0);
	for (uint16_t i = 0; i < 4; i++) {
		rig_buffer(&rig, RIG_RX, i, RX_BUF(i), 0x3000);
		echo(&rig, i, lengths[i]);
	}
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_RX, 4);
	for (uint16_t i = 0; i < 4; i++)
		CHECK_EQ(dirty(RX_BUF(i)), 1);
	CHECK_EQ(dirty(RX_BUF(1) + PAGE), 0);
	CHECK_EQ(dirty(RX_BUF(2) + PAGE), 1);
	CHECK_EQ(dirty(RX_BUF(3) + PAGE), 1);
	CHECK_EQ(dirty(RX_BUF(3) + 2 * PAGE), 1);
	CHECK_EQ(count(), 7);
	rig_close(&rig);
}

/* Merged buffers go piece by piece. */
static void test_pieces(void)
{
	struct rig rig;

	open_logged(&rig, RIG_F_MRG);
	for (uint16_t i = 0; i < 4; i++)
		rig_buffer(&rig, RIG_RX, i, RX_BUF(i), 0x400);
	echo(&rig, 0, 0x900);
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_RX, 3);
	CHECK_EQ(dirty(RX_BUF(0)) + dirty(RX_BUF(1)) + dirty(RX_BUF(2)), 3);
	CHECK_EQ(count(), 3);
	rig_close(&rig);
}

static void test_off(void)
{
	struct rig rig;

	open_logged(&rig, 0);
	vdp_nic_set_log(rig.nic, 0, 0);
	CHECK_EQ(vdp_dma_unmap(rig.dma, LOG_IOVA, LOG_BYTES), 0);
	rig_buffer(&rig, RIG_RX, 0, RX_BUF(0), 0x800);
	echo(&rig, 0, 60);
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_RX, 1);
	CHECK_EQ(count(), 0);
	rig_close(&rig);
}

/* A log that is taken away while it is on is an access that the IOMMU stops. */
static void test_unmapped(void)
{
	struct vdp_nic_error error;
	struct rig rig;

	open_logged(&rig, 0);
	CHECK_EQ(vdp_dma_unmap(rig.dma, LOG_IOVA, LOG_BYTES), 0);
	rig_buffer(&rig, RIG_RX, 0, RX_BUF(0), 0x800);
	echo(&rig, 0, 60);
	vdp_nic_resume(rig.nic);
	rig_wait_error(&rig, &error);
	CHECK_EQ(error.code, VDP_NIC_DMA_FAULT);
	CHECK_EQ(error.queue, RIG_RX);
	CHECK_EQ(error.detail, LOG_IOVA + rig_iova(RX_BUF(0)) / PAGE / 8);
	rig_close(&rig);
}

/* Pages beyond the log have no bit, and the bytes after the log stay as they are. */
static void test_short(void)
{
	struct rig rig;

	open_logged(&rig, 0);
	vdp_nic_set_log(rig.nic, LOG_IOVA, LOG_IOVA + rig_iova(RX_BUF(1)) / PAGE / 8);
	rig_buffer(&rig, RIG_RX, 0, RX_BUF(0), 0x800);
	rig_buffer(&rig, RIG_RX, 1, RX_BUF(9), 0x800);
	echo(&rig, 0, 60);
	echo(&rig, 1, 60);
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_RX, 2);
	CHECK_EQ(dirty(RX_BUF(9)), 0);
	rig_close(&rig);
}

int main(void)
{
	test_plain();
	test_pieces();
	test_off();
	test_unmapped();
	test_short();
	return 0;
}
