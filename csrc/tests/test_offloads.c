/* Virtio headers through the software NIC: carried, mended, refused; and what looks at frames. */
#include <arpa/inet.h>

#include "net_header.h"
#include "rig.h"

#define RX      RIG_BUFFERS
#define TX      (RIG_BUFFERS + 0x100000ull)
#define F(bit)  (1ull << (bit))
#define CSUM    (F(0) | F(1))
#define HOST    (F(0) | F(11) | F(12) | F(13) | F(14) | F(56))
#define GUEST   (F(1) | F(7) | F(8) | F(9) | F(10) | F(54) | F(55))
#define TCP_AT  34u
#define HEADERS 54u

static const uint64_t layouts[] = {0, RIG_F_PACKED, RIG_F_PACKED | RIG_F_IN_ORDER};

static void receive_buffers(struct rig *rig, uint32_t queue, uint32_t n, uint32_t length)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = RX + queue * 0x80000ull + (uint64_t)i * length;

		if (rig->packed)
			rig_packed(rig, queue, rig_iova(at), length, VDP_DESC_WRITE, (uint16_t)i);
		else
			rig_desc(rig, queue, (uint16_t)i, rig_iova(at), length, VDP_DESC_WRITE, 0),
			    rig_offer(rig, queue, (uint16_t)i);
	}
}

static void transmit(
    struct rig *rig, uint16_t id, const struct vdp_net_hdr *says, uint32_t length, uint32_t header)
{
	memset(rig->mem + TX, 0xee, header);
	vdp_net_hdr_pack(says, rig->mem + TX);
	if (rig->packed)
		rig_packed(rig, RIG_TX, rig_iova(TX), header + length, 0, id);
	else
		rig_desc(rig, RIG_TX, id, rig_iova(TX), header + length, 0, 0), rig_offer(rig, RIG_TX, id);
	rig_kick(rig, RIG_TX);
}

static void wait_packets(struct rig *rig, uint32_t queue, uint64_t n)
{
	const uint64_t *packets = &vdp_nic_queue_stats(rig->nic, queue)->packets;

	for (int i = 0; i < 5000 && rig_stat(packets) < n; i++)
		rig_sleep_ms(1);
	CHECK_EQ(rig_stat(packets), n);
}

