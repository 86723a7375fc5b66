#include "flow.h"

#include <string.h>

#define ETHERNET       14u
#define TYPE_IPV4      0x0800u
#define TYPE_IPV6      0x86ddu
#define TYPE_VLAN      0x8100u
#define TYPE_QINQ      0x88a8u
#define PROTOCOL_TCP   6u
#define PROTOCOL_UDP   17u
#define UDP_HEADER     8u
#define VXLAN_HEADER   8u
#define VXLAN_PORT     4789u
#define MAX_TAGS       2
#define MAX_EXTENSIONS 8

static uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void set_transport(struct vdp_flow *flow, uint8_t protocol, uint32_t at, uint32_t length)
{
	if ((protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) || at + 8 > length)
		return;
	flow->transport = at;
	flow->protocol = protocol;
}

static void parse_ipv4(struct vdp_flow *flow, const uint8_t *head, uint32_t at, uint32_t length)
{
	uint32_t header;

	if (at + 20 > length || head[at] >> 4 != 4)
		return;
	header = (head[at] & 15u) * 4;
	if (header < 20 || at + header > length)
		return;
	flow->network = at;
	flow->next = head[at + 9];
	if (load16(head + at + 6) & 0x3fff) /* a fragment: more to come, or not the first */
		return;
	set_transport(flow, head[at + 9], at + header, length);
}

/* Hop-by-hop, routing and destination options are stepped over; behind anything else nothing is sought. */
static void parse_ipv6(struct vdp_flow *flow, const uint8_t *head, uint32_t at, uint32_t length)
{
	uint8_t next;

	if (at + 40 > length || head[at] >> 4 != 6)
		return;
	flow->network = at;
	flow->ipv6 = true;
	next = flow->next = head[at + 6];
	at += 40;
	for (int i = 0; i < MAX_EXTENSIONS && (next == 0 || next == 43 || next == 60); i++) {
		if (at + 8 > length)
			return;
		next = flow->next = head[at];
		at += (head[at + 1] + 1u) * 8;
	}
	set_transport(flow, next, at, length);
}

void vdp_flow_parse(struct vdp_flow *ret, const uint8_t *head, uint32_t length)
{
	uint32_t at = ETHERNET;
	uint16_t type;

	*ret = (struct vdp_flow){0};
	if (length < ETHERNET)
		return;
	type = load16(head + 12);
	for (int i = 0; i < MAX_TAGS && (type == TYPE_VLAN || type == TYPE_QINQ) && at + 4 <= length; i++) {
		if (i == 0)
			ret->vlan = load16(head + at) & 0xfff;
		type = load16(head + at + 2);
		at += 4;
	}
	if (type == TYPE_IPV4)
		parse_ipv4(ret, head, at, length);
	else if (type == TYPE_IPV6)
		parse_ipv6(ret, head, at, length);
}

void vdp_flow_inner(struct vdp_flow *flow, const uint8_t *head, uint32_t length, uint32_t tunnels)
{
	struct vdp_flow inner;
	uint32_t at = flow->transport + UDP_HEADER + VXLAN_HEADER;

	if (!(tunnels & VDP_TUNNEL_VXLAN) || flow->protocol != PROTOCOL_UDP || at > length)
		return;
	if (load16(head + flow->transport + 2) != VXLAN_PORT)
		return;
	vdp_flow_parse(&inner, head + at, length - at);
	if (!inner.network)
		return;
	inner.network += at;
	inner.transport += inner.transport ? at : 0;
	inner.vlan = flow->vlan;
	*flow = inner;
}

uint32_t vdp_toeplitz(const uint8_t key[VDP_HASH_KEY], const uint8_t *data, uint32_t length)
{
	uint32_t window = (uint32_t)load16(key) << 16 | load16(key + 2), hash = 0;

	for (uint32_t i = 0; i < length; i++) {
		for (int bit = 7; bit >= 0; bit--) {
			hash ^= data[i] >> bit & 1 ? window : 0;
			window = window << 1 | (key[i + 4] >> bit & 1);
		}
	}
	return hash;
}

uint32_t vdp_flow_hash(const struct vdp_flow *flow, const uint8_t *head, uint32_t types,
    const uint8_t key[VDP_HASH_KEY], uint16_t *report)
{
	uint32_t shift = flow->ipv6 ? 3 : 0, addresses = flow->ipv6 ? 32 : 8;
	uint32_t length = addresses, type = 0;
	uint8_t input[36];

	*report = VDP_REPORT_NONE;
	if (!flow->network)
		return 0;
	if (flow->transport)
		type = flow->protocol == PROTOCOL_TCP ? 1 : 2;
	memcpy(input, head + flow->network + (flow->ipv6 ? 8 : 12), addresses);
	/* Ref: 5.1.6.4.3.2: with ports if that type is wanted, else of the addresses alone. */
	if (type && types & VDP_HASH_IPV4 << (type + shift)) {
		memcpy(input + addresses, head + flow->transport, 4);
		length += 4;
	} else if (types & VDP_HASH_IPV4 << shift) {
		type = 0;
	} else {
		return 0;
	}
	*report = (uint16_t)(VDP_REPORT_IPV4 + type + shift);
	return vdp_toeplitz(key, input, length);
}
