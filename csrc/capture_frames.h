/* How workers capture frames. */
#ifndef VDP_CAPTURE_FRAMES_H
#define VDP_CAPTURE_FRAMES_H

#include "capture.h"
#include "net_device.h"

/* As seen by the driver; the values of epb_flags. */
enum vdp_capture_way { VDP_CAPTURE_RECEIVED = 1, VDP_CAPTURE_SENT = 2 };

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
