/* Layout of a split virtqueue, for either half. Ref: virtio 1.3, 2.7 */
#ifndef VDP_SPLIT_RING_H
#define VDP_SPLIT_RING_H

#include <stdint.h>

#define VDP_DESC_NEXT     1u
#define VDP_DESC_WRITE    2u
#define VDP_DESC_INDIRECT 4u

#define VDP_SPLIT_NO_INTERRUPT 1u /* avail flags */
#define VDP_SPLIT_NO_NOTIFY    1u /* used flags */

#define VDP_SPLIT_MAX_SIZE 32768u

struct vdp_split_desc {
	uint64_t addr;
	uint32_t length;
	uint16_t flags, next;
};

struct vdp_split_avail {
	uint16_t flags, idx;
	uint16_t ring[]; /* size heads, then used_event */
};

struct vdp_split_used {
	uint16_t flags, idx;
	struct {
		uint32_t id, length;
	} ring[]; /* size elements, then avail_event */
};

/* Would moving an index from old to fresh cross event? Ref: 2.7.7.2, 2.7.10 */
static inline int vdp_split_crossed(uint16_t event, uint16_t fresh, uint16_t old)
{
	return (uint16_t)(fresh - event - 1) < (uint16_t)(fresh - old);
}

#endif
