/* Which receive queue a frame goes to. Ref: virtio 1.3, 5.1.6.5.6 and 5.1.6.5.7 */
#ifndef VDP_STEER_H
#define VDP_STEER_H

#include <stdbool.h>
#include <stdint.h>

#include "flow.h"
#include "rss.h"

#define VDP_STEER_FLOWS 1024u /* a power of two */

static inline uint32_t vdp_rss_pair(const struct vdp_rss *rss, uint32_t hash, uint16_t report)
{
	return report == VDP_REPORT_NONE ? rss->unclassified : rss->table[hash & rss->mask];
}

/*
 * Automatic steering: the pair that last transmitted in a flow, to receive what comes back in it. Flows that
 * share an entry share a pair. One writer.
 */
struct vdp_steer {
	uint8_t pair[VDP_STEER_FLOWS]; /* plus one; 0: nothing is known */
};

/* Of a frame that a pair transmitted. head: its first bytes, private. */
void vdp_steer_learn(
    struct vdp_steer *steer, const struct vdp_flow *flow, const uint8_t *head, uint32_t pair);
/* For a frame in the other direction; `otherwise` when nothing is known, or that pair is not among `active`.
 */
uint32_t vdp_steer_find(const struct vdp_steer *steer, const struct vdp_flow *flow, const uint8_t *head,
    uint32_t active, uint32_t otherwise);

#endif
