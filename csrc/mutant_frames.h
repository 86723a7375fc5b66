/* What mutants (mutant.h) do to frames and to their headers, whatever the layout of the ring. */
#ifndef VDP_MUTANT_FRAMES_H
#define VDP_MUTANT_FRAMES_H

#include "net_device.h"

/* A frame from the driver in scratch->src from [1] on, its header's bytes in scratch->header. False: it is
 * lost. */
bool vdp_mutant_sent(uint32_t mutant, struct vdp_scratch *scratch, struct vdp_chain *chain);

/* A frame to a driver that takes these offloads, in scratch->src[1], its header in scratch->frame. */
void vdp_mutant_received(uint32_t mutant, uint32_t offloads, struct vdp_scratch *scratch, uint32_t length);

/* May it see another header (flags, gso_type) than the driver wrote? Changes it. */
void vdp_mutant_forgive(uint32_t mutant, uint8_t header[2]);

/* Of a frame to the driver: what its header says of tunnels; tail is that of the ring (device_ring.h). */
void vdp_mutant_tunnel(
    const struct vdp_ring *q, struct vdp_scratch *scratch, uint16_t *tail, uint32_t length);

/* The num_buffers of a frame that took so many. */
uint16_t vdp_mutant_count(uint32_t mutant, bool mergeable, uint16_t buffers);

#endif
