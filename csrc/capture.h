/*
 * Frames of a NIC into a pcapng file: an interface for each queue pair, nanoseconds, direction and queue.
 *
 * Each pair has a ring of ready-made blocks that its worker fills and one thread writes out: a slow disk
 * never stops a worker. A full disk ends the capture, not the traffic.
 */
#ifndef VDP_CAPTURE_H
#define VDP_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

struct vdp_capture;

/* fd: borrowed, open for writing. event_fd: signalled when the capture ends early, or -1. */
int vdp_capture_init(struct vdp_capture **ret, int fd, int event_fd, uint32_t pairs, bool lossless);
void vdp_capture_fini(struct vdp_capture *capture); /* all that was captured is written */
/* errno of the write that ended it, or 0 */
int vdp_capture_error(const struct vdp_capture *capture);
/* Frames for which the ring had no room, or the disk. */
uint64_t vdp_capture_lost(const struct vdp_capture *capture, uint32_t pair);

#endif
