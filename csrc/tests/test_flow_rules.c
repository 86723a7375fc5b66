/* The flow filter: what a rule matches, on bytes alone; and what becomes of a frame in a NIC. */
#include "flow_rules.h"
#include "rig.h"

#define RX     RIG_BUFFERS
#define SECOND (RIG_BUFFERS + 0x100000ull)
#define TX     (RIG_BUFFERS + 0x200000ull)
#define HEADER 12u
#define LENGTH 100u

static const uint64_t layouts[] = {0, RIG_F_PACKED};

/* From port 0x1234 to 80, over IPv4, or IPv6 with an extension header; protocol 6 or 17, or any other. */
static void make(uint8_t *frame, bool ipv6, uint8_t protocol)
{
	static const uint8_t v4[20] = {0x45, 0, 0, 86, 0, 0, 0, 0, 64, 0, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
	uint8_t *transport = frame + (ipv6 ? 14 + 40 + 8 : 14 + 20);

	memset(frame, 0, LENGTH);
	memcpy(frame, (uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, 12);
	memcpy(frame + 12, ipv6 ? (uint8_t[]){0x86, 0xdd} : (uint8_t[]){8, 0}, 2);
	if (ipv6) {
		frame[14] = 0x60;
		frame[14 + 39] = 9;        /* of its destination */
		frame[14 + 40] = protocol; /* behind hop-by-hop options, which 0 in front of them says */
	} else {
		memcpy(frame + 14, v4, sizeof(v4));
		frame[14 + 9] = protocol;
	}
	memcpy(transport, (uint8_t[]){0x12, 0x34, 0, 80}, 4);
}

static void see(struct vdp_flow_rule *rule, uint32_t at, uint8_t mask, uint8_t key)
{
	rule->mask[at] = mask;
	rule->key[at] = key;
}

static enum vdp_flow_action find(const struct vdp_flow_rules *rules, const uint8_t *frame, uint32_t *pair)
{
	uint8_t head[VDP_FLOW_HEAD] = {0};
	struct vdp_flow flow;

	memcpy(head, frame, LENGTH);
	vdp_flow_parse(&flow, head, LENGTH);
	return vdp_flow_rules_find(rules, &flow, head, pair);
}

static void test_headers(void)
{
	static const struct {
		bool ipv6;
		uint8_t protocol, network, transport;
		bool match;
	} cases[] = {
	    {false, 6, 0, 0, true},
	    {false, 6, 4, 6, true},
	    {false, 17, 4, 17, true},
	    {true, 17, 6, 17, true},
	    {true, 6, 6, 6, true},
	    {true, 6, 4, 6, false},
	    {false, 17, 4, 6, false},
	    {false, 1, 4, 6, false},
	    {false, 1, 6, 0, false},
	    {true, 58, 6, 0, true},
	};
	uint8_t frame[LENGTH];
	uint32_t pair;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vdp_flow_rules rules = {.count = 1,
		    .rule[0] = {.network = cases[i].network,
			.transport = cases[i].transport,
			.action = VDP_FLOW_DIRECT,
			.pair = 3}};

		make(frame, cases[i].ipv6, cases[i].protocol);
		pair = 0;
		CHECK_EQ(find(&rules, frame, &pair), cases[i].match ? VDP_FLOW_DIRECT : VDP_FLOW_NO_MATCH);
		CHECK_EQ(pair, cases[i].match ? 3 : 0);
	}
}

/* One field of each header, also in part; and the next header that comes behind the extension headers. */
static void test_fields(void)
{
	static const struct {
		bool ipv6;
		uint32_t at;
		uint8_t mask, is, other;
	} cases[] = {
	    {false, 5, 0xff, 1, 2},
	    {false, 12, 0xff, 8, 0x86},
	    {true, 12, 0xf0, 0x80, 0x90},
	    {false, VDP_FLOW_NETWORK + 19, 0xff, 2, 3},
	    {false, VDP_FLOW_NETWORK + 9, 0xff, 6, 17},
	    {true, VDP_FLOW_NETWORK + 39, 0xff, 9, 8},
	    {true, VDP_FLOW_NETWORK + 6, 0xff, 6, 0},
	    {false, VDP_FLOW_TRANSPORT, 0xf0, 0x10, 0x20},
	    {true, VDP_FLOW_TRANSPORT + 3, 0xff, 80, 81},
	};
	uint8_t frame[LENGTH];
	uint32_t pair;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vdp_flow_rules rules = {.count = 1, .rule[0].action = VDP_FLOW_DROP};

		make(frame, cases[i].ipv6, 6);
		see(rules.rule, cases[i].at, cases[i].mask, cases[i].is);
		CHECK_EQ(find(&rules, frame, &pair), VDP_FLOW_DROP);
		see(rules.rule, cases[i].at, cases[i].mask, cases[i].other);
		CHECK_EQ(find(&rules, frame, &pair), VDP_FLOW_NO_MATCH);
	}
}

static void test_order(void)
{
	struct vdp_flow_rules rules = {.count = 3,
	    .rule = {{.network = 6, .action = VDP_FLOW_DROP}, {.action = VDP_FLOW_DIRECT, .pair = 1},
		{.action = VDP_FLOW_DROP}}};
	uint8_t frame[LENGTH];
	uint32_t pair = 0;

	make(frame, false, 6);
	CHECK_EQ(find(&rules, frame, &pair), VDP_FLOW_DIRECT);
	CHECK_EQ(pair, 1);
	make(frame, true, 6);
	CHECK_EQ(find(&rules, frame, &pair), VDP_FLOW_DROP);
	rules.count = 1;
	make(frame, false, 6);
	CHECK_EQ(find(&rules, frame, &pair), VDP_FLOW_NO_MATCH);
}

