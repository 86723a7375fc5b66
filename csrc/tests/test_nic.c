/* Ports, sleeping, pausing, and counters of the software NIC. */
#include "rig.h"

#define RX_BUF(i) (RIG_BUFFERS + 0x1000ull * (i))
#define TX_BUF(i) (RIG_BUFFERS + 0x100000ull + 0x1000ull * (i))

static void send(struct rig *rig, uint16_t i, uint32_t length)
{
	uint8_t *at = rig->mem + TX_BUF(i);

	memset(at, 0xee, 12);
	rig_fill(at + 12, length, i);
	rig_buffer(rig, RIG_TX, i, TX_BUF(i), length + 12);
}

static void check_received(struct rig *rig, uint16_t slot, uint16_t buffer, uint16_t frame, uint32_t length)
{
	static const uint8_t header[12] = {[10] = 1};
	struct rig_ring *rx = rig->ring + RIG_RX;

	CHECK_EQ(rx->used->ring[slot].id, buffer);
	CHECK_EQ(rx->used->ring[slot].length, length + 12);
	CHECK(!memcmp(rig->mem + RX_BUF(buffer), header, 12));
	CHECK(rig_same(rig->mem + RX_BUF(buffer) + 12, length, frame));
}

/* Every length around the steps of the copy, and the longest frame that fits. */
static void test_echo(uint64_t features)
{
	static const uint32_t lengths[] = {1, 15, 16, 17, 31, 32, 33, 60, 64, 65, 255, 256, 257, 1518, 4084};
	uint16_t n = sizeof(lengths) / sizeof(lengths[0]);
	struct rig_conf conf = {.features = features};
	struct rig rig;

	rig_open(&rig, &conf);
	for (uint16_t i = 0; i < n; i++) {
		memset(rig.mem + RX_BUF(i), 0x55, 0x1000);
		rig_buffer(&rig, RIG_RX, i, RX_BUF(i), 0x1000);
		send(&rig, i, lengths[i]);
	}
	vdp_nic_resume(rig.nic);
	rig_wait_used(&rig, RIG_TX, n);
	rig_wait_used(&rig, RIG_RX, n);
	for (uint16_t i = 0; i < n; i++)
		check_received(&rig, i, i, i, lengths[i]);
	rig_close(&rig);
}

int main(void)
{
	test_echo(0);
	test_echo(RIG_F_MRG);
	test_echo(RIG_F_MRG | RIG_F_EVENT);
	return 0;
}
