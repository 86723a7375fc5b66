/* Segments in UDP tunnels through the software NIC: carried with longer headers, cut, refused. */
#include "mend.h"
#include "net_device.h"
#include "rig.h"

#define RX      RIG_BUFFERS
#define TX      (RIG_BUFFERS + 0x100000ull)
#define F(bit)  (1ull << (bit))
#define H(bit)  (1ull << ((bit) - 64))
#define PLAIN   (F(0) | F(1) | F(7) | F(8) | F(11) | F(12) | F(54) | F(55) | F(56))
#define HOST    (H(67) | H(68))
#define GUEST   (H(65) | H(66))
#define OUT     H(69)
#define OUTER   34u /* UDP; Ethernet and IPv4 before it */
#define INNER   64u /* IPv4; VXLAN and Ethernet before it */
#define TCP_AT  84u
#define HEADERS 104u
#define SIZE    1000u

static const uint64_t layouts[] = {0, RIG_F_PACKED};

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t pseudo(const uint8_t *ip, uint32_t length, uint32_t protocol)
{
	return rig_sum(ip + 12, 8, length + protocol);
}

static void ip4(uint8_t *ip, uint32_t length, uint8_t protocol)
{
	static const uint8_t head[20] = {0x45, 0, 0, 0, 1, 2, 0, 0, 64, 0, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};

	memcpy(ip, head, sizeof(head));
	put16(ip + 2, length);
	ip[9] = protocol;
}

/* TCP in VXLAN, its checksum to be completed; with sum the outer one, too, else there is none. */
static void tunnel_frame(uint8_t *frame, uint32_t length, bool sum)
{
	static const uint8_t vxlan[8] = {8, 0, 0, 0, 0, 0, 7, 0};

	rig_fill(frame, length, 7);
	put16(frame + 12, 0x0800);
	ip4(frame + 14, length - 14, 17);
	put16(frame + OUTER, 50000);
	put16(frame + OUTER + 2, 4789);
	put16(frame + OUTER + 4, length - OUTER);
	put16(frame + OUTER + 6, sum ? pseudo(frame + 14, length - OUTER, 17) : 0);
	memcpy(frame + OUTER + 8, vxlan, sizeof(vxlan));
	put16(frame + INNER - 2, 0x0800);
	ip4(frame + INNER, length - INNER, 6);
	memset(frame + TCP_AT, 0, 20);
	frame[TCP_AT + 12] = 0x50;
	put16(frame + TCP_AT + 16, pseudo(frame + INNER, length - TCP_AT, 6));
}

/* In the driver's memory, so many bytes. */
static void header_at(uint8_t *to, uint32_t bytes, uint8_t flags, uint8_t gso_type)
{
	const struct vdp_net_hdr says = {.flags = flags,
	    .gso_type = gso_type,
	    .hdr_len = HEADERS,
	    .gso_size = SIZE,
	    .csum_start = TCP_AT,
	    .csum_offset = 16};

	memset(to, 0xee, bytes);
	vdp_net_hdr_pack(&says, to);
	if (bytes < VDP_NET_HDR_TUNNEL)
		return;
	memcpy(to + 20, (uint8_t[]){OUTER, 0, INNER, 0}, 4);
}

static void buffers(struct rig *rig, uint32_t n, uint32_t length)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = rig_iova(RX + (uint64_t)i * length);

		if (rig->packed)
			rig_packed(rig, RIG_RX, at, length, VDP_DESC_WRITE, (uint16_t)i);
		else
			rig_desc(rig, RIG_RX, (uint16_t)i, at, length, VDP_DESC_WRITE, 0),
			    rig_offer(rig, RIG_RX, (uint16_t)i);
	}
}

static void transmit(struct rig *rig, uint16_t id, uint32_t bytes)
{
	if (rig->packed)
		rig_packed(rig, RIG_TX, rig_iova(TX), bytes, 0, id);
	else
		rig_desc(rig, RIG_TX, id, rig_iova(TX), bytes, 0, 0), rig_offer(rig, RIG_TX, id);
	rig_kick(rig, RIG_TX);
}

