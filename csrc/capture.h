/*
 * Frames of a NIC into a pcapng file: an interface for each queue pair, nanoseconds, direction and queue.
 *
 * Each pair has a ring of ready-made blocks that its worker fills and one thread writes out: a slow disk
 * never stops a worker. A full disk ends the capture, not the traffic.
 */
#ifndef VDP_CAPTURE_H
#define VDP_CAPTURE_H

#include "net_device.h"

/* As seen by the driver; the values of epb_flags. */
enum vdp_capture_way { VDP_CAPTURE_RECEIVED = 1, VDP_CAPTURE_SENT = 2 };

struct vdp_capture;

/* fd: borrowed, open for writing. event_fd: signalled when the capture ends early, or -1. */
int vdp_capture_init(struct vdp_capture **ret, int fd, int event_fd, uint32_t pairs, bool lossless);
void vdp_capture_fini(struct vdp_capture *capture); /* all that was captured is written */
/* errno of the write that ended it, or 0 */
int vdp_capture_error(const struct vdp_capture *capture);
/* Frames for which the ring had no room, or the disk. */
uint64_t vdp_capture_lost(const struct vdp_capture *capture, uint32_t pair);

/*
 * By the pair's worker. Returns how many were taken: fewer than n when the ring is full, and then the others
 * count as lost unless the capture is lossless.
 */
uint32_t vdp_capture_frames(struct vdp_capture *capture, uint32_t pair, enum vdp_capture_way way,
    const struct vdp_frame *frames, uint32_t n);
/* The same for one frame in pieces. */
bool vdp_capture_pieces(struct vdp_capture *capture, uint32_t pair, enum vdp_capture_way way,
    const struct vdp_piece *pieces, uint32_t length);

#endif
