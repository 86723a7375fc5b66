#include "flow_rules.h"

#include <string.h>

#define ETHERNET    14u
#define IPV4_HEADER 20u
#define IPV6_HEADER 40u
#define IPV6_NEXT   6u
#define TRANSPORT   20u /* of TCP; of UDP what lies behind is under no mask */

/* The frame's headers, each at its place. */
static void extract(uint8_t *key, const struct vdp_flow *flow, const uint8_t *head)
{
	uint32_t rest = VDP_FLOW_HEAD - flow->transport;

	memset(key, 0, VDP_FLOW_KEY);
	memcpy(key, head, ETHERNET);
	if (flow->network)
		memcpy(key + VDP_FLOW_NETWORK, head + flow->network, flow->ipv6 ? IPV6_HEADER : IPV4_HEADER);
	if (flow->ipv6)
		key[VDP_FLOW_NETWORK + IPV6_NEXT] = flow->next; /* behind extension headers */
	if (flow->transport)
		memcpy(key + VDP_FLOW_TRANSPORT, head + flow->transport, rest < TRANSPORT ? rest : TRANSPORT);
}

static bool matches(const struct vdp_flow_rule *rule, const struct vdp_flow *flow, const uint8_t *key)
{
	uint8_t network = flow->network ? (flow->ipv6 ? 6 : 4) : 0;

	if (rule->network && rule->network != network)
		return false;
	if (rule->transport && (!flow->transport || rule->transport != flow->protocol))
		return false;
	for (uint32_t i = 0; i < VDP_FLOW_KEY; i++)
		if ((key[i] & rule->mask[i]) != rule->key[i])
			return false;
	return true;
}

enum vdp_flow_action vdp_flow_rules_find(
    const struct vdp_flow_rules *rules, const struct vdp_flow *flow, const uint8_t *head, uint32_t *pair)
{
	uint8_t key[VDP_FLOW_KEY];

	extract(key, flow, head);
	for (uint32_t i = 0; i < rules->count; i++) {
		const struct vdp_flow_rule *rule = rules->rule + i;

		if (!matches(rule, flow, key))
			continue;
		*pair = rule->pair;
		return (enum vdp_flow_action)rule->action;
	}
	return VDP_FLOW_NO_MATCH;
}
