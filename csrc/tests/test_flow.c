/* Flows, their hashes, the filters: on bytes alone. */
#include <arpa/inet.h>
#include <string.h>

#include "check.h"
#include "filter.h"
#include "steer.h"

/* Verification suite of receive-side scaling: addresses, ports, hash without and with ports. */
static const uint8_t key[VDP_HASH_KEY] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25,
    0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

static const struct {
	const char *dst, *src;
	uint16_t dport, sport;
	uint32_t plain, ports;
} suite[] = {
    {"161.142.100.80", "66.9.149.187", 1766, 2794, 0x323e8fc2, 0x51ccc178},
    {"65.69.140.83", "199.92.111.2", 4739, 14230, 0xd718262a, 0xc626b0ea},
    {"12.22.207.184", "24.19.198.95", 38024, 12898, 0xd2d0a5de, 0x5c2b394a},
    {"209.142.163.6", "38.27.205.30", 2217, 48228, 0x82989176, 0xafc7327f},
    {"202.188.127.2", "153.39.163.191", 1303, 44251, 0x5d1809c5, 0x10e828a2},
    {"3ffe:2501:200:3::1", "3ffe:2501:200:1fff::7", 1766, 2794, 0x2cc18cd5, 0x40207d3d},
    {"ff02::1", "3ffe:501:8::260:97ff:fe40:efab", 4739, 14230, 0x0f0c461c, 0xdde51bbf},
    {"fe80::200:f8ff:fe21:67cf", "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 38024, 44251, 0x4b61e985, 0x02d1feef},
};
#define SUITE (sizeof(suite) / sizeof(suite[0]))

static void put16(uint8_t *at, uint16_t value)
{
	value = htons(value);
	memcpy(at, &value, 2);
}

/* A frame of entry i of the suite; returns its length. */
static uint32_t make(uint8_t *frame, size_t i, uint8_t protocol, uint32_t tags)
{
	bool ipv6 = strchr(suite[i].dst, ':');
	uint32_t at = 12;

	memset(frame, 0, 256);
	for (uint32_t tag = 0; tag < tags; tag++, at += 4) {
		put16(frame + at, 0x8100);
		put16(frame + at + 2, (uint16_t)(0x7000 | (100 + tag)));
	}
	put16(frame + at, ipv6 ? 0x86dd : 0x0800);
	at += 2;
	if (ipv6) {
		frame[at] = 0x60;
		frame[at + 6] = protocol;
		CHECK_EQ(inet_pton(AF_INET6, suite[i].src, frame + at + 8), 1);
		CHECK_EQ(inet_pton(AF_INET6, suite[i].dst, frame + at + 24), 1);
		at += 40;
	} else {
		frame[at] = 0x46; /* with an option */
		frame[at + 9] = protocol;
		CHECK_EQ(inet_pton(AF_INET, suite[i].src, frame + at + 12), 1);
		CHECK_EQ(inet_pton(AF_INET, suite[i].dst, frame + at + 16), 1);
		at += 24;
	}
	put16(frame + at, suite[i].sport);
	put16(frame + at + 2, suite[i].dport);
	return at + 20;
}

static uint32_t hash(const uint8_t *frame, uint32_t length, uint32_t types, uint16_t *report)
{
	struct vdp_flow flow;

	vdp_flow_parse(&flow, frame, length);
	return vdp_flow_hash(&flow, frame, types, key, report);
}

static void test_suite(void)
{
	const uint32_t all = 0x3f;
	uint8_t frame[256];
	uint16_t report;

	for (size_t i = 0; i < SUITE; i++) {
		uint16_t v6 = strchr(suite[i].dst, ':') ? 3 : 0;

		for (uint32_t tags = 0; tags < 3; tags++) {
			uint32_t length = make(frame, i, 6, tags);

			CHECK_EQ(hash(frame, length, all, &report), suite[i].ports);
			CHECK_EQ(report, VDP_REPORT_TCPV4 + v6);
			CHECK_EQ(hash(frame, length, VDP_HASH_IPV4 | VDP_HASH_IPV6, &report), suite[i].plain);
			CHECK_EQ(report, VDP_REPORT_IPV4 + v6);
			make(frame, i, 17, tags);
			CHECK_EQ(hash(frame, length, all, &report), suite[i].ports);
			CHECK_EQ(report, VDP_REPORT_UDPV4 + v6);
			/* UDP is not TCP, and ICMP has no ports. */
			CHECK_EQ(hash(frame, length, all & ~(VDP_HASH_UDPV4 | VDP_HASH_UDPV6), &report),
			    suite[i].plain);
			CHECK_EQ(hash(frame, length, VDP_HASH_TCPV4 | VDP_HASH_TCPV6, &report), 0);
			CHECK_EQ(report, VDP_REPORT_NONE);
			make(frame, i, 1, tags);
			CHECK_EQ(hash(frame, length, all, &report), suite[i].plain);
		}
	}
}

/* VXLAN: the inner headers, where that is wanted; never beyond what is there. */
static void test_tunnel(void)
{
	enum { OUTER = 38, INNER = OUTER + 16 };
	uint8_t frame[256], inner[256];
	uint32_t length = make(inner, 1, 6, 0);
	struct vdp_flow flow, plain;
	uint16_t report;

	make(frame, 0, 17, 0);
	put16(frame + OUTER + 2, 4789);
	memset(frame + OUTER + 4, 0, 12);
	memcpy(frame + INNER, inner, length);
	length += INNER;
	vdp_flow_parse(&plain, frame, length);
	flow = plain;
	vdp_flow_inner(&flow, frame, length, VDP_TUNNEL_VXLAN);
	CHECK_EQ(flow.network, INNER + 14u);
	CHECK_EQ(vdp_flow_hash(&flow, frame, 0x3f, key, &report), suite[1].ports);
	CHECK_EQ(report, VDP_REPORT_TCPV4);
	flow = plain;
	vdp_flow_inner(&flow, frame, length, (uint32_t)~VDP_TUNNEL_VXLAN);
	CHECK(!memcmp(&flow, &plain, sizeof(flow)));
	put16(frame + OUTER + 2, 4790);
	vdp_flow_inner(&flow, frame, length, VDP_TUNNEL_VXLAN);
	CHECK(!memcmp(&flow, &plain, sizeof(flow)));
	put16(frame + OUTER + 2, 4789);
	for (uint32_t cut = OUTER + 8; cut < length; cut++) {
		uint8_t *copy = malloc(cut);

		CHECK(copy);
		memcpy(copy, frame, cut);
		vdp_flow_parse(&flow, copy, cut);
		vdp_flow_inner(&flow, copy, cut, VDP_TUNNEL_VXLAN);
		CHECK(flow.transport + 8 <= cut);
		free(copy);
	}
}

/* A fragment has no ports; an extension header is stepped over. */
static void test_odd(void)
{
	uint8_t frame[256], more[256];
	struct vdp_flow flow;
	uint32_t length = make(frame, 0, 6, 0);
	uint16_t report;

	frame[14 + 6] = 0x20;
	CHECK_EQ(hash(frame, length, 0x3f, &report), suite[0].plain);
	frame[14 + 6] = 0;
	frame[14 + 7] = 1;
	CHECK_EQ(hash(frame, length, 0x3f, &report), suite[0].plain);
	length = make(frame, 5, 6, 0);
	memcpy(more, frame, 54);
	more[20] = 60;
	memset(more + 54, 0, 16);
	more[54] = 6;
	more[55] = 1;
	memcpy(more + 70, frame + 54, 20);
	CHECK_EQ(hash(more, length + 16, 0x3f, &report), suite[5].ports);
	for (uint32_t cut = 0; cut < length + 16; cut++) { /* never beyond what is there: ASan looks */
		uint8_t *copy = malloc(cut ? cut : 1);

		CHECK(copy);
		memcpy(copy, more, cut);
		vdp_flow_parse(&flow, copy, cut);
		free(copy);
		CHECK(flow.network == 0 || flow.network + 40 <= cut);
		CHECK(flow.transport == 0 || flow.transport + 8 <= cut);
	}
	more[55] = 255; /* a header longer than the frame */
	CHECK_EQ(hash(more, length + 16, 0x3f, &report), suite[5].plain);
}

static void test_steer(void)
{
	static struct vdp_steer steer;
	uint8_t there[256], back[256];
	struct vdp_flow flow;
	uint32_t length = make(there, 0, 6, 0);

	vdp_flow_parse(&flow, there, length);
	CHECK_EQ(vdp_steer_find(&steer, &flow, there, 4, 1), 1);
	vdp_steer_learn(&steer, &flow, there, 3);
	memcpy(back, there, length);
	memcpy(back + 14 + 12, there + 14 + 16, 4);
	memcpy(back + 14 + 16, there + 14 + 12, 4);
	memcpy(back + 38, there + 40, 2);
	memcpy(back + 40, there + 38, 2);
	CHECK_EQ(vdp_steer_find(&steer, &flow, back, 4, 1), 3);
	CHECK_EQ(vdp_steer_find(&steer, &flow, back, 3, 1), 1); /* not active any more */
	back[41] ^= 1;
	CHECK_EQ(vdp_steer_find(&steer, &flow, back, 4, 1), 1);
}

static void test_filter(void)
{
	static const uint8_t own[6] = {2, 0, 0, 0, 0, 1}, other[6] = {2, 0, 0, 0, 0, 2};
	static const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 9}, all[6] = {255, 255, 255, 255, 255, 255};
	struct vdp_filter filter = {0};

	CHECK(vdp_filter_pass(&filter, other, 7));
	filter.addresses = true;
	memcpy(filter.mac, own, 6);
	CHECK(vdp_filter_pass(&filter, own, 7));
	CHECK(vdp_filter_pass(&filter, all, 0));
	CHECK(!vdp_filter_pass(&filter, other, 0));
	CHECK(!vdp_filter_pass(&filter, group, 0));
	filter.unicast = filter.multicast = 1;
	memcpy(filter.table, other, 6);
	memcpy(filter.table + 6, group, 6);
	CHECK(vdp_filter_pass(&filter, other, 0));
	CHECK(vdp_filter_pass(&filter, group, 0));
	filter.nouni = filter.nomulti = filter.nobcast = true;
	CHECK(!vdp_filter_pass(&filter, own, 0));
	CHECK(!vdp_filter_pass(&filter, group, 0));
	CHECK(!vdp_filter_pass(&filter, all, 0));
	filter.promisc = true;
	CHECK(vdp_filter_pass(&filter, own, 0));
	filter = (struct vdp_filter){.addresses = true, .alluni = true, .vlans = true};
	CHECK(vdp_filter_pass(&filter, other, 0));
	CHECK(!vdp_filter_pass(&filter, group, 0));
	filter.allmulti = true;
	CHECK(vdp_filter_pass(&filter, group, 0));
	CHECK(!vdp_filter_pass(&filter, own, 4095));
	filter.vlan[511] = 0x80;
	CHECK(vdp_filter_pass(&filter, own, 4095));
	CHECK(!vdp_filter_pass(&filter, own, 1));
}

int main(void)
{
	test_suite();
	test_tunnel();
	test_odd();
	test_steer();
	test_filter();
	return 0;
}