/* Ethernet, IPv4, TCP: a checksum of the pseudo header in its field. */
static void tcp_frame(uint8_t *frame, uint32_t length)
{
	static const uint8_t ip[20] = {0x45, 0, 0, 0, 1, 2, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
	static const uint8_t tcp[20] = {
	    0x12, 0x34, 0, 80, 0xff, 0xff, 0xf0, 0, 0, 0, 0, 0, 0x50, 0x99, 1, 0, 0, 0, 0, 0};
	uint32_t sum = 0x0a00 + 1 + 0x0a00 + 2 + 6 + (length - TCP_AT);

	rig_fill(frame, length, 7);
	frame[12] = 8;
	frame[13] = 0;
	memcpy(frame + 14, ip, 20);
	frame[16] = (uint8_t)((length - 14) >> 8);
	frame[17] = (uint8_t)(length - 14);
	memcpy(frame + TCP_AT, tcp, 20);
	sum = (sum & 0xffff) + (sum >> 16);
	frame[TCP_AT + 16] = (uint8_t)(sum >> 8);
	frame[TCP_AT + 17] = (uint8_t)sum;
}

static bool tcp_sum_right(const uint8_t *frame, uint32_t length)
{
	uint32_t pseudo = rig_sum(frame + 26, 8, 6 + length - TCP_AT);

	return rig_sum(frame + TCP_AT, length - TCP_AT, pseudo) == 0xffff;
}

static const struct vdp_net_hdr csum = {
    .flags = VDP_HDR_NEEDS_CSUM, .hdr_len = 54, .csum_start = TCP_AT, .csum_offset = 16};
static const struct vdp_net_hdr tso = {.flags = VDP_HDR_NEEDS_CSUM,
    .gso_type = VDP_GSO_TCPV4,
    .hdr_len = 54,
    .gso_size = 1000,
    .csum_start = TCP_AT,
    .csum_offset = 16};

/* A driver that takes what it sends gets it back as it was, in one buffer and in many. */
static void test_carried(uint64_t layout)
{
	static const uint32_t lengths[] = {100, 65550};
	uint8_t want[10];
	struct rig rig;

	for (uint32_t i = 0; i < 2; i++) {
		struct rig_conf conf = {.features = layout | HOST | GUEST | RIG_F_MRG};
		uint32_t buffer = i ? 4096 : 2048;

		rig_open(&rig, &conf);
		receive_buffers(&rig, RIG_RX, 20, buffer);
		tcp_frame(rig.mem + TX + 12, lengths[i]);
		vdp_nic_resume(rig.nic);
		transmit(&rig, 0, i ? &tso : &csum, lengths[i], 12);
		wait_packets(&rig, RIG_RX, 1);
		vdp_net_hdr_pack(i ? &tso : &csum, want);
		CHECK(!memcmp(rig.mem + RX, want, 10));
		CHECK_EQ(rig.mem[RX + 10], i ? 17 : 1);
		CHECK(!memcmp(rig.mem + RX + 12, rig.mem + TX + 12, i ? 4084 : 100));
		rig_close(&rig);
	}
}

/* The header in three pieces, one of them with data. */
static void test_pieces(void)
{
	struct rig_conf conf = {.features = CSUM};
	uint8_t want[10];
	struct rig rig;

	rig_open(&rig, &conf);
	receive_buffers(&rig, RIG_RX, 1, 2048);
	tcp_frame(rig.mem + TX + 12, 90);
	vdp_net_hdr_pack(&csum, rig.mem + TX);
	rig_desc(&rig, RIG_TX, 0, rig_iova(TX), 1, VDP_DESC_NEXT, 1);
	rig_desc(&rig, RIG_TX, 1, rig_iova(TX + 1), 6, VDP_DESC_NEXT, 2);
	rig_desc(&rig, RIG_TX, 2, rig_iova(TX + 7), 95, 0, 0);
	rig_offer(&rig, RIG_TX, 0);
	vdp_nic_resume(rig.nic);
	rig_kick(&rig, RIG_TX);
	wait_packets(&rig, RIG_RX, 1);
	vdp_net_hdr_pack(&csum, want);
	CHECK(!memcmp(rig.mem + RX, want, 10));
	CHECK(!memcmp(rig.mem + RX + 12, rig.mem + TX + 12, 90));
	rig_close(&rig);
}

/* A driver that does not take checksums gets them complete, of odd and even lengths. */
static void test_checksum(uint64_t layout)
{
	struct rig rig;

	for (uint32_t length = 60; length < 64; length++) {
		struct rig_conf conf = {.features = layout | F(0)};

		rig_open(&rig, &conf);
		receive_buffers(&rig, RIG_RX, 1, 2048);
		tcp_frame(rig.mem + TX + 12, length);
		vdp_nic_resume(rig.nic);
		transmit(&rig, 0, &csum, length, 12);
		wait_packets(&rig, RIG_RX, 1);
		for (int i = 0; i < 10; i++)
			CHECK_EQ(rig.mem[RX + i], 0);
		CHECK(tcp_sum_right(rig.mem + RX + 12, length));
		CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->mended), 1);
		rig_close(&rig);
	}
}

/* One that does not take TSO gets segments. */
static void test_segments(uint64_t layout)
{
	struct rig_conf conf = {.features = layout | HOST | F(1)};
	uint32_t length = HEADERS + 2500, seq = 0xfffff000;
	struct vdp_net_hdr ecn = tso;
	struct rig rig;

	ecn.gso_type |= VDP_GSO_ECN;
	rig_open(&rig, &conf);
	receive_buffers(&rig, RIG_RX, 4, 2048);
	tcp_frame(rig.mem + TX + 12, length);
	memcpy(rig.mem + TX + 12 + TCP_AT + 4, (uint8_t[]){0xff, 0xff, 0xf0, 0}, 4);
	vdp_nic_resume(rig.nic);
	transmit(&rig, 0, &ecn, length, 12);
	wait_packets(&rig, RIG_RX, 3);
	for (uint32_t i = 0; i < 3; i++) {
		const uint8_t *frame = rig.mem + RX + 2048 * (size_t)i + 12;
		uint32_t n = i < 2 ? 1000 : 500, got;

		CHECK_EQ(frame[-12] | frame[-11], 0);
		CHECK_EQ(frame[16] << 8 | frame[17], HEADERS - 14 + n);
		CHECK_EQ(frame[18] << 8 | frame[19], 0x0102 + i);
		CHECK_EQ(rig_sum(frame + 14, 20, 0), 0xffff);
		memcpy(&got, frame + TCP_AT + 4, 4);
		CHECK_EQ(ntohl(got), seq + 1000 * i);
		CHECK_EQ(frame[TCP_AT + 13], 0x10 | (i ? 0 : 0x80) | (i == 2 ? 0x09 : 0));
		CHECK(tcp_sum_right(frame, HEADERS + n));
		CHECK(!memcmp(frame + HEADERS, rig.mem + TX + 12 + HEADERS + 1000 * (size_t)i, n));
	}
	rig_close(&rig);
}

