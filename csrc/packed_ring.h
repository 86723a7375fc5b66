/* Layout of a packed virtqueue, for either half. Ref: virtio 1.3, 2.8 */
#ifndef VDP_PACKED_RING_H
#define VDP_PACKED_RING_H

#include <stdbool.h>
#include <stdint.h>

#define VDP_PACKED_NEXT     1u
#define VDP_PACKED_WRITE    2u
#define VDP_PACKED_INDIRECT 4u
#define VDP_PACKED_AVAIL    0x80u
#define VDP_PACKED_USED     0x8000u

#define VDP_PACKED_MAX_SIZE 32768u

struct vdp_packed_desc {
	uint64_t addr;
	uint32_t length;
	uint16_t id, flags;
};

/* Event suppression: one that the driver writes, one that the device writes. Ref: 2.8.14 */
struct vdp_packed_event {
	uint16_t position; /* as below, of the descriptor that is waited for */
	uint16_t flags;
};

#define VDP_PACKED_EVENT_ENABLE  0u
#define VDP_PACKED_EVENT_DISABLE 1u
#define VDP_PACKED_EVENT_DESC    2u /* at position; with EVENT_IDX only */

/* A place in the ring: the descriptor in bits 0 to 14, the wrap counter in bit 15. */
#define VDP_PACKED_WRAP  0x8000u
#define VDP_PACKED_START VDP_PACKED_WRAP /* both counters begin as 1 (2.8.1) */

static inline uint16_t vdp_packed_at(uint16_t position)
{
	return position & (VDP_PACKED_WRAP - 1);
}

/* n descriptors further, n not above size. */
static inline uint16_t vdp_packed_advance(uint16_t position, uint32_t n, uint32_t size)
{
	uint32_t at = vdp_packed_at(position) + n, wrap = position & VDP_PACKED_WRAP;

	return (uint16_t)(at < size ? at | wrap : (at - size) | (wrap ^ VDP_PACKED_WRAP));
}

/* From from to to, in descriptors: 0 up to size (another lap, same descriptor). */
static inline uint32_t vdp_packed_distance(uint16_t from, uint16_t to, uint32_t size)
{
	int32_t n = (int32_t)vdp_packed_at(to) - vdp_packed_at(from);

	return (uint32_t)((from ^ to) & VDP_PACKED_WRAP ? n + (int32_t)size : n);
}

/* AVAIL and USED of a descriptor that the driver offers at position: they differ (2.8.1). */
static inline uint16_t vdp_packed_avail_flags(uint16_t position)
{
	return position & VDP_PACKED_WRAP ? VDP_PACKED_AVAIL : VDP_PACKED_USED;
}

/* And of one that the device has used: they are alike. */
static inline uint16_t vdp_packed_used_flags(uint16_t position)
{
	return position & VDP_PACKED_WRAP ? VDP_PACKED_AVAIL | VDP_PACKED_USED : 0;
}

static inline bool vdp_packed_is_avail(uint16_t flags, uint16_t position)
{
	return (flags & (VDP_PACKED_AVAIL | VDP_PACKED_USED)) == vdp_packed_avail_flags(position);
}

static inline bool vdp_packed_is_used(uint16_t flags, uint16_t position)
{
	return (flags & (VDP_PACKED_AVAIL | VDP_PACKED_USED)) == vdp_packed_used_flags(position);
}

/*
 * Does the other side want to hear of what was done from old to fresh (at most size descriptors)?
 * Ref: 2.8.10, 2.8.14. Flags that mean nothing count as "enable": a notification too many does no harm.
 */
static inline bool vdp_packed_wants(
    uint16_t flags, uint16_t event, uint16_t old, uint16_t fresh, uint32_t size)
{
	uint32_t done, ahead;

	flags &= 3; /* the rest is reserved */
	if (flags == VDP_PACKED_EVENT_DISABLE)
		return false;
	if (flags != VDP_PACKED_EVENT_DESC || vdp_packed_at(event) >= size)
		return true;
	done = vdp_packed_distance(old, fresh, size);
	ahead = vdp_packed_distance(old, event, size);
	return ahead < done;
}

#endif
