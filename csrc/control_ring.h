/*
 * The device's side of a control queue: one command at a time, off the fast path. Ref: virtio 1.3, 5.1.6.5
 *
 * What the driver wrote is hostile, as in device_ring.h. One thread at a time; the DMA map must not change
 * during a call.
 */
#ifndef VDP_CONTROL_RING_H
#define VDP_CONTROL_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "nic.h"

#define VDP_CONTROL_MAX 4096u /* bytes of a command that are looked at, and of an answer */

struct vdp_control;

int vdp_control_init(struct vdp_control **ret);
void vdp_control_fini(struct vdp_control *control);

/* Serve a ring from conf->last_avail on, with these features (bits 0 to 63) in force. -EINVAL for its size.
 */
int vdp_control_enable(
    struct vdp_control *control, const struct vdp_queue_conf *conf, struct vdp_dma *dma, uint64_t features);

/*
 * Take the next command: the bytes of its readable part, of which at most VDP_CONTROL_MAX are copied to
 * command. -EAGAIN when there is none, -EPROTO when the driver broke the ring (see vdp_control_error); then
 * that is all until it is enabled again. A command that was taken must be answered before the next.
 */
int64_t vdp_control_take(struct vdp_control *control, uint8_t *command);

/* Bytes that the answer to the command in hand may have. */
uint64_t vdp_control_room(const struct vdp_control *control);

/* Write to the beginning of its writable part and give it back. Returns whether the driver wants a call. */
int vdp_control_answer(struct vdp_control *control, const uint8_t *answer, uint32_t length);

void vdp_control_error(const struct vdp_control *control, struct vdp_nic_error *ret);

#endif
