/* Blocks of a pcapng file. Ref: draft-ietf-opsawg-pcapng, sections 4.1 to 4.6 */
#ifndef VDP_PCAPNG_H
#define VDP_PCAPNG_H

#include <stdint.h>

#define VDP_PCAPNG_PACKET 6u
#define VDP_PCAPNG_FLAGS  2u /* options of a packet */
#define VDP_PCAPNG_QUEUE  6u

/* Around a packet's bytes, which are padded to 4. */
struct vdp_pcapng_head {
	uint32_t type, total, interface, time_high, time_low, captured, original;
};

struct vdp_pcapng_tail {
	uint16_t flags_code, flags_length;
	uint32_t flags;
	uint16_t queue_code, queue_length;
	uint32_t queue;
	uint32_t end_of_options, total;
};

/* A block that is written once. */
struct vdp_pcapng {
	uint8_t data[128];
	uint32_t length;
};

void vdp_pcapng_section(struct vdp_pcapng *ret);
void vdp_pcapng_interface(struct vdp_pcapng *ret, uint32_t pair);
void vdp_pcapng_statistics(struct vdp_pcapng *ret, uint32_t pair, uint64_t now_ns, uint64_t dropped);

#endif