static void wait_for(const uint64_t *counter, uint64_t n)
{
	for (int i = 0; i < 5000 && rig_stat(counter) < n; i++)
		rig_sleep_ms(1);
	CHECK_EQ(rig_stat(counter), n);
}

static const struct vdp_queue_stats *stats(struct rig *rig, uint32_t queue)
{
	return vdp_nic_queue_stats(rig->nic, queue);
}

/* A frame in a tunnel, which its header asks to be cut, goes round. */
static void tunnel_goes_round(struct rig *rig)
{
	header_at(rig->mem + TX, 24, VDP_HDR_NEEDS_CSUM, VDP_GSO_TCPV4 | VDP_GSO_TUNNEL_V4);
	tunnel_frame(rig->mem + TX + 24, HEADERS + 2500, false);
	vdp_nic_resume(rig->nic);
	transmit(rig, 0, 24 + HEADERS + 2500);
	wait_for(&stats(rig, RIG_RX)->packets, 1);
}

/* Who takes it gets it as it was, in one buffer and in several: 24 bytes of header, or 32. */
static void test_carried(uint64_t layout, uint64_t out)
{
	struct rig_conf conf = {.features = layout | PLAIN | RIG_F_MRG, .high = HOST | GUEST | out};
	uint32_t header = out ? VDP_NET_HDR_MAX : VDP_NET_HDR_TUNNEL, length = HEADERS + 2500;
	uint8_t want[12];
	struct rig rig;

	rig_open(&rig, &conf);
	buffers(&rig, 4, 2048);
	header_at(rig.mem + TX, header, VDP_HDR_NEEDS_CSUM | VDP_HDR_TUNNEL_CSUM,
	    VDP_GSO_TCPV4 | VDP_GSO_TUNNEL_V4);
	tunnel_frame(rig.mem + TX + header, length, true);
	memcpy(want, rig.mem + TX, 10);
	vdp_nic_resume(rig.nic);
	transmit(&rig, 0, header + length);
	wait_for(&stats(&rig, RIG_RX)->packets, 1);
	CHECK(!memcmp(rig.mem + RX, want, 10));
	CHECK_EQ(rig.mem[RX + 10], 2);
	for (uint32_t i = 12; i < 20; i++)
		CHECK_EQ(rig.mem[RX + i], 0); /* no HASH_REPORT */
	CHECK(!memcmp(
	    rig.mem + RX + 20, (uint8_t[]){OUTER, 0, INNER, 0, 14, 0, 0, 0, 0, 0, 0, 0}, header - 20));
	CHECK(!memcmp(rig.mem + RX + header, rig.mem + TX + header, 2048 - header));
	CHECK(!memcmp(rig.mem + RX + 2048, rig.mem + TX + 2048, length + header - 2048));
	CHECK_EQ(rig_stat(&stats(&rig, RIG_TX)->bad_headers), 0);
	rig_close(&rig);
}

/* A frame without a tunnel behind one with: its header says nothing of the other's. */
static void test_plain_behind(void)
{
	struct rig_conf conf = {.features = PLAIN, .high = HOST | GUEST};
	struct rig rig;

	rig_open(&rig, &conf);
	buffers(&rig, 2, 4096);
	tunnel_goes_round(&rig);
	CHECK_EQ(rig.mem[RX + 20], OUTER);
	memset(rig.mem + TX, 0xee, 24); /* offsets that nobody is to look at */
	rig.mem[TX] = rig.mem[TX + 1] = 0;
	transmit(&rig, 1, 24 + 100);
	wait_for(&stats(&rig, RIG_RX)->packets, 2);
	for (uint32_t i = 0; i < 24; i++)
		CHECK_EQ(rig.mem[RX + 4096 + i], i == 10);
	rig_close(&rig);
}