/* Headers that lie: dropped, counted, and the queue lives on. */
static void test_refused(uint64_t layout)
{
	static const struct {
		uint64_t features;
		struct vdp_net_hdr header;
	} bad[] = {
	    {HOST, {.flags = 1, .csum_start = 84, .csum_offset = 15}}, /* one byte too far */
	    {HOST, {.flags = 1, .csum_start = 65535, .csum_offset = 65535}},
	    {HOST, {.flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 1, .gso_size = 0}},
	    {HOST, {.flags = 0, .csum_start = 34, .csum_offset = 16, .gso_type = 1, .gso_size = 9}},
	    {HOST, {.flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 2, .gso_size = 9}},
	    {HOST, {.flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 0x80, .gso_size = 9}},
	    {HOST, {.flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 0x21, .gso_size = 9}},
	    {F(0), {.flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 1, .gso_size = 9}},
	    {HOST & ~F(13),
		{.flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 0x81, .gso_size = 9}},
	    {F(1), {.flags = 1, .csum_start = 34, .csum_offset = 16}},
	};

	for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rig_conf conf = {.features = layout | GUEST | bad[i].features};
		struct vdp_net_hdr nothing = {.csum_start = 0xffff, .gso_size = 0xffff};
		struct rig rig;

		rig_open(&rig, &conf);
		receive_buffers(&rig, RIG_RX, 2, 2048);
		tcp_frame(rig.mem + TX + 12, 100);
		vdp_nic_resume(rig.nic);
		transmit(&rig, 0, &bad[i].header, 100, 12);
		wait_packets(&rig, RIG_TX, 1);
		CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_TX)->bad_headers), 1);
		transmit(&rig, 1, &nothing, 100, 12);
		wait_packets(&rig, RIG_RX, 1);
		CHECK_EQ(rig.mem[RX] | rig.mem[RX + 6], 0);
		rig_close(&rig);
	}
}

/* hdr_len is a hint: what cannot be is mended, and to a driver it is all headers. */
static void test_hints(void)
{
	static const uint16_t hints[] = {0, 51, 54, 101, 65535}, checked[] = {52, 52, 54, 52, 52};
	uint8_t frame[100];

	tcp_frame(frame, sizeof(frame));
	for (uint32_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
		struct vdp_net_hdr header = tso;

		header.hdr_len = hints[i];
		CHECK(vdp_net_hdr_check(&header, sizeof(frame), UINT32_MAX));
		CHECK_EQ(header.hdr_len, checked[i]);
		vdp_net_hdr_measure(&header, frame, sizeof(frame));
		CHECK_EQ(header.hdr_len, HEADERS);
	}
}

/* A frame that is not what its header says: UFO of TCP, IPv6 of IPv4. */
static void test_not_cut(void)
{
	struct rig_conf conf = {.features = HOST | F(1)};
	struct vdp_net_hdr ufo = tso, six = tso;
	struct rig rig;

	ufo.gso_type = VDP_GSO_UDP;
	six.gso_type = VDP_GSO_TCPV6;
	rig_open(&rig, &conf);
	receive_buffers(&rig, RIG_RX, 2, 2048);
	tcp_frame(rig.mem + TX + 12, 100);
	vdp_nic_resume(rig.nic);
	transmit(&rig, 0, &ufo, 100, 12);
	wait_packets(&rig, RIG_TX, 1);
	transmit(&rig, 1, &six, 100, 12);
	wait_packets(&rig, RIG_TX, 2);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->dropped), 2);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->packets), 0);
	rig_close(&rig);
}

