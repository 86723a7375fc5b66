/* The flow filter: rules that drop a frame, or give it to a pair. Ref: virtio 1.4, 5.1.9.6 */
#ifndef VDP_FLOW_RULES_H
#define VDP_FLOW_RULES_H

#include <stdint.h>

#include "flow.h"

#define VDP_FLOW_RULES 64u

/* Where headers lie in a key and its mask. */
#define VDP_FLOW_KEY       80u
#define VDP_FLOW_NETWORK   16u
#define VDP_FLOW_TRANSPORT 56u

enum vdp_flow_action { VDP_FLOW_NO_MATCH, VDP_FLOW_DROP, VDP_FLOW_DIRECT };

struct vdp_flow_rule {
	uint8_t mask[80],
	    key[80];           /* VDP_FLOW_KEY: Ethernet, IP, TCP or UDP; no bit of key but those of mask */
	uint8_t network;       /* 4 or 6: only with such a header; 0: whatever */
	uint8_t transport;     /* protocol: only with such a header; 0: whatever */
	uint16_t action, pair; /* enum vdp_flow_action */
};

struct vdp_flow_rules {
	uint32_t count;
	struct vdp_flow_rule rule[64]; /* VDP_FLOW_RULES, the first to be tried first */
};

/* By the first rule that matches; *pair only for DIRECT. head: VDP_FLOW_HEAD private bytes. */
enum vdp_flow_action vdp_flow_rules_find(
    const struct vdp_flow_rules *rules, const struct vdp_flow *flow, const uint8_t *head, uint32_t *pair);

#endif
