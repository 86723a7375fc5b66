#include "steer.h"

#include <string.h>

/* The same in both directions: sums do not tell source from destination. */
static uint32_t entry(const struct vdp_flow *flow, const uint8_t *head)
{
	const uint8_t *addresses = head + flow->network + (flow->ipv6 ? 8 : 12);
	uint32_t words = flow->ipv6 ? 8 : 2, sum = flow->protocol, word;

	for (uint32_t i = 0; i < words; i++) {
		memcpy(&word, addresses + 4 * (size_t)i, sizeof(word));
		sum += word;
	}
	if (flow->transport) {
		const uint8_t *ports = head + flow->transport;

		sum += (uint32_t)(ports[0] << 8 | ports[1]) + (uint32_t)(ports[2] << 8 | ports[3]);
	}
	return (sum * 0x9e3779b1u >> 16) % VDP_STEER_FLOWS;
}

void vdp_steer_learn(struct vdp_steer *steer, const struct vdp_flow *flow, const uint8_t *head, uint32_t pair)
{
	if (flow->network)
		steer->pair[entry(flow, head)] = (uint8_t)(pair + 1);
}

uint32_t vdp_steer_find(const struct vdp_steer *steer, const struct vdp_flow *flow, const uint8_t *head,
    uint32_t active, uint32_t otherwise)
{
	uint32_t pair = flow->network ? steer->pair[entry(flow, head)] : 0;

	return pair > 0 && pair <= active ? pair - 1 : otherwise;
}