/* Ref: 5.1.6.4: 20 bytes of header, each way; RSS chooses the pair. */
static void test_rss(uint64_t layout)
{
	struct rig_conf conf = {.features = layout | F(57) | F(60), .pairs = 2};
	struct vdp_rss rss = {.steer = true, .types = VDP_HASH_TCPV4, .mask = 1, .table = {1, 1}};
	struct vdp_net_hdr nothing = {0};
	uint32_t hash;
	struct rig rig;

	rig_open(&rig, &conf);
	memset(rss.key, 0x5a, sizeof(rss.key));
	vdp_nic_set_rss(rig.nic, &rss);
	receive_buffers(&rig, 0, 2, 2048);
	receive_buffers(&rig, 2, 2, 2048);
	tcp_frame(rig.mem + TX + 20, 100);
	vdp_nic_resume(rig.nic);
	transmit(&rig, 0, &nothing, 100, 20);
	wait_packets(&rig, 2, 1);
	memcpy(&hash, rig.mem + RX + 2 * 0x80000ull + 12, 4);
	CHECK(hash != 0);
	CHECK_EQ(rig.mem[RX + 2 * 0x80000ull + 16], VDP_REPORT_TCPV4);
	CHECK(!memcmp(rig.mem + RX + 2 * 0x80000ull + 20, rig.mem + TX + 20, 100));
	rig.mem[TX + 20 + 12] = 0x77; /* no IP: unclassified */
	transmit(&rig, 1, &nothing, 100, 20);
	wait_packets(&rig, 0, 1);
	CHECK_EQ(rig.mem[RX + 16], VDP_REPORT_NONE);
	/* Ref: 5.1.6.5.7.3: a queue being reset receives nothing. */
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	vdp_nic_queue_disable(rig.nic, 2);
	vdp_nic_resume(rig.nic);
	rig.mem[TX + 20 + 12] = 8;
	transmit(&rig, 2, &nothing, 100, 20);
	wait_packets(&rig, RIG_TX, 3);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, 0)->dropped), 1);
	rig_close(&rig);
}

static void test_filter(uint64_t layout)
{
	struct rig_conf conf = {.features = layout};
	struct vdp_filter filter = {.addresses = true, .mac = {2, 0, 0, 0, 0, 1}};
	struct vdp_net_hdr nothing = {0};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_set_filter(rig.nic, &filter);
	receive_buffers(&rig, 0, 2, 2048);
	vdp_nic_resume(rig.nic);
	tcp_frame(rig.mem + TX + 12, 100);
	memcpy(rig.mem + TX + 12, (uint8_t[]){2, 0, 0, 0, 0, 2}, 6);
	transmit(&rig, 0, &nothing, 100, 12);
	wait_packets(&rig, RIG_TX, 1);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->filtered), 1);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, RIG_RX)->packets), 0);
	rig.mem[TX + 12 + 5] = 1;
	transmit(&rig, 1, &nothing, 100, 12);
	wait_packets(&rig, RIG_RX, 1);
	rig_close(&rig);
}

/* Ref: 5.1.6.5.8: from the next frame on. */
static void test_guest_offloads(void)
{
	struct rig_conf conf = {.features = CSUM | F(11)};
	struct rig rig;

	rig_open(&rig, &conf);
	vdp_nic_set_guest_offloads(rig.nic, 0, 0);
	receive_buffers(&rig, RIG_RX, 3, 2048);
	tcp_frame(rig.mem + TX + 12, 100);
	vdp_nic_resume(rig.nic);
	transmit(&rig, 0, &csum, 100, 12);
	wait_packets(&rig, RIG_RX, 1);
	CHECK_EQ(rig.mem[RX], 0);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	vdp_nic_set_guest_offloads(rig.nic, F(1) | F(7), 0); /* no more than was negotiated */
	vdp_nic_resume(rig.nic);
	transmit(&rig, 1, &csum, 100, 12);
	wait_packets(&rig, RIG_RX, 2);
	CHECK_EQ(rig.mem[RX + 2048], 1);
	transmit(&rig, 2, &tso, 100, 12);
	wait_packets(&rig, RIG_RX, 3);
	CHECK_EQ(rig.mem[RX + 4096], 0);
	rig_close(&rig);
}

int main(void)
{
	for (uint32_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		test_carried(layouts[i]);
		test_checksum(layouts[i]);
		test_segments(layouts[i]);
		test_refused(layouts[i]);
		test_rss(layouts[i]);
		test_filter(layouts[i]);
	}
	test_pieces();
	test_hints();
	test_not_cut();
	test_guest_offloads();
	return 0;
}