/* Who does not take it, or not now, gets segments: lengths, numbers and sums of both pairs of headers. */
static void test_cut(uint64_t layout, bool sum, uint64_t guest, bool taken_back)
{
	struct rig_conf conf = {.features = layout | PLAIN, .high = HOST | guest};
	uint32_t length = HEADERS + 2500;
	struct rig rig;

	rig_open(&rig, &conf);
	if (taken_back)
		vdp_nic_set_guest_offloads(rig.nic, PLAIN, 0);
	buffers(&rig, 4, 2048);
	header_at(rig.mem + TX, 24, VDP_HDR_NEEDS_CSUM | (sum ? VDP_HDR_TUNNEL_CSUM : 0),
	    VDP_GSO_TCPV4 | VDP_GSO_TUNNEL_V4);
	tunnel_frame(rig.mem + TX + 24, length, sum);
	vdp_nic_resume(rig.nic);
	transmit(&rig, 0, 24 + length);
	wait_for(&stats(&rig, RIG_RX)->packets, 3);
	for (uint32_t i = 0; i < 3; i++) {
		const uint8_t *frame = rig.mem + RX + 2048 * (size_t)i + 24;
		uint32_t n = HEADERS + (i < 2 ? 1000 : 500);

		for (int at = -24; at < 0; at++)
			CHECK_EQ(frame[at], at == -14);
		CHECK_EQ(get16(frame + 16), n - 14);
		CHECK_EQ(get16(frame + 18), 0x0102 + i);
		CHECK_EQ(rig_sum(frame + 14, 20, 0), 0xffff);
		CHECK_EQ(get16(frame + OUTER + 4), n - OUTER);
		if (sum)
			CHECK_EQ(
			    rig_sum(frame + OUTER, n - OUTER, pseudo(frame + 14, n - OUTER, 17)), 0xffff);
		else
			CHECK_EQ(get16(frame + OUTER + 6), 0);
		CHECK_EQ(get16(frame + INNER + 2), n - INNER);
		CHECK_EQ(get16(frame + INNER + 4), 0x0102 + i);
		CHECK_EQ(rig_sum(frame + INNER, 20, 0), 0xffff);
		CHECK_EQ(rig_sum(frame + TCP_AT, n - TCP_AT, pseudo(frame + INNER, n - TCP_AT, 6)), 0xffff);
		CHECK(!memcmp(frame + HEADERS, rig.mem + TX + 24 + HEADERS + 1000 * (size_t)i, n - HEADERS));
	}
	rig_close(&rig);
}

/* What must not be accepted. Ref: virtio 1.4, 5.1.6.2.2 */
static void test_refused(uint64_t layout)
{
	static const struct {
		uint8_t flags, gso_type, outer, inner;
		uint64_t high;
	} cases[] = {
	    {1, 0x61, OUTER, INNER, HOST},     /* both tunnels */
	    {0, 0x21, OUTER, INNER, HOST},     /* no checksum to complete */
	    {3, 0x21, OUTER, INNER, HOST},     /* DATA_VALID */
	    {1, 0x20, OUTER, INNER, HOST},     /* no segments */
	    {1, 0x23, OUTER, INNER, HOST},     /* UFO */
	    {8, 0, OUTER, INNER, HOST},        /* an outer checksum without a tunnel */
	    {9, 1, OUTER, INNER, HOST},        /* the same of segments */
	    {9, 0x21, OUTER, INNER, H(67)},    /* an outer checksum that was not negotiated */
	    {1, 0x21, OUTER, INNER, GUEST},    /* a tunnel that was not */
	    {1, 0x21, 33, INNER, HOST},        /* no room for an IP header */
	    {1, 0x21, OUTER, OUTER + 7, HOST}, /* or for a UDP header */
	    {1, 0x21, OUTER, 65, HOST},        /* or for the inner IP header */
	    {1, 0x44, OUTER, INNER, HOST},     /* of IPv6, which is longer */
	};
	struct rig rig;

	for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig_conf conf = {.features = layout | PLAIN | F(14), .high = cases[i].high};

		rig_open(&rig, &conf);
		buffers(&rig, 1, 4096);
		header_at(rig.mem + TX, 24, cases[i].flags, cases[i].gso_type);
		rig.mem[TX + 20] = cases[i].outer;
		rig.mem[TX + 22] = cases[i].inner;
		tunnel_frame(rig.mem + TX + 24, 1200, false);
		vdp_nic_resume(rig.nic);
		transmit(&rig, 0, 24 + 1200);
		wait_for(&stats(&rig, RIG_TX)->packets, 1);
		CHECK_EQ(rig_stat(&stats(&rig, RIG_TX)->bad_headers), 1);
		CHECK_EQ(rig_stat(&stats(&rig, RIG_RX)->packets), 0);
		rig_close(&rig);
	}
}

