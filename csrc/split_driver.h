/* The driver's half of a split virtqueue (virtio 1.3, 2.7). The verbs are those of driver.h. */
#ifndef VDP_SPLIT_DRIVER_H
#define VDP_SPLIT_DRIVER_H

#include "driver.h"

struct vdp_split_driver;

int vdp_split_driver_init(struct vdp_split_driver **ret, const struct vdp_driver_conf *conf);
void vdp_split_driver_fini(struct vdp_split_driver *drv);
int vdp_split_driver_add(
    struct vdp_split_driver *drv, const struct vdp_buf *bufs, uint32_t count, uint64_t cookie);
int vdp_split_driver_next_head(const struct vdp_split_driver *drv);
uint32_t vdp_split_driver_room(const struct vdp_split_driver *drv, uint32_t count);
uint32_t vdp_split_driver_publish(struct vdp_split_driver *drv);
bool vdp_split_driver_must_kick(struct vdp_split_driver *drv);
int vdp_split_driver_pop(struct vdp_split_driver *drv, struct vdp_used *out, uint32_t max);
void vdp_split_driver_no_calls(struct vdp_split_driver *drv);
bool vdp_split_driver_want_calls(struct vdp_split_driver *drv, uint16_t after);
void vdp_split_driver_state(const struct vdp_split_driver *drv, struct vdp_driver_state *ret);
uint32_t vdp_split_driver_outstanding(const struct vdp_split_driver *drv);

#endif
