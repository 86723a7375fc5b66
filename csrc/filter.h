/* Which frames from the wire are for the driver. Ref: virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3 */
#ifndef VDP_FILTER_H
#define VDP_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#define VDP_FILTER_MACS  512u  /* of both tables together */
#define VDP_FILTER_VLANS 4096u /* one bit each */

struct vdp_filter {
	bool addresses; /* look at destination addresses; else all are for the driver */
	bool vlans;     /* look at tags; else all are for the driver */
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	uint8_t mac[6];
	uint32_t unicast, multicast; /* entries of the table, in this order */
	uint8_t table[512 * 6];
	uint8_t vlan[4096 / 8]; /* bit n % 8 of byte n / 8: tag n is for the driver */
};

/* A frame's first 6 bytes, and its tag (0: none). */
bool vdp_filter_pass(const struct vdp_filter *filter, const uint8_t *destination, uint16_t vlan);

#endif