/* A tunnel that is not where the header says cannot be cut. */
static void test_not_there(void)
{
	const struct vdp_net_hdr says = {.flags = VDP_HDR_NEEDS_CSUM,
	    .gso_type = VDP_GSO_TCPV4 | VDP_GSO_TUNNEL_V4,
	    .gso_size = SIZE,
	    .csum_start = TCP_AT,
	    .csum_offset = 16};
	struct vdp_segments cut;
	uint8_t frame[1200];

	for (uint32_t i = 0; i < 5; i++) {
		struct vdp_tunnel tunnel = {OUTER, INNER};

		tunnel_frame(frame, sizeof(frame), false);
		tunnel.outer_th += i == 1 ? 2 : 0;
		tunnel.inner_nh -= i == 2 ? 1 : 0;
		frame[INNER + 9] = i == 3 ? 17 : 6;
		frame[14 + 9] = i == 4 ? 6 : 17;
		CHECK_EQ(vdp_segments_init(&cut, frame, sizeof(frame), &says, &tunnel, 0), i == 0);
	}
}

/* Headers behind VDP_FLOW_HEAD are not cut: long ones on short segments would hold the worker up. */
static void test_far_behind(void)
{
	uint8_t frame[VDP_FLOW_HEAD + 100];

	for (uint32_t i = 0; i < 2; i++) {
		uint32_t tcp = VDP_FLOW_HEAD - 8 + i;
		const struct vdp_tunnel tunnel = {OUTER, (uint16_t)(tcp - 20)};
		const struct vdp_net_hdr says = {.flags = VDP_HDR_NEEDS_CSUM,
		    .gso_type = VDP_GSO_TCPV4 | VDP_GSO_TUNNEL_V4,
		    .gso_size = 1,
		    .csum_start = (uint16_t)tcp,
		    .csum_offset = 16};
		struct vdp_segments cut;

		tunnel_frame(frame, sizeof(frame), false);
		ip4(frame + tunnel.inner_nh, sizeof(frame) - tunnel.inner_nh, 6);
		frame[tcp + 12] = 0x50;
		CHECK_EQ(vdp_segments_init(&cut, frame, sizeof(frame), &says, &tunnel, 0), i == 0);
	}
}

/* RSC_EXT: how many segments, where the checksum would be. Ref: 5.1.6.4.1 */
static void test_coalesced(uint64_t layout)
{
	struct rig_conf conf = {.features = layout | PLAIN | F(61), .high = HOST | GUEST};
	struct rig rig;

	rig_open(&rig, &conf);
	buffers(&rig, 1, 4096);
	tunnel_goes_round(&rig);
	CHECK_EQ(rig.mem[RX], VDP_HDR_NEEDS_CSUM | VDP_HDR_RSC_INFO);
	CHECK(!memcmp(rig.mem + RX + 6, (uint8_t[]){3, 0, 0, 0}, 4));
	rig_close(&rig);
}

int main(void)
{
	for (uint32_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		test_carried(layouts[i], 0);
		test_carried(layouts[i], OUT);
		test_cut(layouts[i], false, 0, false);
		test_cut(layouts[i], true, 0, false);
		test_cut(layouts[i], true, H(65), false);
		test_cut(layouts[i], false, GUEST, true);
		test_refused(layouts[i]);
		test_coalesced(layouts[i]);
	}
	test_plain_behind();
	test_not_there();
	test_far_behind();
	return 0;
}
