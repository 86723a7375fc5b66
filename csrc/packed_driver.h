/* The driver's half of a packed virtqueue (virtio 1.3, 2.8). The verbs are those of driver.h. */
#ifndef VDP_PACKED_DRIVER_H
#define VDP_PACKED_DRIVER_H

#include "driver.h"

struct vdp_packed_driver;

int vdp_packed_driver_init(struct vdp_packed_driver **ret, const struct vdp_driver_conf *conf);
void vdp_packed_driver_fini(struct vdp_packed_driver *drv);
int vdp_packed_driver_add(
    struct vdp_packed_driver *drv, const struct vdp_buf *bufs, uint32_t count, uint64_t cookie);
int vdp_packed_driver_next_head(const struct vdp_packed_driver *drv);
uint32_t vdp_packed_driver_room(const struct vdp_packed_driver *drv, uint32_t count);
uint32_t vdp_packed_driver_publish(struct vdp_packed_driver *drv);
bool vdp_packed_driver_must_kick(struct vdp_packed_driver *drv);
int vdp_packed_driver_pop(struct vdp_packed_driver *drv, struct vdp_used *out, uint32_t max);
void vdp_packed_driver_no_calls(struct vdp_packed_driver *drv);
bool vdp_packed_driver_want_calls(struct vdp_packed_driver *drv, uint16_t after);
void vdp_packed_driver_state(const struct vdp_packed_driver *drv, struct vdp_driver_state *ret);

#endif
