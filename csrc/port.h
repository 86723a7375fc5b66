/* What lies at the other end of the software NIC's wire: what the ports share. One file each: port_*.c */
#ifndef VDP_PORT_H
#define VDP_PORT_H

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "capture_frames.h"
#include "nic_impl.h"

#define VDP_PORT_IOVS 256u /* a chain of more pieces is copied together first */

/* Serve a pair with the port's send and receive: the poll of ports that lead out of the NIC. */
uint32_t vdp_port_exchange(struct vdp_nic *nic, struct vdp_pair *pair);
/* A burst of what waits, back to the driver or nowhere. */
uint32_t vdp_port_move(struct vdp_nic *nic, struct vdp_pair *pair, bool back);
/* Give frames to the driver: those without a buffer are dropped and counted. Returns how many it got. */
uint32_t vdp_port_deliver(
    struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n);
uint32_t vdp_port_deliver_pieces(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length);
/*
 * How many frames the driver has room for, at most max; without any it is asked to kick when it has. Without
 * a receive queue it is max: frames are taken from the wire all the same.
 */
uint32_t vdp_port_room(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t max);
/* The frame of an inject, sent out by the port's send. */
void vdp_port_inject(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length);
/*
 * A frame from outside, in private memory, whose header may ask for work: where the driver takes no headers
 * it is done here. False: it cannot be.
 */
bool vdp_port_finish(const struct vdp_nic *nic, struct vdp_frame *frame);
/* Allocate bytes of zeroed state for each pair, to pair->port. */
int vdp_port_init_pairs(struct vdp_nic *nic, size_t bytes);
void vdp_port_fini_pairs(struct vdp_nic *nic);
/* Pieces from scratch->src[1] on, as a system call wants them behind iov[0]; false: too many for it. */
bool vdp_port_iovs(struct vdp_nic *nic, struct iovec iov[VDP_PORT_IOVS], uint32_t pieces);
/* The port works (0) or does not (errno): tells control when that is news. */
void vdp_port_trouble(struct vdp_nic *nic, int error);

/* Of the pair, as the wire knows it. */
static inline uint32_t vdp_port_index(const struct vdp_nic *nic, const struct vdp_pair *pair)
{
	return nic->conf.first_pair + (uint32_t)(pair - nic->pairs) * nic->conf.pair_step;
}

static inline void vdp_port_dropped(struct vdp_queue *queue, uint32_t n)
{
	vdp_count(&queue->stats.dropped, n);
}

extern const struct vdp_port_ops vdp_port_echo, vdp_port_discard, vdp_port_generate, vdp_port_tap,
    vdp_port_packet, vdp_port_pcap, vdp_port_link;

#endif
