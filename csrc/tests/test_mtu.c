/* Frames beyond the MTU that the driver was told: dropped and counted. Ref: virtio 1.4, 5.1.4.1 */
#include "net_header.h"
#include "rig.h"

#define F(bit)  (1ull << (bit))
#define RX      RIG_BUFFERS
#define TX      (RIG_BUFFERS + 0x100000ull)
#define BUFFER  2048u
#define MTU     1500u
#define HEADER  12u
#define TAKES   (F(0) | F(1) | F(7) | F(11)) /* checksums and TSO over IPv4, both ways */
#define TCP_AT  34u
#define HEADERS 54u

static const uint64_t layouts[] = {0, RIG_F_PACKED, TAKES, RIG_F_PACKED | TAKES};

static void buffer(struct rig *rig, uint32_t queue, uint16_t at, uint64_t offset, uint32_t length)
{
	if (rig->packed)
		rig_packed(rig, queue, rig_iova(offset), length, queue % 2 ? 0 : VDP_DESC_WRITE, at);
	else
		rig_buffer(rig, queue, at, offset, length);
}

static void open_rig(struct rig *rig, uint64_t features, uint32_t mtu)
{
	struct rig_conf conf = {.features = features};

	rig_open(rig, &conf);
	vdp_nic_set_mtu(rig->nic, mtu);
	for (uint16_t i = 0; i < 16; i++)
		buffer(rig, RIG_RX, i, RX + i * (uint64_t)BUFFER, BUFFER);
}

static void wait_sent(struct rig *rig, uint64_t n)
{
	const uint64_t *sent = &vdp_nic_queue_stats(rig->nic, RIG_TX)->packets;

	for (int i = 0; i < 5000 && rig_stat(sent) < n; i++)
		rig_sleep_ms(1);
	CHECK_EQ(rig_stat(sent), n);
}

static void check_counts(struct rig *rig, uint64_t received, uint64_t too_long)
{
	const struct vdp_queue_stats *stats = vdp_nic_queue_stats(rig->nic, RIG_RX);

	CHECK_EQ(rig_stat(&stats->packets), received);
	CHECK_EQ(rig_stat(&stats->too_long), too_long);
	CHECK_EQ(rig_stat(&stats->dropped), 0);
}

static const struct {
	uint32_t length;
	uint16_t types[2];
	bool passes;
} frames[] = {
    {1515, {0x0800}, false},
    {1514, {0x0800}, true},
    {1518, {0x0800}, false},
    {1518, {0x8100, 0x0800}, true},
    {1519, {0x8100, 0x0800}, false},
    {1519, {0x8100, 0x8100}, true}, /* two tags */
    {1522, {0x88a8, 0x8100}, true},
    {1523, {0x88a8, 0x8100}, false},
    {60, {0x0800}, true},
};

#define FRAMES (sizeof(frames) / sizeof(frames[0]))

static void fill(uint8_t *frame, uint32_t i)
{
	rig_fill(frame, frames[i].length, i);
	for (uint32_t at = 0; at < 2; at++) {
		frame[12 + 4 * at] = (uint8_t)(frames[i].types[at] >> 8);
		frame[13 + 4 * at] = (uint8_t)frames[i].types[at];
	}
	frame[20] = frame[21] = 0; /* no third tag */
}

/* In one burst: the others come, in their order. */
static void test_burst(uint64_t features)
{
	struct rig rig;
	uint32_t received = 0;

	open_rig(&rig, features, MTU);
	for (uint16_t i = 0; i < FRAMES; i++) {
		fill(rig.mem + TX + i * (uint64_t)BUFFER + HEADER, i);
		buffer(&rig, RIG_TX, i, TX + i * (uint64_t)BUFFER, frames[i].length + HEADER);
	}
	vdp_nic_resume(rig.nic);
	rig_kick(&rig, RIG_TX);
	wait_sent(&rig, FRAMES);
	for (uint32_t i = 0; i < FRAMES; i++) {
		const uint8_t *sent = rig.mem + TX + i * (uint64_t)BUFFER + HEADER;

		if (frames[i].passes)
			CHECK(!memcmp(
			    rig.mem + RX + received++ * (uint64_t)BUFFER + HEADER, sent, frames[i].length));
	}
	check_counts(&rig, received, FRAMES - received);
	rig_close(&rig);
}