static void receive_buffer(struct rig *rig, uint32_t queue, uint64_t at, uint16_t id)
{
	if (rig->packed)
		rig_packed(rig, queue, rig_iova(at), 2048, VDP_DESC_WRITE, id);
	else
		rig_desc(rig, queue, id, rig_iova(at), 2048, VDP_DESC_WRITE, 0), rig_offer(rig, queue, id);
}

static void transmit(struct rig *rig, uint16_t id)
{
	memset(rig->mem + TX, 0, HEADER);
	if (rig->packed)
		rig_packed(rig, RIG_TX, rig_iova(TX), HEADER + LENGTH, 0, id);
	else
		rig_desc(rig, RIG_TX, id, rig_iova(TX), HEADER + LENGTH, 0, 0), rig_offer(rig, RIG_TX, id);
	rig_kick(rig, RIG_TX);
}

static void wait_for(const uint64_t *counter, uint64_t n)
{
	for (int i = 0; i < 5000 && rig_stat(counter) < n; i++)
		rig_sleep_ms(1);
	CHECK_EQ(rig_stat(counter), n);
}

static void set_rules(struct rig *rig, const struct vdp_flow_rules *rules)
{
	CHECK_EQ(vdp_nic_pause(rig->nic, 1000), 0);
	vdp_nic_set_flow_rules(rig->nic, rules);
	vdp_nic_resume(rig->nic);
}

/* Directed to the second pair, dropped, and to a queue that is not there; without rules as before. */
static void test_in_a_nic(uint64_t layout)
{
	struct rig_conf conf = {.features = layout, .pairs = 2};
	struct vdp_flow_rules rules = {.count = 1, .rule[0] = {.action = VDP_FLOW_DIRECT, .pair = 1}};
	const struct vdp_queue_stats *first, *second;
	struct rig rig;

	rig_open(&rig, &conf);
	first = vdp_nic_queue_stats(rig.nic, 0);
	second = vdp_nic_queue_stats(rig.nic, 2);
	for (uint16_t i = 0; i < 3; i++) {
		receive_buffer(&rig, 0, RX + i * 2048u, i);
		receive_buffer(&rig, 2, SECOND + i * 2048u, i);
	}
	make(rig.mem + TX + HEADER, false, 6);
	vdp_nic_set_flow_rules(rig.nic, &rules);
	vdp_nic_resume(rig.nic);
	transmit(&rig, 0);
	wait_for(&second->packets, 1);
	CHECK(!memcmp(rig.mem + SECOND + HEADER, rig.mem + TX + HEADER, LENGTH));
	rules.rule[0].action = VDP_FLOW_DROP;
	set_rules(&rig, &rules);
	transmit(&rig, 1);
	wait_for(&first->filtered, 1);
	rules.count = 0;
	set_rules(&rig, &rules);
	transmit(&rig, 2);
	wait_for(&first->packets, 1);
	rules.count = 1;
	rules.rule[0].action = VDP_FLOW_DIRECT;
	set_rules(&rig, &rules);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	vdp_nic_queue_disable(rig.nic, 2);
	vdp_nic_resume(rig.nic);
	transmit(&rig, 3);
	wait_for(&first->dropped, 1);
	CHECK_EQ(rig_stat(&second->packets), 1);
	rig_close(&rig);
}

/* Filters come first: a rule does not see what they stop. A reset takes rules away. */
static void test_behind_filters(void)
{
	struct rig_conf conf = {.features = 0, .pairs = 2};
	struct vdp_flow_rules rules = {.count = 1, .rule[0] = {.action = VDP_FLOW_DIRECT, .pair = 1}};
	struct vdp_filter filter = {.addresses = true, .mac = {2, 9, 9, 9, 9, 9}};
	struct rig rig;

	rig_open(&rig, &conf);
	receive_buffer(&rig, 2, SECOND, 0);
	make(rig.mem + TX + HEADER, false, 6);
	vdp_nic_set_flow_rules(rig.nic, &rules);
	vdp_nic_set_filter(rig.nic, &filter);
	vdp_nic_resume(rig.nic);
	transmit(&rig, 0);
	wait_for(&vdp_nic_queue_stats(rig.nic, 0)->filtered, 1);
	CHECK_EQ(rig_stat(&vdp_nic_queue_stats(rig.nic, 2)->packets), 0);
	CHECK_EQ(vdp_nic_pause(rig.nic, 1000), 0);
	vdp_nic_reset(rig.nic);
	vdp_nic_set_features(rig.nic, RIG_F_VERSION1, 0);
	rig_enable(&rig, 0, 8, 0);
	rig_enable(&rig, 1, 8, 0);
	vdp_nic_run(rig.nic, true);
	receive_buffer(&rig, 0, RX, 0);
	vdp_nic_resume(rig.nic);
	transmit(&rig, 0);
	CHECK_EQ(vdp_nic_kick(rig.nic, RIG_TX), 0);
	wait_for(&vdp_nic_queue_stats(rig.nic, 0)->packets, 1);
	rig_close(&rig);
}

int main(void)
{
	test_headers();
	test_fields();
	test_order();
	for (uint32_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		test_in_a_nic(layouts[i]);
	test_behind_filters();
	return 0;
}