/* A chain goes another way; and a reset takes the limit away. */
static void test_chain(void)
{
	struct rig rig;

	open_rig(&rig, 0, MTU);
	for (uint16_t i = 0; i < 2; i++) {
		uint16_t head = (uint16_t)(2 * i);

		memset(rig.mem + TX, 0, HEADER);
		rig_desc(&rig, RIG_TX, head, rig_iova(TX), HEADER, VDP_DESC_NEXT, head + 1);
		rig_desc(&rig, RIG_TX, head + 1, rig_iova(TX + HEADER), 1515 - i, 0, 0);
		rig_offer(&rig, RIG_TX, head);
	}
	vdp_nic_resume(rig.nic);
	rig_kick(&rig, RIG_TX);
	wait_sent(&rig, 2);
	check_counts(&rig, 1, 1);
	rig_close(&rig);

	open_rig(&rig, 0, MTU);
	vdp_nic_reset(rig.nic);
	for (uint32_t queue = 0; queue < 2; queue++)
		CHECK_EQ(vdp_nic_queue_enable(rig.nic, queue, &rig.ring[queue].conf), 0);
	CHECK_EQ(vdp_nic_set_kick(rig.nic, RIG_TX, rig.ring[RIG_TX].kick), 0);
	vdp_nic_run(rig.nic, true);
	buffer(&rig, RIG_TX, 0, TX, 1515 + HEADER);
	vdp_nic_resume(rig.nic);
	rig_kick(&rig, RIG_TX);
	wait_sent(&rig, 1);
	check_counts(&rig, 1, 0);
	rig_close(&rig);
}

/* A frame to be cut may have any length; what is cut from it may not. */
static void test_segmented(uint64_t features, uint32_t size, uint32_t received, uint32_t too_long)
{
	static const uint8_t ip[20] = {
	    0x45, 0, 0x0f, 0xc8, 1, 2, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
	struct vdp_net_hdr tso = {.flags = VDP_HDR_NEEDS_CSUM,
	    .gso_type = VDP_GSO_TCPV4,
	    .hdr_len = HEADERS,
	    .gso_size = (uint16_t)size,
	    .csum_start = TCP_AT,
	    .csum_offset = 16};
	struct rig rig;
	uint8_t *frame;

	open_rig(&rig, features, MTU);
	frame = rig.mem + TX + HEADER;
	rig_fill(frame, HEADERS + 3000, 1);
	memcpy(frame + 12, (uint8_t[]){8, 0}, 2);
	memcpy(frame + 14, ip, sizeof(ip));
	frame[16] = (HEADERS + 3000 - 14) >> 8;
	frame[17] = (HEADERS + 3000 - 14) & 0xff;
	frame[TCP_AT + 12] = 0x50;
	vdp_net_hdr_pack(&tso, rig.mem + TX);
	buffer(&rig, RIG_TX, 0, TX, HEADERS + 3000 + HEADER);
	vdp_nic_resume(rig.nic);
	rig_kick(&rig, RIG_TX);
	wait_sent(&rig, 1);
	check_counts(&rig, received, too_long);
	rig_close(&rig);
}

int main(void)
{
	for (uint32_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		test_burst(layouts[i]);
	test_chain();
	test_segmented(TAKES | RIG_F_MRG, 1000, 1, 0);
	test_segmented(F(0) | F(11) | RIG_F_MRG, 1000, 3, 0);
	test_segmented(F(0) | F(11) | RIG_F_MRG, 1460, 3, 0);
	test_segmented(F(0) | F(11) | RIG_F_MRG, 1461, 1, 2);
	return 0;
}
